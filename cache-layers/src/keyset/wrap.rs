//! Encrypts keysets under a key-encryption key, and decrypts them.
//!
//! The associated data is empty, as in Tink's other tools. With AWS KMS that means no encryption context.

use cache_core::CacheError;
use cache_core::keyset::KeyEncryption;

use super::binary;
use super::check::Invalid;
use super::proto::{self, EncryptedKeyset, Keyset};

const NO_ASSOCIATED_DATA: &[u8] = &[];

/// Decrypts a keyset.
pub(super) async fn decrypt(
    encrypted: &EncryptedKeyset,
    kek: &dyn KeyEncryption,
) -> Result<Keyset, CacheError> {
    if encrypted.encrypted_keyset.is_empty() {
        return Err(Invalid::new("it is empty: it holds no encryptedKeyset").into());
    }
    let clear = kek
        .decrypt(&encrypted.encrypted_keyset, NO_ASSOCIATED_DATA)
        .await
        .map_err(|error| explained(error, &kek.name()))?;
    proto::decode(clear.expose())
        .map_err(|_| Invalid::new("what the key-encryption key decrypts is not a keyset").into())
}

/// Encrypts a keyset, and proves that it can be decrypted again.
pub(super) async fn encrypt(keyset: &Keyset, kek: &dyn KeyEncryption) -> Result<EncryptedKeyset, CacheError> {
    let clear = binary::write(keyset);
    let ciphertext = kek.encrypt(&clear, NO_ASSOCIATED_DATA).await?;
    let encrypted = binary::encrypted(ciphertext, keyset);
    if decrypt(&encrypted, kek).await? != *keyset {
        return Err(CacheError::Corrupt {
            detail: format!(
                "{} does not decrypt to what it encrypted; nothing was written",
                kek.name()
            )
            .into(),
            source: None,
        });
    }
    Ok(encrypted)
}

/// Says what to check if the key-encryption key refuses: a wrong key looks different from service to service.
fn explained(error: CacheError, name: &str) -> CacheError {
    const HINT: &str = "check that this is the key that encrypted the keyset (CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI, \
                        or --kms-key of cachectl), that it is enabled, and that it may be used to decrypt";
    // Some services say it themselves.
    if error
        .to_string()
        .contains("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI")
    {
        return error;
    }
    match error {
        CacheError::Corrupt { detail, source } => CacheError::Corrupt {
            detail: format!("{name} does not decrypt the keyset: {detail}; {HINT}").into(),
            source,
        },
        CacheError::Unauthorized { detail, source } => CacheError::Unauthorized {
            detail: format!("{name} does not decrypt the keyset: {detail}; {HINT}").into(),
            source,
        },
        CacheError::Denied { command, detail } => CacheError::Denied {
            command,
            detail: format!("{detail}; {HINT}").into(),
        },
        other => other,
    }
}
