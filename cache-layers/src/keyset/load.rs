//! Creates a usable keyset from its stored bytes, and proves it.
//!
//! Not in here: where the bytes come from, and when they are read again.

use cache_core::keyset::KeyEncryption;
use cache_core::{CacheError, ConfigError, Secret};

use super::aead::Keyset;
use super::check::{self, Invalid};
use super::form::KeysetForm;
use super::info::KeysetInfo;
use super::json::Read;
use super::{binary, json, proto, wrap};

const KMS_KEY: &str = "CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI";

/// Creates a keyset from its stored bytes, in any of the [forms](KeysetForm), and proves it: it seals and opens a
/// text.
///
/// `kek` decrypts the keyset. Without it the keyset has to be in clear, and with it encrypted.
///
/// # Errors
///
/// [`CacheError::Config`] if `kek` is missing, or given for a keyset in clear. [`CacheError::Corrupt`] if it is not a
/// keyset that Tink accepts, or `kek` did not encrypt it. Also as [`KeyEncryption::decrypt`]. Each error says what to
/// check and shows nothing of the keyset's content.
///
/// # Cancel safety
///
/// Nothing is kept when the future is dropped.
pub async fn load(stored: &Secret<Vec<u8>>, kek: Option<&dyn KeyEncryption>) -> Result<Keyset, CacheError> {
    let (clear, _) = decrypted(stored, kek).await?;
    prove(check::usable(&clear)?)
}

/// Reads the stored form and decrypts it if it is encrypted.
pub(super) async fn decrypted(
    stored: &Secret<Vec<u8>>,
    kek: Option<&dyn KeyEncryption>,
) -> Result<(proto::Keyset, KeysetForm), CacheError> {
    let (read, form) = read(stored.expose())?;
    let clear = match (read, kek) {
        (Read::Clear(keyset), None) => keyset,
        (Read::Encrypted(encrypted), Some(kek)) => wrap::decrypt(&encrypted, kek).await?,
        (Read::Clear(_), Some(kek)) => {
            let message = format!(
                "names {}, but the keyset is stored in clear; encrypt it with cachectl keyset rewrap, and replace \
                 its keys if it could be read",
                kek.name()
            );
            return Err(ConfigError::one(KMS_KEY, message).into());
        }
        (Read::Encrypted(_), None) => {
            let message = "is needed: the keyset is encrypted, and this names the key that decrypts it (or --kms-key of \
                           cachectl)";
            return Err(ConfigError::one(KMS_KEY, message).into());
        }
    };
    Ok((clear, form))
}

/// Returns what the stored keyset shows without its key-encryption key. For an encrypted keyset that is what its
/// writer noted.
pub(super) fn shown(stored: &[u8]) -> Result<(Option<KeysetInfo>, KeysetForm), CacheError> {
    let (read, form) = read(stored)?;
    let info = match read {
        Read::Clear(keyset) => Some(KeysetInfo::of(&keyset.info())),
        Read::Encrypted(encrypted) => encrypted.keyset_info.as_ref().map(KeysetInfo::of),
    };
    Ok((info, form))
}

fn read(bytes: &[u8]) -> Result<(Read, KeysetForm), Invalid> {
    let (read, form) = match bytes.trim_ascii_start().first() {
        None => return Err(Invalid::new("it is empty")),
        Some(b'{') => (json::read(bytes)?, KeysetForm::Json),
        Some(_) => (binary::read(bytes)?, KeysetForm::Binary),
    };
    let is_encrypted = matches!(read, Read::Encrypted(_));
    Ok((read, form.with_encryption(is_encrypted)))
}

/// Seals and opens a text.
pub(super) fn prove(keyset: Keyset) -> Result<Keyset, CacheError> {
    const TEXT: &[u8] = b"proof";
    const ASSOCIATED_DATA: &[u8] = b"keyset";
    let sealed = keyset.seal(TEXT, ASSOCIATED_DATA)?;
    match keyset.open(&sealed, ASSOCIATED_DATA) {
        Ok(opened) if opened == TEXT => Ok(keyset),
        _ => Err(Invalid::new("it does not open what it seals").into()),
    }
}
