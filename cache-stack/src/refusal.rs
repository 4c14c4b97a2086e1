//! What is configured and cannot be done.
//!
//! A setting that has no effect would be worse than no client: somebody relies on it.

use cache_core::config::{Authentication, Backend, OnError, Problem};
use cache_core::{CacheConfig, ConfigError};

const UNSUPPORTED: &str = "is not supported by this version";

/// All that `config` asks for and this version cannot do, each by its variable.
///
/// Tokens can be had where the caller brings a source of them.
pub(crate) fn check(config: &CacheConfig, has_source: bool) -> Result<(), ConfigError> {
    let iam = match &config.backend {
        Backend::Valkey(valkey) => matches!(valkey.authentication, Authentication::Iam { .. }),
        _ => false,
    };
    let tokens = "needs a source of tokens: pass one to cache_stack::connect_with";
    let refused = [
        (
            !is_known(&config.backend),
            "CACHE_TYPE",
            "must be memory or valkey in this version",
        ),
        (config.key_prefix.is_some(), "CACHE_KEY_PREFIX", UNSUPPORTED),
        (
            config.on_error == OnError::Bypass,
            "CACHE_ON_ERROR",
            "must be fail in this version",
        ),
        (config.near.is_some(), "CACHE_L1_MAX_BYTES", UNSUPPORTED),
        (
            config.encryption.is_some(),
            "CACHE_ENCRYPTION_ENABLED",
            "must be false in this version",
        ),
        (iam && !has_source, "CACHE_IAM_ENABLED", tokens),
        (config.secret_arn.is_some(), "CACHE_SECRET_ARN", UNSUPPORTED),
    ];
    let problems: Vec<Problem> = refused
        .into_iter()
        .filter(|(refused, ..)| *refused)
        .map(|(_, variable, message)| Problem {
            variable: variable.to_owned(),
            message: message.to_owned(),
        })
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::new(problems))
    }
}

fn is_known(backend: &Backend) -> bool {
    matches!(backend, Backend::Memory(_) | Backend::Valkey(_))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::config::{
        DynamoDbConfig, EncryptionConfig, NearConfig, TlsConfig, Topology, ValkeyConfig,
    };

    use super::*;

    fn names(config: &CacheConfig, has_source: bool) -> Vec<String> {
        match check(config, has_source) {
            Ok(()) => Vec::new(),
            Err(error) => error
                .problems()
                .iter()
                .map(|problem| problem.variable.clone())
                .collect(),
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_all_at_once_by_name() {
        let config = CacheConfig::builder()
            .dynamodb(DynamoDbConfig::new("tokens"))
            .key_prefix("shop:")
            .on_error(OnError::Bypass)
            .near(NearConfig::new(1024, Duration::from_secs(1)))
            .encryption(EncryptionConfig::File {
                path: "keyset.json".into(),
            })
            .build()
            .unwrap();
        let expected = [
            "CACHE_TYPE",
            "CACHE_KEY_PREFIX",
            "CACHE_ON_ERROR",
            "CACHE_L1_MAX_BYTES",
            "CACHE_ENCRYPTION_ENABLED",
        ];
        assert_eq!(names(&config, false), expected);
    }

    #[test]
    fn tokens_and_secrets_are_refused_unless_somebody_brings_them() {
        let server = Topology::single("cache:6379".parse().unwrap());
        let iam = Authentication::Iam {
            username: "app".into(),
            cache_name: "main".into(),
            serverless: false,
        };
        let valkey = ValkeyConfig::new(server)
            .with_authentication(iam)
            .with_tls(TlsConfig::new());
        let config = CacheConfig::builder().valkey(valkey);
        assert_eq!(
            names(&config.clone().build().unwrap(), false),
            ["CACHE_IAM_ENABLED"]
        );
        assert_eq!(names(&config.clone().build().unwrap(), true), [""; 0]);
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cache";
        assert_eq!(
            names(&config.secret_arn(arn).build().unwrap(), true),
            ["CACHE_SECRET_ARN"]
        );
    }
}
