//! Where a keyset is, and what decrypts it: from arguments, or as services are configured.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_core::config::{EncryptionConfig, KeysetLocation};
use cache_core::keyset::{KeyEncryption, KeysetStore};
use cache_layers::keyset::FileKeysetStore;
use clap::Args;

use super::usage;
use crate::failure::Failure;
use crate::output::Output;

const NOWHERE: &str = "say where the keyset is: --file PATH, or --uri aws-secretsmanager:///NAME with --kms-key \
                       aws-kms://ARN, or CACHE_ENCRYPTION_ENABLED=true with the variables that services have";

/// Where a keyset is. Without a location: as `CACHE_ENCRYPTION_*` says.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Place {
    /// The keyset is in this file; its notes are in PATH.notes.json
    #[arg(long, value_name = "PATH", conflicts_with = "uri")]
    pub(super) file: Option<PathBuf>,
    /// The keyset is in this secret: aws-secretsmanager:///NAME
    #[arg(long, value_name = "URI")]
    pub(super) uri: Option<String>,
    /// The key that encrypts the keyset: aws-kms://ARN
    #[arg(long, value_name = "URI")]
    pub(super) kms_key: Option<String>,
}

/// A keyset's store and what decrypts it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) store: Arc<dyn KeysetStore>,
    pub(super) kek: Option<Arc<dyn KeyEncryption>>,
    /// How often services read it, if that is configured.
    pub(super) refresh: Option<Duration>,
}

impl Place {
    /// A keyset that will be changed: one in AWS needs its KMS key.
    pub(super) async fn find(self, output: &mut Output) -> Result<Found, Failure> {
        let is_in_aws = self.uri.is_some();
        let found = self.find_to_look(output).await?;
        if is_in_aws && found.kek.is_none() {
            return Err(usage(
                "--uri needs --kms-key aws-kms://ARN: a keyset in a secret store is kept encrypted",
            ));
        }
        Ok(found)
    }

    /// A keyset that will be looked at: without its KMS key it shows less.
    pub(super) async fn find_to_look(self, output: &mut Output) -> Result<Found, Failure> {
        let Self { file, uri, kms_key } = self;
        if let Some(path) = file {
            return Ok(Found {
                store: Arc::new(FileKeysetStore::new(path)),
                kek: optional_key(kms_key.as_deref()).await?,
                refresh: None,
            });
        }
        if let Some(uri) = uri {
            return Ok(Found {
                store: secret(&uri).await?,
                kek: optional_key(kms_key.as_deref()).await?,
                refresh: None,
            });
        }
        let configured = configured(output)?;
        let refresh = Some(configured.refresh);
        match configured.keyset {
            KeysetLocation::File { path } => Ok(Found {
                store: Arc::new(FileKeysetStore::new(path)),
                kek: optional_key(kms_key.as_deref()).await?,
                refresh,
            }),
            KeysetLocation::Envelope {
                keyset_uri,
                kms_key_uri,
            } => Ok(Found {
                store: secret(&keyset_uri).await?,
                kek: optional_key(Some(kms_key.as_deref().unwrap_or(&kms_key_uri))).await?,
                refresh,
            }),
            _ => Err(usage(NOWHERE)),
        }
    }
}

fn configured(output: &mut Output) -> Result<EncryptionConfig, Failure> {
    let loaded = crate::profile::loaded()?;
    for warning in &loaded.warnings {
        output.warning(&warning.to_string());
    }
    loaded.config.encryption.ok_or_else(|| usage(NOWHERE))
}

async fn optional_key(uri: Option<&str>) -> Result<Option<Arc<dyn KeyEncryption>>, Failure> {
    match uri {
        Some(uri) => key(uri).await.map(Some),
        None => Ok(None),
    }
}

#[cfg(feature = "aws")]
pub(super) use super::aws::{key, secret};

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "with the feature aws it waits for the SDK")]
pub(super) async fn secret(uri: &str) -> Result<Arc<dyn KeysetStore>, Failure> {
    Err(without_aws(uri))
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "with the feature aws it waits for the SDK")]
pub(super) async fn key(uri: &str) -> Result<Arc<dyn KeyEncryption>, Failure> {
    Err(without_aws(uri))
}

#[cfg(not(feature = "aws"))]
fn without_aws(uri: &str) -> Failure {
    cache_core::CacheError::Unsupported {
        detail: format!(
            "{uri} needs a cachectl that is built with the feature aws (cargo install --features aws)"
        )
        .into(),
    }
    .into()
}
