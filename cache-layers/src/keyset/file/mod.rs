//! A keyset in a file, with its notes in a file next to it.
//!
//! Not in here: how a file is replaced, see `disk`.

mod disk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::clock;
use cache_core::keyset::{Expected, KeysetStore, StoredKeyset};
use cache_core::{CacheError, Outcome, Secret, Stage, Unavailability};

use disk::Written;

/// A call that takes longer fails. A network file system may not answer at all.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait before asking again for a folder that another process has locked.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Stores a keyset in a file.
///
/// A write replaces the file as a whole, so a reader sees the old keyset or the new one. A new file has the mode 0600
/// on Unix. A replaced one keeps its mode and owner. The notes are in `<path>.notes.json`. The version is a digest of
/// both files, so any change by any tool makes a [`write`](KeysetStore::write) that expects an older version fail.
///
/// Processes that use this type take turns by a lock on the folder (`flock`, on Unix). A tool that does not take the
/// lock could still write between the check and the replacement, which are microseconds apart.
///
/// Each call takes at most 10 seconds.
#[derive(Clone, Debug)]
pub struct FileKeysetStore {
    path: PathBuf,
}

impl FileKeysetStore {
    /// The keyset in the file `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The keyset's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeysetStore for FileKeysetStore {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    async fn read(&self) -> Result<StoredKeyset, CacheError> {
        let path = self.path.clone();
        in_time(async { blocking(move || disk::read(&path)).await }).await
    }

    async fn write(
        &self,
        keyset: &Secret<Vec<u8>>,
        notes: &BTreeMap<String, String>,
        expected: Expected<'_>,
    ) -> Result<(), CacheError> {
        let expected = match expected {
            Expected::Absent => None,
            Expected::Version(version) => Some(version.to_owned()),
        };
        let started = clock::now();
        loop {
            let (path, keyset, notes) = (self.path.clone(), keyset.clone(), notes.clone());
            let expected = expected.clone();
            let written = in_time(blocking(move || {
                disk::write(&path, &keyset, &notes, expected.as_deref())
            }))
            .await?;
            match written {
                Written::Done => return Ok(()),
                Written::Locked if started.elapsed() < DEADLINE => tokio::time::sleep(LOCK_RETRY).await,
                Written::Locked => {
                    return Err(CacheError::Unavailable {
                        reason: Unavailability::NotReady,
                        detail: format!(
                            "another process has locked the folder of {} for {}",
                            self.path.display(),
                            humantime::format_duration(DEADLINE)
                        )
                        .into(),
                        outcome: Outcome::NotApplied,
                        source: None,
                    });
                }
            }
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, CacheError>>) -> Result<T, CacheError> {
    let late = |_| CacheError::Timeout {
        stage: Stage::Call,
        after: DEADLINE,
    };
    tokio::time::timeout(DEADLINE, work).await.map_err(late)?
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(CacheError::Closed),
    }
}
