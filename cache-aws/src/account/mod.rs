//! How to reach AWS: region, credentials, endpoints and time limits, shared by every service's client.
//!
//! Not in here: requests to a service, and translating its errors (`error.rs`).

mod builder;

use std::fmt;
use std::time::Duration;

use aws_types::SdkConfig;
use aws_types::region::Region;
use cache_core::CacheError;

pub use self::builder::AwsBuilder;

/// The service that a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AwsService {
    /// DynamoDB.
    DynamoDb,
    /// The management of ElastiCache; not the caches themselves.
    ElastiCache,
    /// The Key Management Service.
    Kms,
    /// Secrets Manager.
    SecretsManager,
}

impl AwsService {
    /// The SDK's variable that sets this service's endpoint.
    const fn endpoint_variable(self) -> &'static str {
        match self {
            Self::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
            Self::ElastiCache => "AWS_ENDPOINT_URL_ELASTICACHE",
            Self::Kms => "AWS_ENDPOINT_URL_KMS",
            Self::SecretsManager => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        }
    }
}

impl fmt::Display for AwsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DynamoDb => "DynamoDB",
            Self::ElastiCache => "ElastiCache",
            Self::Kms => "KMS",
            Self::SecretsManager => "Secrets Manager",
        })
    }
}

/// How to reach AWS. Cheap to clone.
///
/// By default everything comes from the AWS SDK's sources: `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`,
/// `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_DYNAMODB` and so on, the profile files, a web identity token (EKS),
/// the container's credentials (ECS, EKS Pod Identity) and the instance's role (EC2).
///
/// Profiles that use SSO or `credential_process` are not supported. Export their credentials to the environment
/// with `aws configure export-credentials --format env`.
///
/// ```no_run
/// # async fn example() -> Result<(), cache_core::CacheError> {
/// let aws = cache_aws::Aws::from_env().await?;
/// println!("requests go to {}", aws.region());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Aws {
    config: SdkConfig,
    region: String,
    endpoints: Vec<(AwsService, String)>,
    credentials_timeout: Duration,
    call_timeout: Duration,
}

impl Aws {
    /// Reads everything from the AWS SDK's sources.
    ///
    /// # Errors
    ///
    /// As [`AwsBuilder::load`].
    pub async fn from_env() -> Result<Self, CacheError> {
        Self::builder().load().await
    }

    /// Starts a builder. Settings that are not given come from the AWS SDK's sources.
    #[must_use]
    pub fn builder() -> AwsBuilder {
        AwsBuilder::default()
    }

    /// The region that requests go to.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The same set-up for another region, for example that of an ARN.
    #[must_use]
    pub fn in_region(&self, region: impl Into<String>) -> Self {
        let region = region.into();
        let config = self
            .config
            .to_builder()
            .region(Region::new(region.clone()))
            .build();
        Self {
            config,
            region,
            ..self.clone()
        }
    }

    /// How long getting AWS credentials may take.
    #[must_use]
    pub const fn credentials_timeout(&self) -> Duration {
        self.credentials_timeout
    }

    /// How long a request may take, its retries included.
    #[must_use]
    pub const fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// The SDK's configuration for the client of `service`.
    #[cfg(any(
        feature = "dynamodb",
        feature = "elasticache",
        feature = "keyset",
        feature = "secret"
    ))]
    pub(crate) fn sdk_config(&self, service: AwsService) -> SdkConfig {
        let Some((_, url)) = self.endpoints.iter().find(|(of, _)| *of == service) else {
            return self.config.clone();
        };
        let mut config = self.config.to_builder().endpoint_url(url);
        // Without this the SDK would let `AWS_ENDPOINT_URL_<SERVICE>` win over the builder.
        config.insert_origin("endpoint_url", aws_types::origin::Origin::shared_config());
        config.build()
    }

    /// Where AWS credentials come from. Not cached and without a time limit: see [`sdk_config`](Self::sdk_config)
    /// for clients, which have both.
    #[cfg(feature = "iam")]
    pub(crate) fn credentials_provider(
        &self,
    ) -> Result<aws_credential_types::provider::SharedCredentialsProvider, CacheError> {
        self.config.credentials_provider().ok_or_else(|| {
            cache_core::ConfigError::one("AWS credentials", "no source of credentials is configured").into()
        })
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("region", &self.region)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}
