//! Every stored form: written, read again, encrypted under a key-encryption key and decrypted.

use std::sync::atomic::Ordering;

use cache_core::{CacheError, Secret};
use cache_layers::keyset::{KeysetEditor, KeysetForm, load};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use crate::rig::{Kek, bytes, key, keyset};

const FORMS: [KeysetForm; 4] = [
    KeysetForm::Json,
    KeysetForm::Binary,
    KeysetForm::EncryptedJson,
    KeysetForm::EncryptedBinary,
];

fn three_keys() -> KeysetEditor {
    let mut editor = KeysetEditor::create().unwrap();
    let second = editor.add().unwrap();
    editor.add().unwrap();
    editor.disable(second).unwrap();
    editor
}

#[tokio::test]
async fn every_form_is_read_as_it_was_written() {
    let kek = Kek::new("aws-kms://one");
    let editor = three_keys();
    let sealed = editor.keyset().unwrap().seal(b"text", b"name").unwrap();
    for form in FORMS {
        let kek = form.is_encrypted().then_some(&kek as _);
        let stored = editor.write(form, kek).await.unwrap();
        let (again, found) = KeysetEditor::read(&stored, kek).await.unwrap();
        assert_eq!(found, form);
        assert_eq!(again.info(), editor.info(), "{form}");
        assert_eq!(
            again.write(KeysetForm::Binary, None).await.unwrap(),
            editor.write(KeysetForm::Binary, None).await.unwrap()
        );
        let keyset = load(&stored, kek).await.unwrap();
        assert_eq!(keyset.open(&sealed, b"name").unwrap(), b"text", "{form}");
        assert_eq!(KeysetEditor::peek(&stored).unwrap(), (Some(editor.info()), form));
    }
}

#[tokio::test]
async fn an_encrypted_form_holds_no_key_material() {
    let kek = Kek::new("aws-kms://one");
    let stored = bytes(&keyset(7, &[key(7)]));
    let (editor, _) = KeysetEditor::read(&stored, None).await.unwrap();
    let encrypted = editor
        .write(KeysetForm::EncryptedBinary, Some(&kek))
        .await
        .unwrap();
    assert!(!encrypted.expose().windows(8).any(|window| window == [7; 8]));
    let clear = editor.write(KeysetForm::Binary, None).await.unwrap();
    assert!(clear.expose().windows(8).any(|window| window == [7; 8]));
}

#[tokio::test]
async fn a_wrong_key_encryption_key_is_named_with_what_to_check() {
    let (right, wrong) = (Kek::new("aws-kms://right"), Kek::new("aws-kms://wrong"));
    let stored = three_keys()
        .write(KeysetForm::EncryptedJson, Some(&right))
        .await
        .unwrap();
    let error = load(&stored, Some(&wrong)).await.unwrap_err();
    assert!(matches!(error, CacheError::Corrupt { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("aws-kms://wrong does not decrypt the keyset"),
        "{said}"
    );
    assert!(said.contains("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI"), "{said}");
}

#[tokio::test]
async fn a_keyset_in_clear_is_refused_where_it_should_be_encrypted() {
    let kek = Kek::new("aws-kms://one");
    for form in [KeysetForm::Json, KeysetForm::Binary] {
        let stored = three_keys().write(form, None).await.unwrap();
        let error = load(&stored, Some(&kek)).await.unwrap_err();
        assert!(matches!(error, CacheError::Config(_)), "{error:?}");
        assert!(
            error.to_string().contains("the keyset is stored in clear"),
            "{error}"
        );
    }
    assert_eq!(kek.decrypted.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_form_and_a_key_that_do_not_go_together_are_refused() {
    let kek = Kek::new("aws-kms://one");
    for form in FORMS {
        let kek = (!form.is_encrypted()).then_some(&kek as _);
        let error = three_keys().write(form, kek).await.unwrap_err();
        assert!(
            matches!(error, CacheError::InvalidInput { argument: "kek", .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn every_changed_byte_of_an_encrypted_keyset_is_refused_or_harmless() {
    let kek = Kek::new("aws-kms://one");
    let editor = three_keys();
    let stored = editor
        .write(KeysetForm::EncryptedBinary, Some(&kek))
        .await
        .unwrap();
    let sealed = editor.keyset().unwrap().seal(b"text", b"").unwrap();
    for at in 0..stored.expose().len() {
        let mut changed = stored.expose().clone();
        changed[at] ^= 0x11;
        // The notes beside the ciphertext are not protected and not used.
        if let Ok(keyset) = load(&Secret::new(changed), Some(&kek)).await {
            assert_eq!(keyset.info(), &editor.info());
            assert_eq!(keyset.open(&sealed, b"").unwrap(), b"text");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let stored = Secret::new(bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert!(runtime.block_on(load(&stored, None)).is_err());
    }

    #[test]
    fn a_changed_json_keyset_is_refused_or_a_keyset(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut text = keyset(7, &[key(7), key(8)]).to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Ok(keyset) = runtime.block_on(load(&Secret::new(text), None)) {
            let sealed = keyset.seal(b"text", b"").unwrap();
            prop_assert_eq!(keyset.open(&sealed, b"").unwrap(), b"text");
        }
    }
}
