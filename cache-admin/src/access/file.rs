//! The file of actors: reading it, and who else may.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::AccessError;

/// More than any list of actors; keeps a wrong path, such as a device, from filling the memory.
const MAX_LEN: u64 = 1024 * 1024;

pub(super) fn read(path: &Path) -> Result<String, AccessError> {
    let wrong = |reason: String| AccessError::new(None, "", format!("{}: {reason}", path.display()));
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_LEN + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_LEN => Err(wrong("more than 1 MiB".to_owned())),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(wrong("no UTF-8 text".to_owned())),
        Err(error) => Err(wrong(format!("cannot be read: {}", error.kind()))),
    }
}

/// Who else may read or write the file.
#[cfg(unix)]
pub(super) fn warnings(path: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;

    let Ok(metadata) = std::fs::metadata(path) else {
        return Vec::new();
    };
    let mode = metadata.permissions().mode();
    let mut warnings = Vec::new();
    if mode & 0o022 != 0 {
        warnings.push(format!(
            "{}: others than its owner may write it, and so grant themselves everything; chmod 600",
            path.display()
        ));
    } else if mode & 0o004 != 0 {
        warnings.push(format!("{}: everybody may read it; chmod 600", path.display()));
    }
    warnings
}

#[cfg(not(unix))]
pub(super) fn warnings(_: &Path) -> Vec<String> {
    Vec::new()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Access;

    const TEXT: &str = "[actors.a]\ntokens = [{ hash = \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\" }]\ngrants = { list = [\"\"] }\n";

    #[test]
    fn a_file_that_others_may_read_or_write_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("actors.toml");
        std::fs::write(&path, TEXT).unwrap();
        for (mode, word) in [
            (0o600, None),
            (0o640, None),
            (0o644, Some("read")),
            (0o666, Some("write")),
            (0o660, Some("write")),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let warnings = Access::from_file(&path).unwrap().warnings();
            match word {
                None => assert!(warnings.is_empty(), "{mode:o}: {warnings:?}"),
                Some(word) => assert!(
                    matches!(&*warnings, [one] if one.contains(word)),
                    "{mode:o}: {warnings:?}"
                ),
            }
        }
    }

    #[test]
    fn a_file_is_read_again_and_a_wrong_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("actors.toml");
        std::fs::write(&path, TEXT).unwrap();
        let access = Access::from_file(&path).unwrap();
        assert_eq!(access.reload(), Ok(false));
        std::fs::write(&path, "[actors").unwrap();
        assert!(access.reload().is_err());
        assert_eq!(access.authenticate(Some("test"), None).unwrap().name(), "a");
        std::fs::write(&path, TEXT.replace("actors.a", "actors.b")).unwrap();
        assert_eq!(access.reload(), Ok(true));
        assert_eq!(access.authenticate(Some("test"), None).unwrap().name(), "b");
        std::fs::remove_file(&path).unwrap();
        assert!(
            access
                .reload()
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
        assert!(access.authenticate(Some("test"), None).is_ok());
    }

    #[test]
    fn a_device_does_not_fill_the_memory() {
        assert!(
            Access::from_file("/dev/zero")
                .unwrap_err()
                .to_string()
                .contains("1 MiB")
        );
    }
}
