//! What a configuration needs from AWS, each behind its feature.
//!
//! Region, credentials and endpoints come from where the AWS SDK looks for them (`AWS_*`). Without its feature a
//! function answers the problem for which [`check`](crate::check) has refused the configuration before.

use std::sync::Arc;

use cache_core::config::{Address, Authentication, DynamoDbConfig, SecretConfig};
use cache_core::credentials::CredentialsSource;
use cache_core::keyset::{KeyEncryption, KeysetStore};
use cache_core::{CacheConfig, CacheError};

use crate::Foundation;

/// The port of a secret that names a host alone.
#[cfg(feature = "aws-secret")]
const DEFAULT_PORT: u16 = 6379;

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

/// What a service secret supplies.
#[derive(Debug)]
pub(crate) struct Supplied {
    pub(crate) address: Option<Address>,
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
        use cache_aws::{KmsKeyEncryption, SecretsManagerKeysetStore};
        let aws = self.find().await?;
        let store = SecretsManagerKeysetStore::new(aws, keyset_uri)?.without_notes();
        let key = KmsKeyEncryption::new(aws, kms_key_uri)?;
        Ok((Arc::new(store), Arc::new(key)))
    }

    /// A fresh token for every connection, if that is how the client logs in.
    #[cfg(feature = "aws-iam")]
    pub(crate) async fn tokens(
        &mut self,
        authentication: &Authentication,
    ) -> Result<Option<Arc<dyn CredentialsSource>>, CacheError> {
        let Authentication::Iam {
            username,
            cache_name,
            serverless,
            service,
        } = authentication
        else {
            return Ok(None);
        };
        let tokens = cache_aws::IamTokens::builder(username, cache_name)
            .serverless(*serverless)
            .service(*service)
            .build(self.find().await?)?;
        Ok(Some(Arc::new(tokens)))
    }

    /// A client of the table.
    #[cfg(feature = "dynamodb")]
    pub(crate) async fn table(
        &mut self,
        table: &DynamoDbConfig,
        config: &CacheConfig,
    ) -> Result<Foundation, CacheError> {
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
        use cache_aws::ServiceSecret;
        let mut secret = ServiceSecret::load(self.find().await?, &config.arn).await?;
        if let Some(username) = &config.username {
            secret = secret.with_username(username);
        }
        let login = if secret.has_password() {
            secret.credentials().await?
        } else {
            None
        };
        Ok(Supplied {
            address: secret
                .host()
                .map(|host| Address::new(host, secret.port().unwrap_or(DEFAULT_PORT))),
            tls: secret.tls().unwrap_or_default(),
            key_prefix: secret.key_prefix(),
            username: login.and_then(|login| login.username),
            credentials: Arc::new(secret),
        })
    }

    #[cfg(not(feature = "aws-keyset"))]
    pub(crate) async fn keyset(
        &mut self,
        _keyset_uri: &str,
        _kms_key_uri: &str,
    ) -> Result<(Arc<dyn KeysetStore>, Arc<dyn KeyEncryption>), CacheError> {
        Err(missing("CACHE_ENCRYPTION_KEYSET_URI", "aws-keyset"))
    }

    #[cfg(not(feature = "aws-iam"))]
    pub(crate) async fn tokens(
        &mut self,
        authentication: &Authentication,
    ) -> Result<Option<Arc<dyn CredentialsSource>>, CacheError> {
        match authentication {
            Authentication::Iam { .. } => Err(missing("CACHE_IAM_ENABLED", "aws-iam")),
            _ => Ok(None),
        }
    }

    #[cfg(not(feature = "dynamodb"))]
    pub(crate) async fn table(
        &mut self,
        _table: &DynamoDbConfig,
        _config: &CacheConfig,
    ) -> Result<Foundation, CacheError> {
        Err(missing("CACHE_TYPE", "dynamodb"))
    }

    #[cfg(not(feature = "aws-secret"))]
    pub(crate) async fn secret(&mut self, _config: &SecretConfig) -> Result<Supplied, CacheError> {
        Err(missing("CACHE_SECRET_ARN", "aws-secret"))
    }
}

/// The problem of a setting that needs a feature.
#[cfg(not(all(
    feature = "aws-iam",
    feature = "aws-keyset",
    feature = "aws-secret",
    feature = "dynamodb"
)))]
fn missing(variable: &str, feature: &str) -> CacheError {
    cache_core::ConfigError::one(variable, crate::refusal::missing(feature)).into()
}
