//! Any bytes as an encrypted keyset whose ciphertext decrypts to itself: the readers around the ciphertext, and the
//! reader of what comes out of it.
#![no_main]

use async_trait::async_trait;
use cache_core::keyset::KeyEncryption;
use cache_core::{CacheError, Secret};
use cache_layers::keyset::{KeysetEditor, KeysetForm, load};
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

/// Encrypts nothing.
#[derive(Debug)]
struct Transparent;

#[async_trait]
impl KeyEncryption for Transparent {
    fn name(&self) -> String {
        "transparent".to_owned()
    }

    async fn encrypt(&self, plaintext: &Secret<Vec<u8>>, _: &[u8]) -> Result<Vec<u8>, CacheError> {
        Ok(plaintext.expose().clone())
    }

    async fn decrypt(&self, ciphertext: &[u8], _: &[u8]) -> Result<Secret<Vec<u8>>, CacheError> {
        Ok(Secret::new(ciphertext.to_vec()))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let stored = Secret::new(bytes.to_vec());
    let Ok((editor, form)) = block_on(KeysetEditor::read(&stored, Some(&Transparent))) else {
        return;
    };
    assert!(form.is_encrypted());
    for form in [KeysetForm::EncryptedJson, KeysetForm::EncryptedBinary] {
        let written = block_on(editor.write(form, Some(&Transparent))).unwrap();
        let keyset = block_on(load(&written, Some(&Transparent))).unwrap();
        assert_eq!(keyset.info(), &editor.info());
    }
});
