//! From the configuration of encryption to a keyring, and to the layer that uses it.
//!
//! Not in here: keysets and encryption (`cache-layers`), Secrets Manager and KMS (`cache-aws`).

use std::sync::Arc;

use cache_core::CacheError;
use cache_core::config::{EncryptionConfig, KeysetLocation, PlaintextEntries, StoredForm};
use cache_layers::encrypted::{self, Migration};
use cache_layers::keyset::FileKeysetStore;
use cache_layers::{EncryptedConfig, Keyring, KeyringConfig};

use crate::aws::Account;

/// Loads and proves the keyset that `config` names.
pub(crate) async fn keyring(
    config: &EncryptionConfig,
    account: &mut Account,
) -> Result<Arc<Keyring>, CacheError> {
    let keyring = KeyringConfig::builder().refresh_every(config.refresh).build()?;
    match &config.keyset {
        KeysetLocation::File { path } => {
            Keyring::load(Arc::new(FileKeysetStore::new(path)), None, keyring).await
        }
        KeysetLocation::Envelope {
            keyset_uri,
            kms_key_uri,
        } => {
            let (store, key) = account.keyset(keyset_uri, kms_key_uri).await?;
            Keyring::load(store, Some(key), keyring).await
        }
        other => Err(CacheError::Unsupported {
            detail: format!("cache-stack knows no keyset at {other:?}").into(),
        }),
    }
}

/// The choices of the layer.
pub(crate) fn layer(config: &EncryptionConfig) -> Result<EncryptedConfig, CacheError> {
    EncryptedConfig::builder()
        .stored_form(stored_form(config))
        .migration(match config.plaintext {
            PlaintextEntries::Read => Migration::ReadPlaintext,
            _ => Migration::Strict,
        })
        .build()
}

/// What is put before every key that the layer stores.
pub(crate) fn stored_prefix(config: &EncryptionConfig) -> &'static str {
    stored_form(config).key_prefix()
}

fn stored_form(config: &EncryptionConfig) -> encrypted::StoredForm {
    match config.form {
        StoredForm::ChinminaBridge => encrypted::StoredForm::ChinminaBridge,
        _ => encrypted::StoredForm::Tink,
    }
}
