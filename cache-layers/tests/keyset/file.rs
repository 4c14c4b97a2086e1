//! A keyset in a file: replaced as a whole, only if nobody else wrote, and readable by nobody else.

use std::collections::BTreeMap;
use std::path::Path;

use cache_core::keyset::{Expected, KeysetStore};
use cache_core::{CacheError, Secret};
use cache_layers::keyset::FileKeysetStore;

type Notes = BTreeMap<String, String>;

fn secret(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

fn notes(text: &str) -> Notes {
    Notes::from([("key-1".to_owned(), text.to_owned())])
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn is_conflict(done: &Result<(), CacheError>) -> bool {
    matches!(done, Err(CacheError::Rejected { code, .. }) if code == "CONFLICT")
}

#[tokio::test]
async fn what_is_written_is_read_with_its_notes() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileKeysetStore::new(folder.path().join("keyset.json"));
    assert!(matches!(store.read().await, Err(CacheError::Miss)));

    store
        .write(&secret("one"), &notes("a"), Expected::Absent)
        .await
        .unwrap();
    let stored = store.read().await.unwrap();
    assert_eq!(stored.bytes.expose(), b"one");
    assert_eq!(stored.notes, notes("a"));
    assert_eq!(names(folder.path()), ["keyset.json", "keyset.json.notes.json"]);

    let expected = Expected::Version(&stored.version);
    store.write(&secret("two"), &notes("b"), expected).await.unwrap();
    let again = store.read().await.unwrap();
    assert_eq!(
        (again.bytes.expose().as_slice(), again.notes),
        (&b"two"[..], notes("b"))
    );
    assert_ne!(again.version, stored.version);
    assert_eq!(
        names(folder.path()),
        ["keyset.json", "keyset.json.notes.json"],
        "nothing is left over"
    );
}

#[tokio::test]
async fn a_write_replaces_only_what_it_expects() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileKeysetStore::new(folder.path().join("keyset"));
    let missing = store
        .write(&secret("x"), &Notes::new(), Expected::Version("v"))
        .await;
    assert!(is_conflict(&missing), "{missing:?}");

    store
        .write(&secret("one"), &Notes::new(), Expected::Absent)
        .await
        .unwrap();
    let exists = store.write(&secret("x"), &Notes::new(), Expected::Absent).await;
    assert!(is_conflict(&exists), "{exists:?}");

    let old = store.read().await.unwrap().version;
    // By another tool, which knows no versions.
    std::fs::write(store.path(), "two").unwrap();
    let changed = store
        .write(&secret("x"), &Notes::new(), Expected::Version(&old))
        .await;
    assert!(is_conflict(&changed), "{changed:?}");
    // Changed notes count as well.
    let old = store.read().await.unwrap().version;
    std::fs::write(folder.path().join("keyset.notes.json"), "{\"a\": \"b\"}").unwrap();
    assert!(is_conflict(
        &store
            .write(&secret("x"), &Notes::new(), Expected::Version(&old))
            .await
    ));
    assert_eq!(std::fs::read(store.path()).unwrap(), b"two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_one_wins_each_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyset");
    let store = FileKeysetStore::new(&path);
    store
        .write(&secret("0"), &Notes::new(), Expected::Absent)
        .await
        .unwrap();
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut won = 0;
            for round in 0..20 {
                let stored = store.read().await.unwrap();
                // Each adds a line, so that a lost write shows.
                let mut text = stored.bytes.expose().clone();
                text.extend(format!("\n{writer}.{round}").bytes());
                let done = store
                    .write(
                        &Secret::new(text),
                        &stored.notes,
                        Expected::Version(&stored.version),
                    )
                    .await;
                if done.is_ok() {
                    won += 1;
                } else {
                    assert!(is_conflict(&done), "{done:?}");
                }
            }
            won
        })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        won += writer.await.unwrap();
    }
    let lines = std::fs::read_to_string(&path).unwrap().lines().count();
    assert_eq!(lines, won + 1, "every write that was reported is there");
}

#[tokio::test]
async fn notes_that_are_no_notes_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keyset"), "one").unwrap();
    std::fs::write(folder.path().join("keyset.notes.json"), "[]").unwrap();
    let error = FileKeysetStore::new(folder.path().join("keyset"))
        .read()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("keyset.notes.json is not a JSON object of texts"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_a_keyset_is_not_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyset");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = FileKeysetStore::new(&path).read().await.unwrap_err();
    assert!(error.to_string().contains("larger than 1 MiB"), "{error}");
}

#[cfg(unix)]
mod access {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_new_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileKeysetStore::new(folder.path().join("keyset"));
        store
            .write(&secret("one"), &notes("a"), Expected::Absent)
            .await
            .unwrap();
        assert_eq!(mode(store.path()), 0o600);
    }

    #[tokio::test]
    async fn a_replaced_file_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileKeysetStore::new(folder.path().join("keyset"));
        store
            .write(&secret("one"), &Notes::new(), Expected::Absent)
            .await
            .unwrap();
        std::fs::set_permissions(store.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let version = store.read().await.unwrap().version;
        store
            .write(&secret("two"), &Notes::new(), Expected::Version(&version))
            .await
            .unwrap();
        assert_eq!(mode(store.path()), 0o640, "the service's group still reads it");
    }

    #[tokio::test]
    async fn the_file_behind_a_link_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::fs::create_dir(folder.path().join("real")).unwrap();
        std::fs::write(folder.path().join("real/keyset"), "one").unwrap();
        symlink("real/keyset", &link).unwrap();
        let store = FileKeysetStore::new(&link);
        let version = store.read().await.unwrap().version;
        store
            .write(&secret("two"), &Notes::new(), Expected::Version(&version))
            .await
            .unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(folder.path().join("real/keyset")).unwrap(), b"two");
    }

    #[tokio::test]
    async fn a_failed_write_leaves_the_old_keyset_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileKeysetStore::new(folder.path().join("keyset"));
        store
            .write(&secret("one"), &Notes::new(), Expected::Absent)
            .await
            .unwrap();
        // A folder stands where the notes should go.
        std::fs::create_dir(folder.path().join("keyset.notes.json")).unwrap();
        let error = store.read().await.unwrap_err();
        assert!(error.to_string().contains("cannot read"), "{error}");
        let version = "any";
        store
            .write(&secret("two"), &notes("a"), Expected::Version(version))
            .await
            .unwrap_err();
        assert_eq!(std::fs::read(store.path()).unwrap(), b"one");
        assert_eq!(names(folder.path()), ["keyset", "keyset.notes.json"]);
    }
}
