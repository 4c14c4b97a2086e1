//! Changing a keyset: which changes are possible, and what they mean for what is sealed.

use std::collections::HashSet;

use cache_core::CacheError;
use cache_layers::keyset::{KeyStatus, KeysetEditor, OpenError, OutputPrefix};
use serde_json::json;

use crate::rig::{bytes, key, key_with, keyset};

fn reason(done: Result<impl std::fmt::Debug, CacheError>) -> String {
    match done.unwrap_err() {
        CacheError::InvalidInput {
            argument: "key id",
            reason,
        } => reason.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_keyset_has_one_key_which_is_primary() {
    let info = KeysetEditor::create().unwrap().info();
    let [key] = &info.keys[..] else { panic!("{info:?}") };
    assert_eq!(key.id, info.primary_key_id);
    assert!(key.is_primary && key.status == KeyStatus::Enabled);
    assert_eq!(key.prefix, Some(OutputPrefix::Tink));
    assert_eq!(key.kind, "AesGcmKey");
}

#[test]
fn a_rotation_keeps_everything_readable_until_the_old_key_is_disabled() {
    let mut editor = KeysetEditor::create().unwrap();
    let old = editor.info().primary_key_id;
    let before = editor.keyset().unwrap().seal(b"old", b"").unwrap();

    let new = editor.add().unwrap();
    assert_eq!(
        editor.keyset().unwrap().primary_key_id(),
        old,
        "an added key does not seal"
    );
    assert!(editor.promote(new).unwrap());
    assert!(!editor.promote(new).unwrap(), "promoted already");
    let keyset = editor.keyset().unwrap();
    assert_eq!(keyset.primary_key_id(), new);
    assert_eq!(keyset.open(&before, b"").unwrap(), b"old");

    assert!(editor.disable(old).unwrap());
    assert!(!editor.disable(old).unwrap(), "disabled already");
    let unknown = Err(OpenError::UnknownKey { key_id: old });
    assert_eq!(editor.keyset().unwrap().open(&before, b""), unknown);
    assert!(editor.enable(old).unwrap());
    assert_eq!(editor.keyset().unwrap().open(&before, b"").unwrap(), b"old");

    editor.delete(old).unwrap();
    assert_eq!(editor.keyset().unwrap().open(&before, b""), unknown);
    assert_eq!(editor.info().keys.len(), 1);
}

#[test]
fn the_primary_stays() {
    let mut editor = KeysetEditor::create().unwrap();
    let primary = editor.info().primary_key_id;
    assert!(reason(editor.disable(primary)).contains("is the primary and cannot be disabled"));
    assert!(reason(editor.delete(primary)).contains("is the primary and cannot be deleted"));
    assert_eq!(editor.keyset().unwrap().primary_key_id(), primary);
}

#[test]
fn only_an_enabled_key_is_promoted() {
    let mut editor = KeysetEditor::create().unwrap();
    let added = editor.add().unwrap();
    editor.disable(added).unwrap();
    assert!(reason(editor.promote(added)).contains("is not enabled"));
    let unknown = reason(editor.promote(added ^ 1));
    assert!(unknown.contains("the keyset has no key"), "{unknown}");
}

#[test]
fn ids_are_random_unique_and_not_zero() {
    let mut ids = HashSet::new();
    let mut editor = KeysetEditor::create().unwrap();
    ids.insert(editor.info().primary_key_id);
    for _ in 0..500 {
        let id = editor.add().unwrap();
        assert!(id != 0 && id <= 0x7fff_ffff);
        assert!(ids.insert(id));
    }
}

#[tokio::test]
async fn a_destroyed_key_comes_back_by_no_change() {
    let destroyed = key_with(2, &[("/status", json!("DESTROYED"))]);
    let stored = bytes(&keyset(1, &[key(1), destroyed]));
    let (mut editor, _) = KeysetEditor::read(&stored, None).await.unwrap();
    assert!(reason(editor.enable(2)).contains("destroyed"));
    assert!(reason(editor.promote(2)).contains("not enabled"));
    editor.delete(2).unwrap();
    assert_eq!(editor.info().keys.len(), 1);
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_not_enabled() {
    let foreign = key_with(
        2,
        &[
            ("/status", json!("DISABLED")),
            ("/keyData/typeUrl", json!("a/b.HmacKey")),
        ],
    );
    let stored = bytes(&keyset(1, &[key(1), foreign]));
    let (mut editor, _) = KeysetEditor::read(&stored, None).await.unwrap();
    let error = editor.enable(2).unwrap_err().to_string();
    assert!(error.contains("HmacKey"), "{error}");
    assert_eq!(editor.info().key(2).unwrap().status, KeyStatus::Disabled);
    editor.keyset().unwrap();
}

#[tokio::test]
async fn keys_that_share_an_id_are_left_alone() {
    let raw = key_with(2, &[("/outputPrefixType", json!("RAW"))]);
    let stored = bytes(&keyset(1, &[key(1), key(2), raw]));
    let (mut editor, _) = KeysetEditor::read(&stored, None).await.unwrap();
    assert!(reason(editor.promote(2)).contains("more than one key has the id 2"));
    assert!(reason(editor.disable(2)).contains("more than one key has the id 2"));
    assert!(reason(editor.delete(2)).contains("more than one key has the id 2"));
}
