//! A keyset in a secret of Secrets Manager.
//!
//! Not in here: encrypting the keyset (`kms.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_smithy_types::Blob;
use cache_core::keyset::{Expected, KeysetStore, StoredKeyset};
use cache_core::{CacheError, Secret};

use super::notes;
use super::uri::{self, Named};
use crate::account::Aws;
use crate::quiet::quiet;
use crate::secrets_manager::SecretsManager;

const CURRENT: &str = "AWSCURRENT";

/// Carried by a version that is written and not yet current. Not `AWSPENDING`, which belongs to rotation functions.
const WRITTEN: &str = "cache-keyset-written";

/// Keeps a keyset in a secret, and notes about it in the secret's tags.
///
/// The URI is `aws-secretsmanager://NAME`, `aws-secretsmanager:///NAME` for a name that begins with a slash, or an ARN,
/// with or without `aws-secretsmanager://` before it. An ARN also says the region.
///
/// A keyset that is text, as JSON is, is kept as the secret's string, any other as its bytes. A write never replaces what
/// somebody else wrote in between: the new version is stored without being current, and made current only if the expected
/// version still is, which Secrets Manager checks. Tags are written after that, in requests of their own. If those fail
/// the error says so; the keyset is then current and its notes are those from before.
pub struct SecretsManagerKeysetStore {
    secret: SecretsManager,
    name: Named,
    uri: String,
    with_notes: bool,
    /// Whether the last read found nothing.
    is_missing: AtomicBool,
}

impl SecretsManagerKeysetStore {
    /// The store that `uri` names. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] if `uri` is not the URI of a secret.
    pub fn new(aws: &Aws, uri: &str) -> Result<Self, CacheError> {
        let name = uri::secret(uri)?;
        let secret = match &name.region {
            Some(region) => SecretsManager::new(&aws.in_region(region), name.id.clone()),
            None => SecretsManager::new(aws, name.id.clone()),
        };
        Ok(Self {
            secret,
            name,
            uri: uri.to_owned(),
            with_notes: true,
            is_missing: AtomicBool::new(false),
        })
    }

    /// Reads the keyset alone, without its notes: what a service needs, which then can do without the permission
    /// `secretsmanager:DescribeSecret`.
    #[must_use]
    pub const fn without_notes(mut self) -> Self {
        self.with_notes = false;
        self
    }

    async fn read_notes(&self) -> Result<Vec<aws_sdk_secretsmanager::types::Tag>, CacheError> {
        let request = self.secret.client.describe_secret().secret_id(&self.secret.id);
        let answer = quiet(request.send())
            .await
            .map_err(|error| self.secret.translate("secretsmanager:DescribeSecret", &error))?;
        Ok(answer.tags.unwrap_or_default())
    }

    /// Creates the secret, or the first version of a secret without a value.
    async fn create(
        &self,
        keyset: &Secret<Vec<u8>>,
        notes: &BTreeMap<String, String>,
    ) -> Result<(), CacheError> {
        if !self.name.is_arn() {
            let (text, binary) = value(keyset);
            let request = self
                .secret
                .client
                .create_secret()
                .name(&self.secret.id)
                .set_secret_string(text)
                .set_secret_binary(binary)
                .set_tags(Some(notes::to_tags(notes)));
            match quiet(request.send()).await {
                Ok(_) => return Ok(()),
                Err(error) if crate::error::code(&error) == Some("ResourceExistsException") => {}
                Err(error) => return Err(self.secret.translate("secretsmanager:CreateSecret", &error)),
            }
        }
        match self.secret.read(CURRENT).await {
            Ok(_) => return Err(self.conflict("there is a keyset already")),
            Err(CacheError::Miss) => {}
            Err(error) => return Err(error),
        }
        self.put(keyset, CURRENT).await?;
        self.write_notes(notes).await
    }

    /// Replaces the version `expected`.
    async fn replace(
        &self,
        keyset: &Secret<Vec<u8>>,
        notes: &BTreeMap<String, String>,
        expected: &str,
    ) -> Result<(), CacheError> {
        // Avoids storing a version that could not become current.
        if self.secret.read(CURRENT).await?.version_id != expected {
            return Err(self.changed());
        }
        let written = self.put(keyset, WRITTEN).await?;
        let request = self
            .secret
            .client
            .update_secret_version_stage()
            .secret_id(&self.secret.id)
            .version_stage(CURRENT)
            .move_to_version_id(&written)
            .remove_from_version_id(expected);
        if let Err(error) = quiet(request.send()).await {
            let refused = matches!(
                crate::error::code(&error),
                Some("InvalidParameterException" | "InvalidRequestException" | "ResourceNotFoundException")
            );
            // The service gives no code of its own to a label that has moved, so look where it is.
            if refused
                && self
                    .secret
                    .read(CURRENT)
                    .await
                    .is_ok_and(|current| current.version_id != expected)
            {
                return Err(self.changed());
            }
            return Err(self
                .secret
                .translate("secretsmanager:UpdateSecretVersionStage", &error));
        }
        self.write_notes(notes).await
    }

    /// Stores a version with the label `stage` and returns its id.
    async fn put(&self, keyset: &Secret<Vec<u8>>, stage: &str) -> Result<String, CacheError> {
        let (text, binary) = value(keyset);
        let request = self
            .secret
            .client
            .put_secret_value()
            .secret_id(&self.secret.id)
            .set_secret_string(text)
            .set_secret_binary(binary)
            .version_stages(stage);
        let answer = quiet(request.send())
            .await
            .map_err(|error| self.found(self.secret.translate("secretsmanager:PutSecretValue", &error)))?;
        Ok(answer.version_id.unwrap_or_default())
    }

    async fn write_notes(&self, notes: &BTreeMap<String, String>) -> Result<(), CacheError> {
        self.try_write_notes(notes)
            .await
            .map_err(|error| CacheError::Rejected {
                code: "NOTES".into(),
                detail: format!(
                    "the keyset is written to {}, its notes (tags) are not: {error}",
                    self.uri
                )
                .into(),
            })
    }

    async fn try_write_notes(&self, notes: &BTreeMap<String, String>) -> Result<(), CacheError> {
        let superfluous = notes::superfluous(&self.read_notes().await?, notes);
        if !superfluous.is_empty() {
            let request = self.secret.client.untag_resource();
            let request = request.secret_id(&self.secret.id).set_tag_keys(Some(superfluous));
            quiet(request.send())
                .await
                .map_err(|error| self.secret.translate("secretsmanager:UntagResource", &error))?;
        }
        if !notes.is_empty() {
            let request = self.secret.client.tag_resource();
            let request = request
                .secret_id(&self.secret.id)
                .set_tags(Some(notes::to_tags(notes)));
            quiet(request.send())
                .await
                .map_err(|error| self.secret.translate("secretsmanager:TagResource", &error))?;
        }
        Ok(())
    }

    fn changed(&self) -> CacheError {
        self.conflict("somebody else has written the keyset since it was read; read it again")
    }

    fn conflict(&self, what: &str) -> CacheError {
        CacheError::Rejected {
            code: "CONFLICT".into(),
            detail: format!("{what} ({})", self.uri).into(),
        }
    }

    /// An error of a write, where a missing secret is no miss.
    fn found(&self, error: CacheError) -> CacheError {
        match error {
            CacheError::Miss => CacheError::Rejected {
                code: "ResourceNotFound".into(),
                detail: self.missing().into(),
            },
            other => other,
        }
    }

    fn missing(&self) -> String {
        format!(
            "no secret {} with a value in {}{}",
            self.name.id,
            self.secret.aws.region(),
            uri::other_spelling(&self.name)
        )
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeysetStore for SecretsManagerKeysetStore {
    /// The URI; after a read that found no keyset also its other spellings and the region.
    fn location(&self) -> String {
        if self.is_missing.load(Ordering::Relaxed) {
            format!("{} ({})", self.uri, self.missing())
        } else {
            self.uri.clone()
        }
    }

    async fn read(&self) -> Result<StoredKeyset, CacheError> {
        let read = self.secret.read(CURRENT).await;
        self.is_missing
            .store(matches!(read, Err(CacheError::Miss)), Ordering::Relaxed);
        let version = read?;
        let notes = if self.with_notes {
            notes::from_tags(&self.read_notes().await?)
        } else {
            BTreeMap::new()
        };
        Ok(StoredKeyset::new(version.bytes, version.version_id, notes))
    }

    async fn write(
        &self,
        keyset: &Secret<Vec<u8>>,
        notes: &BTreeMap<String, String>,
        expected: Expected<'_>,
    ) -> Result<(), CacheError> {
        notes::check(notes)?;
        match expected {
            Expected::Absent => self.create(keyset, notes).await,
            Expected::Version(version) => {
                let replaced = self.replace(keyset, notes, version).await;
                replaced.map_err(|error| self.found(error))
            }
        }
    }
}

impl fmt::Debug for SecretsManagerKeysetStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsManagerKeysetStore")
            .field("uri", &self.uri)
            .field("region", &self.secret.aws.region())
            .finish_non_exhaustive()
    }
}

/// Text is kept as text, so that a person can read which keys an encrypted keyset has.
fn value(keyset: &Secret<Vec<u8>>) -> (Option<String>, Option<Blob>) {
    match std::str::from_utf8(keyset.expose()) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(Blob::new(keyset.expose().clone()))),
    }
}
