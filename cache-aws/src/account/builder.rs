//! Builds an [`Aws`]: settings that are not given come from the AWS SDK's sources.
//!
//! Not in here: the SDK's own variables and files. The SDK reads them.

use std::fmt;
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader};
use aws_credential_types::Credentials;
use aws_types::app_name::AppName;
use aws_types::region::Region;
use cache_core::config::Problem;
use cache_core::{CacheError, ConfigError, Secret};

use super::{Aws, AwsService};

/// Credentials are answered within milliseconds by a container or instance; STS takes a few hundred.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(2);

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Builds an [`Aws`]. No setter fails; [`load`](Self::load) reports all problems at once.
#[derive(Clone, Default)]
pub struct AwsBuilder {
    region: Option<String>,
    profile: Option<String>,
    endpoint: Option<String>,
    endpoints: Vec<(AwsService, String)>,
    credentials: Option<FixedKeys>,
    credentials_timeout: Option<Duration>,
    call_timeout: Option<Duration>,
    app_name: Option<String>,
}

#[derive(Clone)]
struct FixedKeys {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
}

impl AwsBuilder {
    /// The region, such as `eu-west-2`. Default: `AWS_REGION`, then the profile, then the instance's own.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The profile of the AWS profile files. Default: `AWS_PROFILE`.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// The URL that requests to all services go to, for an emulator. Default: `AWS_ENDPOINT_URL`, then AWS.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// The URL that requests to `service` go to, for an emulator or a VPC endpoint. Default: the service's own
    /// variable, such as `AWS_ENDPOINT_URL_DYNAMODB`, then [`endpoint`](Self::endpoint).
    #[must_use]
    pub fn service_endpoint(mut self, service: AwsService, url: impl Into<String>) -> Self {
        self.endpoints.retain(|(of, _)| *of != service);
        self.endpoints.push((service, url.into()));
        self
    }

    /// Fixed credentials, for tests. Default: what the AWS SDK finds.
    #[must_use]
    pub fn credentials(
        mut self,
        access_key_id: impl Into<String>,
        secret_access_key: Secret,
        session_token: Option<Secret>,
    ) -> Self {
        self.credentials = Some(FixedKeys {
            access_key_id: access_key_id.into(),
            secret_access_key,
            session_token,
        });
        self
    }

    /// How long getting AWS credentials may take, and finding the region. Default: 2 s.
    #[must_use]
    pub const fn credentials_timeout(mut self, timeout: Duration) -> Self {
        self.credentials_timeout = Some(timeout);
        self
    }

    /// How long a request may take, its retries included. Default: 5 s.
    #[must_use]
    pub const fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// The application's name in the `User-Agent` of requests, which CloudTrail records: letters, digits, `-` and
    /// `_`. Default: `AWS_SDK_UA_APP_ID`, else none.
    #[must_use]
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.app_name = Some(name.into());
        self
    }

    /// Resolves settings that were not given. No request is sent, except to the instance's metadata if no
    /// region is set.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] if no region is set or a setting is malformed.
    pub async fn load(self) -> Result<Aws, CacheError> {
        let credentials_timeout = self.credentials_timeout.unwrap_or(CREDENTIALS_TIMEOUT);
        let call_timeout = self.call_timeout.unwrap_or(CALL_TIMEOUT);
        let app_name = self.check(credentials_timeout, call_timeout)?;
        let loader = self.loader(app_name, credentials_timeout, call_timeout);
        // With a region that is set nowhere the SDK asks the instance's metadata, which off EC2 takes seconds to fail.
        let loaded = tokio::time::timeout(credentials_timeout, Box::pin(loader.load())).await;
        let Some((config, region)) = loaded.ok().and_then(|config| {
            let region = config.region()?.as_ref().to_owned();
            Some((config, region))
        }) else {
            return Err(ConfigError::one(
                "AWS_REGION",
                "the AWS region is set nowhere: set AWS_REGION, such as AWS_REGION=eu-west-2, or `region` in the AWS profile",
            )
            .into());
        };
        Ok(Aws {
            config,
            region,
            endpoints: self.endpoints,
            credentials_timeout,
            call_timeout,
        })
    }

    fn check(
        &self,
        credentials_timeout: Duration,
        call_timeout: Duration,
    ) -> Result<Option<AppName>, CacheError> {
        let mut problems = Vec::new();
        let mut wrong = |variable: &str, message: &str| {
            problems.push(Problem {
                variable: variable.to_owned(),
                message: message.to_owned(),
            });
        };
        if let Some(region) = &self.region
            && !is_region(region)
        {
            wrong("AWS_REGION", "it must be a region's name, such as eu-west-2");
        }
        let all = self.endpoint.iter().map(|url| ("AWS_ENDPOINT_URL", url));
        let each = self
            .endpoints
            .iter()
            .map(|(service, url)| (service.endpoint_variable(), url));
        for (variable, url) in all.chain(each) {
            if let Err(message) = check_endpoint(url) {
                wrong(variable, message);
            }
        }
        if credentials_timeout.is_zero() {
            wrong(
                "AWS credentials timeout",
                "it must be longer than zero, such as 2s",
            );
        }
        if call_timeout.is_zero() {
            wrong("AWS call timeout", "it must be longer than zero, such as 5s");
        }
        let app_name = self.app_name.clone().map(AppName::new).transpose();
        if app_name.is_err() {
            wrong(
                "AWS_SDK_UA_APP_ID",
                "the application's name may have letters, digits, - and _",
            );
        }
        if problems.is_empty() {
            return Ok(app_name.unwrap_or_default());
        }
        Err(ConfigError::new(problems).into())
    }

    fn loader(
        &self,
        app_name: Option<AppName>,
        credentials_timeout: Duration,
        call_timeout: Duration,
    ) -> ConfigLoader {
        // One attempt may not use up the whole call, or there would be no retry after a lost packet.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(call_timeout / 2)
            .operation_attempt_timeout(call_timeout / 2)
            .operation_timeout(call_timeout)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .timeout_config(timeouts)
            .identity_cache(IdentityCache::lazy().load_timeout(credentials_timeout).build());
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &self.endpoint {
            loader = loader.endpoint_url(url);
        }
        if let Some(name) = app_name {
            loader = loader.app_name(name);
        }
        if let Some(keys) = &self.credentials {
            loader = loader.credentials_provider(Credentials::new(
                &keys.access_key_id,
                keys.secret_access_key.expose(),
                keys.session_token.as_ref().map(|token| token.expose().clone()),
                None,
                "fixed",
            ));
        }
        loader
    }
}

impl fmt::Debug for AwsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsBuilder")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// A region goes into host names, so nothing else may.
fn is_region(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn check_endpoint(url: &str) -> Result<(), &'static str> {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or("it must be a URL that starts with https:// or http://")?;
    if host.is_empty() || host.starts_with('/') {
        return Err("it has no host; write it as http://localhost:8000");
    }
    if host.contains('@') {
        return Err("it must not have a user name or password in it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> AwsBuilder {
        Aws::builder().credentials("AKIDEXAMPLE", Secret::from("s3cr3t"), None)
    }

    #[tokio::test]
    async fn all_problems_are_reported_at_once() {
        let error = fixed()
            .region("eu west")
            .endpoint("localhost:8000")
            .service_endpoint(AwsService::Kms, "http://user:pass@localhost")
            .app_name("a b")
            .call_timeout(Duration::ZERO)
            .load()
            .await
            .unwrap_err();
        let text = error.to_string();
        for variable in [
            "AWS_REGION",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_KMS",
            "AWS_SDK_UA_APP_ID",
            "call timeout",
        ] {
            assert!(text.contains(variable), "{variable} is missing in {text}");
        }
        assert!(!text.contains("pass@"), "{text}");
    }

    #[cfg(any(
        feature = "dynamodb",
        feature = "elasticache",
        feature = "keyset",
        feature = "secret"
    ))]
    #[tokio::test]
    async fn service_endpoint_overrides_the_global_one() {
        let aws = fixed()
            .region("eu-west-2")
            .endpoint("http://localhost:1")
            .service_endpoint(AwsService::Kms, "http://localhost:2")
            .load()
            .await
            .unwrap();
        let url = |service| aws.sdk_config(service).endpoint_url().map(str::to_owned);
        assert_eq!(url(AwsService::Kms).as_deref(), Some("http://localhost:2"));
        assert_eq!(url(AwsService::DynamoDb).as_deref(), Some("http://localhost:1"));
    }

    #[tokio::test]
    async fn debug_shows_no_credentials() {
        let builder = fixed().region("eu-west-2");
        let aws = builder.clone().load().await.unwrap();
        let text = format!("{builder:?} {aws:?}");
        assert!(!text.contains("s3cr3t"), "{text}");
        assert!(text.contains("eu-west-2"), "{text}");
    }
}
