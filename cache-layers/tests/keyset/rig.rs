//! Keysets made by hand, as JSON, and a key-encryption key that is itself a keyset.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::keyset::KeyEncryption;
use cache_core::{CacheError, Secret};
use cache_layers::keyset::{Keyset, KeysetEditor, load};
use serde_json::{Value, json};

pub(crate) const AES_GCM: &str = "type.googleapis.com/google.crypto.tink.AesGcmKey";

/// A serialized `AesGcmKey` of version 0 with `len` bytes, all of them `byte`.
pub(crate) fn material(byte: u8, len: u8) -> Vec<u8> {
    let mut value = vec![0x1a, len];
    value.extend(std::iter::repeat_n(byte, usize::from(len)));
    value
}

/// An enabled key with 32 bytes, all of them the id's last.
pub(crate) fn key(id: u32) -> Value {
    json!({
        "keyData": {
            "typeUrl": AES_GCM,
            "value": STANDARD.encode(material(id.to_be_bytes()[3], 32)),
            "keyMaterialType": "SYMMETRIC",
        },
        "status": "ENABLED",
        "keyId": id,
        "outputPrefixType": "TINK",
    })
}

/// A key with some of its fields changed.
pub(crate) fn key_with(id: u32, changes: &[(&str, Value)]) -> Value {
    let mut key = key(id);
    for (pointer, value) in changes {
        match key.pointer_mut(pointer) {
            Some(field) => *field = value.clone(),
            None => key[pointer.trim_start_matches('/')] = value.clone(),
        }
    }
    key
}

pub(crate) fn keyset(primary: u32, keys: &[Value]) -> Value {
    json!({ "primaryKeyId": primary, "key": keys })
}

pub(crate) fn bytes(keyset: &Value) -> Secret<Vec<u8>> {
    Secret::new(keyset.to_string().into_bytes())
}

pub(crate) async fn loaded(keyset: &Value) -> Result<Keyset, CacheError> {
    load(&bytes(keyset), None).await
}

/// What is said of a keyset that is refused.
pub(crate) async fn refusal(stored: &[u8]) -> String {
    match load(&Secret::new(stored.to_vec()), None).await {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.chunks(2).map(byte).collect()
}

/// Encrypts keysets with a keyset, and counts how often it decrypted.
#[derive(Debug)]
pub(crate) struct Kek {
    name: &'static str,
    keyset: Keyset,
    pub(crate) decrypted: AtomicUsize,
}

impl Kek {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            keyset: KeysetEditor::create().unwrap().keyset().unwrap(),
            decrypted: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl KeyEncryption for Kek {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    async fn encrypt(
        &self,
        plaintext: &Secret<Vec<u8>>,
        associated_data: &[u8],
    ) -> Result<Vec<u8>, CacheError> {
        assert!(
            associated_data.is_empty(),
            "Tink's tools give no encryption context"
        );
        self.keyset.seal(plaintext.expose(), associated_data)
    }

    async fn decrypt(
        &self,
        ciphertext: &[u8],
        associated_data: &[u8],
    ) -> Result<Secret<Vec<u8>>, CacheError> {
        assert!(
            associated_data.is_empty(),
            "Tink's tools give no encryption context"
        );
        self.decrypted.fetch_add(1, Ordering::Relaxed);
        match self.keyset.open(ciphertext, associated_data) {
            Ok(plaintext) => Ok(Secret::new(plaintext)),
            Err(error) => Err(CacheError::Corrupt {
                detail: "the ciphertext is not valid".into(),
                source: Some(std::sync::Arc::new(error)),
            }),
        }
    }
}
