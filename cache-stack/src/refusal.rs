//! What is configured and cannot be done.
//!
//! A setting that has no effect would be worse than no client: somebody relies on it.

use cache_core::config::{Authentication, Backend, Problem};
use cache_core::{CacheConfig, ConfigError};

const UNSUPPORTED: &str = "is not supported by this version";

/// Whether [`connect`](crate::connect) would make a client of `config`, without connecting to anything.
///
/// A configuration may hold ([`CacheConfig::validate`]) and still ask for what this version cannot do.
/// IAM is among that here; [`connect_with`](crate::connect_with) does it with a source of tokens.
///
/// # Errors
///
/// What does not hold, every problem at once; where all holds, every variable that is refused.
///
/// # Examples
///
/// ```
/// use cache_core::CacheConfig;
/// use cache_core::config::DynamoDbConfig;
///
/// let table = DynamoDbConfig::new("tokens");
/// let config = CacheConfig::builder().dynamodb(table).build()?;
/// let error = cache_stack::check(&config).unwrap_err();
/// assert_eq!(error.problems()[0].variable, "CACHE_TYPE");
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
        refuse(config, self)
    }
}

/// All that `config` asks for and this version cannot do, each by its variable.
fn refuse(config: &CacheConfig, credentials: Credentials) -> Result<(), ConfigError> {
    let (iam, password) = match &config.backend {
        Backend::Valkey(valkey) => (
            matches!(valkey.authentication, Authentication::Iam { .. }),
            matches!(valkey.authentication, Authentication::Password { .. }),
        ),
        _ => (false, false),
    };
    let brought = credentials == Credentials::Brought;
    let tokens = "needs a source of tokens: pass one to cache_stack::connect_with";
    let refused = [
        (
            !is_known(&config.backend),
            "CACHE_TYPE",
            "must be memory or valkey in this version",
        ),
        (
            password && brought,
            "CACHE_PASSWORD",
            "must not be set where the service brings a source of credentials: one of the two would be ignored",
        ),
        (
            config.encryption.is_some(),
            "CACHE_ENCRYPTION_ENABLED",
            "must be false in this version",
        ),
        (iam && !brought, "CACHE_IAM_ENABLED", tokens),
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
    use cache_core::config::{
        DynamoDbConfig, EncryptionConfig, TlsConfig, Topology, VARIABLES, ValkeyConfig,
        variable as variable_named,
    };

    use super::*;

    fn names(config: &CacheConfig, credentials: Credentials) -> Vec<String> {
        match credentials.check(config) {
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
            .encryption(EncryptionConfig::File {
                path: "keyset.json".into(),
            })
            .build()
            .unwrap();
        let expected = ["CACHE_TYPE", "CACHE_ENCRYPTION_ENABLED"];
        assert_eq!(names(&config, Credentials::Configured), expected);
    }

    /// What makes `cache_core` read this setting, and the variable that is refused for it.
    fn example(name: &str) -> (Vec<(&str, &str)>, &str) {
        let keyset_file = vec![
            ("CACHE_ENCRYPTION_ENABLED", "true"),
            ("CACHE_ENCRYPTION_KEYSET_FILE", "keyset.json"),
        ];
        let envelope = vec![
            ("CACHE_ENCRYPTION_ENABLED", "true"),
            ("CACHE_ENCRYPTION_KEYSET_URI", "aws-secretsmanager://keyset"),
            ("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI", "aws-kms://key"),
        ];
        let iam = vec![
            ("CACHE_ADDRS", "cache:6379"),
            ("CACHE_TLS_ENABLED", "true"),
            ("CACHE_USERNAME", "app"),
            ("CACHE_IAM_ENABLED", "true"),
            ("CACHE_IAM_CACHE_NAME", "main"),
            ("CACHE_IAM_SERVERLESS", "true"),
        ];
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cache";
        match name {
            "CACHE_TYPE" | "CACHE_DYNAMODB_TABLE" => (
                vec![("CACHE_TYPE", "dynamodb"), ("CACHE_DYNAMODB_TABLE", "tokens")],
                "CACHE_TYPE",
            ),
            "CACHE_SECRET_ARN" => (vec![(name, arn)], name),
            "CACHE_ENCRYPTION_ENABLED" | "CACHE_ENCRYPTION_KEYSET_FILE" => {
                (keyset_file, "CACHE_ENCRYPTION_ENABLED")
            }
            name if name.starts_with("CACHE_ENCRYPTION_") => (envelope, "CACHE_ENCRYPTION_ENABLED"),
            name if name.starts_with("CACHE_IAM_") => (iam, "CACHE_IAM_ENABLED"),
            _ => panic!("{name} is marked as refused and has no example"),
        }
    }

    #[test]
    fn what_the_reference_marks_as_refused_is_refused_and_nothing_else() {
        for variable in VARIABLES.iter().filter(|variable| !variable.refused.is_empty()) {
            let (written, refused) = example(variable.name);
            assert!(written.iter().any(|(name, _)| *name == variable.name));
            let written = written
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
            let config = CacheConfig::from_vars(written).unwrap().config;
            assert_eq!(names(&config, Credentials::Configured), [refused]);
            let marked = variable_named(refused).unwrap().refused;
            assert!(!marked.is_empty(), "{refused} is not marked");
        }
        assert!(!variable_named("CACHE_SECRET_ARN").unwrap().refused.is_empty());
    }

    #[test]
    fn a_password_is_not_dropped_for_a_source_of_credentials() {
        let server = Topology::single("cache:6379".parse().unwrap());
        let valkey = ValkeyConfig::new(server).with_authentication(Authentication::Password {
            username: None,
            password: "s3cr3t".into(),
        });
        let config = CacheConfig::builder().valkey(valkey).build().unwrap();
        assert_eq!(names(&config, Credentials::Brought), ["CACHE_PASSWORD"]);
        assert_eq!(names(&config, Credentials::Configured), [""; 0]);
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
            names(&config.clone().build().unwrap(), Credentials::Configured),
            ["CACHE_IAM_ENABLED"]
        );
        assert_eq!(
            names(&config.clone().build().unwrap(), Credentials::Brought),
            [""; 0]
        );
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cache";
        assert_eq!(
            names(&config.secret_arn(arn).build().unwrap(), Credentials::Brought),
            ["CACHE_SECRET_ARN"]
        );
    }
}
