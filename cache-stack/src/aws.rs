//! What a configuration needs from AWS, each behind its feature.
//!
//! Region, credentials and endpoints come from where the AWS SDK looks for them (`AWS_*`). Without its feature a
//! function answers the problem for which [`check`](crate::check) has refused the configuration before.

use std::sync::Arc;

use cache_core::config::{DynamoDbConfig, IamService, SecretConfig};
use cache_core::credentials::CredentialsSource;
use cache_core::keyset::{KeyEncryption, KeysetStore};
use cache_core::{CacheConfig, CacheError, ConfigError};

use crate::Foundation;
use crate::refusal::missing;

/// The account that one client works in; looked up when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Account {
    #[cfg(any(
        feature = "aws-iam",
        feature = "aws-keyset",
        feature = "aws-secret",
        feature = "dynamodb"
    ))]
    found: Option<cache_aws::Aws>,
}

/// Who asks for tokens, and for which cache.
#[derive(Debug)]
pub(crate) struct Iam<'c> {
    pub(crate) username: &'c str,
    pub(crate) cache_name: &'c str,
    pub(crate) serverless: bool,
    pub(crate) service: IamService,
}

/// What a service secret supplies.
#[derive(Debug)]
pub(crate) struct Supplied {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) username: Option<String>,
    pub(crate) key_prefix: Option<String>,
    pub(crate) credentials: Arc<dyn CredentialsSource>,
}

impl Account {
    #[cfg(any(
        feature = "aws-iam",
        feature = "aws-keyset",
        feature = "aws-secret",
        feature = "dynamodb"
    ))]
    async fn find(&mut self) -> Result<&cache_aws::Aws, CacheError> {
        let aws = match self.found.take() {
            Some(aws) => aws,
            None => cache_aws::Aws::from_env().await?,
        };
        Ok(self.found.insert(aws))
    }

    /// The store of a keyset, and the key that decrypts it.
    #[cfg(feature = "aws-keyset")]
    pub(crate) async fn keyset(
        &mut self,
        keyset_uri: &str,
        kms_key_uri: &str,
    ) -> Result<(Arc<dyn KeysetStore>, Arc<dyn KeyEncryption>), CacheError> {
        use cache_aws::keyset::{KmsKeyEncryption, SecretsManagerKeysetStore};
        let aws = self.find().await?;
        let store = SecretsManagerKeysetStore::new(aws, keyset_uri)?;
        let key = KmsKeyEncryption::new(aws, kms_key_uri)?;
        Ok((Arc::new(store), Arc::new(key)))
    }

    /// A fresh token for every connection.
    #[cfg(feature = "aws-iam")]
    pub(crate) async fn tokens(&mut self, iam: Iam<'_>) -> Result<Arc<dyn CredentialsSource>, CacheError> {
        let tokens = cache_aws::IamTokens::builder(iam.username, iam.cache_name)
            .serverless(iam.serverless)
            .service(iam.service)
            .build(self.find().await?)?;
        Ok(Arc::new(tokens))
    }

    /// A client of the table.
    #[cfg(feature = "dynamodb")]
    pub(crate) async fn table(&mut self, table: &DynamoDbConfig, config: &CacheConfig) -> Result<Foundation, CacheError> {
        use cache_aws::dynamodb::{DynamoClient, DynamoDbOptions};
        let mut options = DynamoDbOptions::default();
        if let Some(deadline) = config.op_timeout {
            options.read_timeout = options.read_timeout.min(deadline);
            options.write_timeout = options.write_timeout.min(deadline);
        }
        let client = DynamoClient::builder(self.find().await?, &table.table)
            .options(options)
            .startup(config.startup);
        Ok(Foundation::DynamoDb(Arc::new(client.connect().await?)))
    }

    /// Reads the secret that says where the servers are.
    #[cfg(feature = "aws-secret")]
    pub(crate) async fn secret(&mut self, config: &SecretConfig) -> Result<Supplied, CacheError> {
        todo!()
    }

    #[cfg(not(feature = "aws-keyset"))]
    pub(crate) async fn keyset(
        &mut self,
        _keyset_uri: &str,
        _kms_key_uri: &str,
    ) -> Result<(Arc<dyn KeysetStore>, Arc<dyn KeyEncryption>), CacheError> {
        Err(ConfigError::one("CACHE_ENCRYPTION_KEYSET_URI", missing("aws-keyset")).into())
    }

    #[cfg(not(feature = "aws-iam"))]
    pub(crate) async fn tokens(&mut self, _iam: Iam<'_>) -> Result<Arc<dyn CredentialsSource>, CacheError> {
        Err(ConfigError::one("CACHE_IAM_ENABLED", missing("aws-iam")).into())
    }

    #[cfg(not(feature = "dynamodb"))]
    pub(crate) async fn table(&mut self, _table: &DynamoDbConfig, _config: &CacheConfig) -> Result<Foundation, CacheError> {
        Err(ConfigError::one("CACHE_TYPE", missing("dynamodb")).into())
    }

    #[cfg(not(feature = "aws-secret"))]
    pub(crate) async fn secret(&mut self, _config: &SecretConfig) -> Result<Supplied, CacheError> {
        Err(ConfigError::one("CACHE_SECRET_ARN", missing("aws-secret")).into())
    }
}
