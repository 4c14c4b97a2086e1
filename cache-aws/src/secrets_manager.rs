//! Reading from Secrets Manager, and what its own errors mean.
//!
//! Not in here: what a secret holds, and writing (`keyset/store.rs`).

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use cache_core::{CacheError, Secret};

use crate::account::{Aws, AwsService};
use crate::error::{Request, code, translate};
use crate::quiet::quiet;

/// A secret of Secrets Manager.
#[derive(Clone)]
pub(crate) struct SecretsManager {
    pub(crate) client: Client,
    pub(crate) aws: Aws,
    /// Its name or ARN.
    pub(crate) id: String,
}

/// One version of a secret.
pub(crate) struct SecretVersion {
    pub(crate) bytes: Secret<Vec<u8>>,
    #[cfg_attr(
        not(feature = "keyset"),
        expect(dead_code, reason = "keysets are versioned, service secrets are not")
    )]
    pub(crate) version_id: String,
}

impl SecretsManager {
    /// The secret `id`, a name or an ARN, in the region of `aws`.
    pub(crate) fn new(aws: &Aws, id: String) -> Self {
        Self {
            client: Client::new(&aws.sdk_config(AwsService::SecretsManager)),
            aws: aws.clone(),
            id,
        }
    }

    /// Reads the version that carries the staging label `stage`. [`CacheError::Miss`] if there is no such secret or no such
    /// version.
    pub(crate) async fn read(&self, stage: &str) -> Result<SecretVersion, CacheError> {
        let request = self.client.get_secret_value().secret_id(&self.id);
        let answer = quiet(request.version_stage(stage).send())
            .await
            .map_err(|error| self.translate("secretsmanager:GetSecretValue", &error))?;
        let bytes = match (answer.secret_string, answer.secret_binary) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(blob)) => blob.into_inner(),
            (None, None) => return Err(CacheError::Miss),
        };
        Ok(SecretVersion {
            bytes: Secret::new(bytes),
            version_id: answer.version_id.unwrap_or_default(),
        })
    }

    /// What a failed request means.
    pub(crate) fn translate<E>(
        &self,
        permission: &'static str,
        error: &SdkError<E, HttpResponse>,
    ) -> CacheError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let request = Request::new(&self.aws, AwsService::SecretsManager, permission, &self.id);
        match code(error) {
            Some("ResourceNotFoundException") => CacheError::Miss,
            Some("DecryptionFailure") => CacheError::Denied {
                command: "kms:Decrypt".into(),
                detail: format!(
                    "Secrets Manager cannot decrypt {}; allow the role kms:Decrypt on the KMS key of the secret, and check that the key is enabled",
                    self.id
                )
                .into(),
            },
            Some("InvalidRequestException") => match translate(&request, error) {
                CacheError::Rejected { code, detail } => CacheError::Rejected {
                    code,
                    detail: format!(
                        "{detail}; if the secret is scheduled for deletion, restore it (aws secretsmanager restore-secret)"
                    )
                    .into(),
                },
                other => other,
            },
            _ => translate(&request, error),
        }
    }
}
