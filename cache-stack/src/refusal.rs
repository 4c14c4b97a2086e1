//! What is configured and cannot be done by this build.
//!
//! A setting that has no effect would be worse than no client: somebody relies on it. Not in here: what makes a
//! configuration valid (`cache_core::config`).

use cache_core::config::{Authentication, Backend, KeysetLocation, Problem};
use cache_core::{CacheConfig, ConfigError};

/// Whether [`connect`](crate::connect) would make a client of `config`, without connecting to anything.
///
/// A configuration may be valid ([`CacheConfig::validate`]) and still ask for a feature that this program was built
/// without. With [`connect_with`](crate::connect_with) IAM needs no feature: the service brings its own tokens.
///
/// # Errors
///
/// What is invalid, every problem at once; if everything is valid, every variable that needs a missing feature.
///
/// # Examples
///
/// ```
/// use cache_core::CacheConfig;
/// use cache_core::config::DynamoDbConfig;
///
/// let config = CacheConfig::builder().dynamodb(DynamoDbConfig::new("tokens")).build()?;
/// match cache_stack::check(&config) {
///     Ok(()) => assert!(cfg!(feature = "dynamodb")),
///     Err(error) => assert_eq!(error.problems()[0].variable, "CACHE_TYPE"),
/// }
/// # Ok::<(), cache_core::ConfigError>(())
/// ```
pub fn check(config: &CacheConfig) -> Result<(), ConfigError> {
    Credentials::Configured.check(config)
}

/// Whose credentials a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Those of the configuration.
    Configured,
    /// Those of a source that the caller brings.
    Brought,
}

impl Credentials {
    /// As [`check`], for a client with these credentials.
    pub(crate) fn check(self, config: &CacheConfig) -> Result<(), ConfigError> {
        config.validate()?;
        let problems = refuse(config, self, Features::BUILT);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::new(problems))
        }
    }
}

/// The features of this crate that settings need.
#[derive(Clone, Copy, Debug)]
struct Features {
    iam: bool,
    keyset: bool,
    secret: bool,
    dynamodb: bool,
}

impl Features {
    const BUILT: Self = Self {
        iam: cfg!(feature = "aws-iam"),
        keyset: cfg!(feature = "aws-keyset"),
        secret: cfg!(feature = "aws-secret"),
        dynamodb: cfg!(feature = "dynamodb"),
    };
}

/// All that `config` asks for and a build with `features` cannot do, each by its variable.
fn refuse(config: &CacheConfig, credentials: Credentials, features: Features) -> Vec<Problem> {
    let (iam, password) = match &config.backend {
        Backend::Valkey(valkey) => (
            matches!(valkey.authentication, Authentication::Iam { .. }),
            matches!(valkey.authentication, Authentication::Password { .. }),
        ),
        _ => (false, false),
    };
    let dynamodb = matches!(config.backend, Backend::DynamoDb(_));
    let keyset = config
        .encryption
        .as_ref()
        .is_some_and(|encryption| matches!(encryption.keyset, KeysetLocation::Envelope { .. }));
    let brought = credentials == Credentials::Brought;

    let mut problems = Vec::new();
    let mut problem = |variable: &str, message: String| {
        problems.push(Problem {
            variable: variable.to_owned(),
            message,
        });
    };
    if password && brought {
        problem(
            "CACHE_PASSWORD",
            "must not be set if the service brings a source of credentials: one of the two would be ignored"
                .to_owned(),
        );
    }
    for (asked, built, variable, feature) in [
        (dynamodb, features.dynamodb, "CACHE_TYPE", "dynamodb"),
        (
            keyset,
            features.keyset,
            "CACHE_ENCRYPTION_KEYSET_URI",
            "aws-keyset",
        ),
        (iam && !brought, features.iam, "CACHE_IAM_ENABLED", "aws-iam"),
        (
            config.secret.is_some(),
            features.secret,
            "CACHE_SECRET_ARN",
            "aws-secret",
        ),
    ] {
        if asked && !built {
            problem(variable, missing(feature));
        }
    }
    problems
}

/// What is wrong with a setting that needs `feature`.
pub(crate) fn missing(feature: &str) -> String {
    format!("needs the feature `{feature}` of cache-stack, which this program was built without")
}

#[cfg(test)]
mod tests {
    use cache_core::config::{
        DynamoDbConfig, IamService, SecretConfig, TlsConfig, Topology, VARIABLES, ValkeyConfig,
        variable as variable_named,
    };

    use super::*;

    const NONE: Features = Features {
        iam: false,
        keyset: false,
        secret: false,
        dynamodb: false,
    };
    const ALL: Features = Features {
        iam: true,
        keyset: true,
        secret: true,
        dynamodb: true,
    };

    fn names(config: &CacheConfig, credentials: Credentials, features: Features) -> Vec<String> {
        let problems = refuse(config, credentials, features);
        problems.into_iter().map(|problem| problem.variable).collect()
    }

    /// What makes `cache_core` read this setting, and the variable that is refused for it.
    fn example(name: &str) -> (Vec<(&str, &str)>, &str) {
        let envelope = vec![
            ("CACHE_ENCRYPTION_ENABLED", "true"),
            ("CACHE_ENCRYPTION_KEYSET_URI", "aws-secretsmanager:///keyset"),
            ("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI", "aws-kms://key"),
        ];
        let iam = vec![
            ("CACHE_ADDRS", "cache:6379"),
            ("CACHE_TLS_ENABLED", "true"),
            ("CACHE_USERNAME", "app"),
            ("CACHE_IAM_ENABLED", "true"),
            ("CACHE_IAM_CACHE_NAME", "main"),
            ("CACHE_IAM_SERVERLESS", "true"),
            ("CACHE_IAM_SERVICE", "elasticache"),
        ];
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cache";
        match name {
            "CACHE_DYNAMODB_TABLE" => (
                vec![("CACHE_TYPE", "dynamodb"), ("CACHE_DYNAMODB_TABLE", "tokens")],
                "CACHE_TYPE",
            ),
            "CACHE_SECRET_ARN" => (vec![(name, arn)], name),
            name if name.starts_with("CACHE_ENCRYPTION_") => (envelope, "CACHE_ENCRYPTION_KEYSET_URI"),
            name if name.starts_with("CACHE_IAM_") => (iam, "CACHE_IAM_ENABLED"),
            _ => panic!("{name} needs a feature and has no example"),
        }
    }

    #[test]
    fn setting_needs_the_feature_of_the_reference() {
        let mut seen = Vec::new();
        for variable in VARIABLES.iter().filter(|variable| !variable.feature.is_empty()) {
            let (written, refused) = example(variable.name);
            assert!(written.iter().any(|(name, _)| *name == variable.name));
            let written = written
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
            let config = CacheConfig::from_vars(written).unwrap().config;
            assert_eq!(names(&config, Credentials::Configured, NONE), [refused]);
            assert_eq!(names(&config, Credentials::Configured, ALL), [""; 0]);
            let message = &refuse(&config, Credentials::Configured, NONE)[0].message;
            assert_eq!(*message, missing(variable.feature));
            seen.push(variable.feature);
        }
        seen.dedup();
        assert_eq!(seen, ["aws-keyset", "aws-iam", "aws-secret", "dynamodb"]);
        assert!(
            variable_named("CACHE_TYPE")
                .unwrap()
                .meaning
                .contains("feature `dynamodb`")
        );
    }

    #[test]
    fn every_missing_feature_is_named_at_once() {
        let config = CacheConfig::builder()
            .dynamodb(DynamoDbConfig::new("tokens"))
            .encryption(cache_core::config::EncryptionConfig::new(
                KeysetLocation::Envelope {
                    keyset_uri: "aws-secretsmanager:///keyset".into(),
                    kms_key_uri: "aws-kms://key".into(),
                },
            ))
            .build()
            .unwrap();
        let expected = ["CACHE_TYPE", "CACHE_ENCRYPTION_KEYSET_URI"];
        assert_eq!(names(&config, Credentials::Configured, NONE), expected);
    }

    #[test]
    fn password_and_credentials_source_conflict() {
        let server = Topology::single("cache:6379".parse().unwrap());
        let valkey = ValkeyConfig::new(server).with_authentication(Authentication::Password {
            username: None,
            password: "s3cr3t".into(),
        });
        let config = CacheConfig::builder().valkey(valkey).build().unwrap();
        assert_eq!(names(&config, Credentials::Brought, NONE), ["CACHE_PASSWORD"]);
        assert_eq!(names(&config, Credentials::Configured, NONE), [""; 0]);
    }

    #[test]
    fn own_token_source_needs_no_feature() {
        let server = Topology::single("cache:6379".parse().unwrap());
        let iam = Authentication::Iam {
            username: "app".into(),
            cache_name: "main".into(),
            serverless: false,
            service: IamService::ElastiCache,
        };
        let valkey = ValkeyConfig::new(server)
            .with_authentication(iam)
            .with_tls(TlsConfig::new());
        let config = CacheConfig::builder().valkey(valkey);
        let without = config.clone().build().unwrap();
        assert_eq!(
            names(&without, Credentials::Configured, NONE),
            ["CACHE_IAM_ENABLED"]
        );
        assert_eq!(names(&without, Credentials::Brought, NONE), [""; 0]);
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cache";
        let with_secret = config.secret(SecretConfig::new(arn)).build().unwrap();
        assert_eq!(
            names(&with_secret, Credentials::Brought, NONE),
            ["CACHE_SECRET_ARN"]
        );
    }
}
