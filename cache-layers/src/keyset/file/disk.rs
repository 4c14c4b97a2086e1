//! Reads and replaces the two files of a keyset. Everything in here blocks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cache_core::keyset::StoredKeyset;
use cache_core::{CacheError, Outcome, Secret, Unavailability};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Keysets have a few hundred bytes per key.
const LARGEST: usize = 1 << 20;

type Notes = BTreeMap<String, String>;

/// The result of a write that did not fail.
pub(super) enum Written {
    Done,
    /// Another process is writing, so nothing was done.
    Locked,
}

/// Both files and their version.
pub(super) fn read(path: &Path) -> Result<StoredKeyset, CacheError> {
    let keyset = contents(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => CacheError::Miss,
        _ => failed("read", path, error),
    })?;
    let notes_path = notes_path(path);
    let written = match contents(&notes_path) {
        Ok(written) => written,
        Err(error) if error.kind() == ErrorKind::NotFound => Zeroizing::new(Vec::new()),
        Err(error) => return Err(failed("read", &notes_path, error)),
    };
    let notes = if written.is_empty() {
        Notes::new()
    } else {
        serde_json::from_slice(&written).map_err(|error| CacheError::Corrupt {
            detail: format!(
                "{} is not a JSON object of texts; repair it, or move it away (the times of the keys are then unknown)",
                notes_path.display()
            )
            .into(),
            source: Some(Arc::new(error)),
        })?
    };
    let version = version(&keyset, &written);
    let mut keyset = keyset;
    Ok(StoredKeyset::new(
        Secret::new(std::mem::take(&mut *keyset)),
        version,
        notes,
    ))
}

/// Replaces both files, if their current state is the expected one: a version, or nothing.
pub(super) fn write(
    path: &Path,
    keyset: &Secret<Vec<u8>>,
    notes: &Notes,
    expected: Option<&str>,
) -> Result<Written, CacheError> {
    // The file behind a link is replaced, not the link.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(failed("write", path, error)),
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Some(lock) = FolderLock::take(folder).map_err(|error| failed("lock the folder", folder, error))?
    else {
        return Ok(Written::Locked);
    };
    let found = match read(path) {
        Ok(stored) => Some(stored),
        Err(CacheError::Miss) => None,
        Err(error) => return Err(error),
    };
    match (&found, expected) {
        (None, None) => {}
        (Some(stored), Some(version)) if stored.version == version => {}
        (Some(_), None) => return Err(conflict(path, "exists already")),
        (Some(_), Some(_)) => return Err(conflict(path, "was changed since it was read")),
        (None, Some(_)) => return Err(conflict(path, "was removed since it was read")),
    }

    replace(&target, keyset.expose()).map_err(|error| failed("write", &target, error))?;
    // The keyset first. If only that is written, the times of its keys are unknown, which is safe. Times of changes
    // that did not happen would not be.
    let beside = notes_path(path);
    if found.map(|stored| stored.notes).unwrap_or_default() != *notes {
        let text =
            serde_json::to_vec_pretty(notes).map_err(|error| failed("write", &beside, error.into()))?;
        replace(&beside, &text).map_err(|error| CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: format!(
                "the keyset was written, and its notes were not: cannot write {}",
                beside.display()
            )
            .into(),
            outcome: Outcome::Unknown,
            source: Some(Arc::new(error)),
        })?;
    }
    lock.sync();
    Ok(Written::Done)
}

fn notes_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".notes.json");
    PathBuf::from(name)
}

/// A file's bytes, in one buffer that is wiped.
fn contents(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    // A pipe has no length, so this reserves as much as a keyset with many keys has. With room left, reading does not
    // move the buffer.
    let capacity = if len == 0 { 1 << 16 } else { len.min(LARGEST) };
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity + 64));
    let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX) + 1;
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > LARGEST {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "it is larger than 1 MiB, which no keyset is",
        ));
    }
    Ok(bytes)
}

fn version(keyset: &[u8], notes: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(keyset.len().to_be_bytes());
    digest.update(keyset);
    digest.update(notes);
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Writes a new file next to the old one and renames it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let written = write_new(&temporary, bytes, path).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // It may hold key material, and is of no use.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(temporary: &Path, bytes: &[u8], old: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(temporary)?;
    file.write_all(bytes)?;
    match fs::metadata(old) {
        Ok(old) => keep_access(&file, &old)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.sync_all()
}

/// Gives the new file the same access as the old one: the same users can read it, and no others.
#[cfg(unix)]
fn keep_access(new: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let ours = new.metadata()?;
    if (ours.uid(), ours.gid()) != (old.uid(), old.gid()) {
        std::os::unix::fs::fchown(new, Some(old.uid()), Some(old.gid())).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "the file belongs to user {} and group {}, run this as that user",
                    old.uid(),
                    old.gid()
                ),
            )
        })?;
    }
    new.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn keep_access(_new: &File, _old: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}.tmp", rand::random::<u64>()));
    path.with_file_name(name)
}

/// Keeps other processes from writing in a folder until it is dropped or the process ends.
struct FolderLock {
    #[cfg(unix)]
    folder: File,
}

#[cfg(unix)]
impl FolderLock {
    /// `None` if another process has the lock.
    fn take(folder: &Path) -> io::Result<Option<Self>> {
        let folder = File::open(folder)?;
        match rustix::fs::flock(&folder, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { folder })),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A rename survives a power failure only if the folder is on the disk. Not every file system can do that.
    fn sync(&self) {
        let _ = self.folder.sync_all();
    }
}

#[cfg(not(unix))]
impl FolderLock {
    fn take(_folder: &Path) -> io::Result<Option<Self>> {
        Ok(Some(Self {}))
    }

    fn sync(&self) {}
}

fn conflict(path: &Path, what: &str) -> CacheError {
    CacheError::Rejected {
        code: "CONFLICT".into(),
        detail: format!("{} {what}; nothing was written", path.display()).into(),
    }
}

fn failed(what: &'static str, path: &Path, error: io::Error) -> CacheError {
    let detail = format!("cannot {what} {}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied => CacheError::Denied {
            command: what.into(),
            detail: detail.into(),
        },
        _ => CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: detail.into(),
            outcome: Outcome::NotApplied,
            source: Some(Arc::new(error)),
        },
    }
}
