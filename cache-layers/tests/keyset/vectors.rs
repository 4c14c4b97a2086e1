//! What the real Tink made.

use cache_core::Secret;
use cache_layers::keyset::{KeysetEditor, KeysetForm, OpenError, load};
use serde_json::Value;

use crate::rig::{loaded, unhex};

const VECTORS: &str = include_str!("vectors.json");

/// Each stage of a rotation, with its name.
fn stages() -> Vec<(String, Value)> {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let stages = vectors["keysets"].as_object().unwrap().clone();
    assert_eq!(stages.len(), 4);
    stages.into_iter().collect()
}

#[tokio::test]
async fn ciphertexts_of_tink_open() {
    for (name, stage) in stages() {
        let keyset = loaded(&stage["clear"]).await.unwrap();
        let opened = keyset.open(&unhex(&stage["ciphertext"]), &unhex(&stage["aad"]));
        assert_eq!(opened.unwrap(), unhex(&stage["plaintext"]), "{name}");
        let empty = keyset.open(&unhex(&stage["ciphertext_empty"]), b"");
        assert_eq!(empty.unwrap(), b"", "{name}");
    }
}

#[tokio::test]
async fn every_stage_of_a_rotation_opens_what_its_enabled_keys_sealed() {
    let stages = stages();
    for (reader, stage) in &stages {
        let keyset = loaded(&stage["clear"]).await.unwrap();
        for (writer, stage) in &stages {
            let ciphertext = unhex(&stage["ciphertext"]);
            let id = u32::from_be_bytes(ciphertext[1..5].try_into().unwrap());
            let opened = keyset.open(&ciphertext, &unhex(&stage["aad"]));
            if keyset.key_ids().any(|known| known == id) {
                assert_eq!(
                    opened.unwrap(),
                    unhex(&stage["plaintext"]),
                    "{reader} opens {writer}"
                );
            } else {
                assert_eq!(
                    opened,
                    Err(OpenError::UnknownKey { key_id: id }),
                    "{reader} opens {writer}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_encrypted_keyset_of_tink_is_recognised_and_shows_its_keys() {
    for (name, stage) in stages() {
        let stored = Secret::new(stage["enc"].to_string().into_bytes());
        let (info, form) = KeysetEditor::peek(&stored).unwrap();
        assert_eq!(form, KeysetForm::EncryptedJson, "{name}");
        let clear = loaded(&stage["clear"]).await.unwrap();
        assert_eq!(info.as_ref(), Some(clear.info()), "{name}");

        let error = load(&stored, None).await.unwrap_err().to_string();
        assert!(error.contains("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI"), "{error}");
    }
}
