//! A service secret: one secret in Secrets Manager that holds where the cache is and how to log in.
//!
//! Not in here: the configuration that it completes, see `cache-stack`.

mod choice;
mod fields;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::credentials::{Credentials, CredentialsSource, Refusal};
use cache_core::{CacheError, ConfigError, Secret, Stage};

use self::choice::{Choice, Version, Versions};
use self::fields::Fields;
use crate::account::Aws;
use crate::arn::Arn;
use crate::fetch::Latest;
use crate::secrets_manager::SecretsManager;

/// How long a connection waits for the secret to be read again.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A service secret, and the source of its credentials.
///
/// The secret is a JSON object. Names of fields are compared without regard to case, `_` and `-`; other fields are
/// ignored, and so are fields that are `null` or an empty string.
///
/// | field | also accepted as | value |
/// |---|---|---|
/// | `host` | `hostname`, `endpoint`, `address` | a host name or an IP address, with or without `:port` |
/// | `port` | | a number from 1 to 65535, or the same as a string |
/// | `username` | `user` | a string |
/// | `password` | `auth_token`, `authToken` | a string |
/// | `keyspace` | | a string, see [`key_prefix`](Self::key_prefix) |
/// | `tls` | `tls_enabled`, `ssl`, `transit_encryption_enabled` | `true` or `false`, or the same as a string |
/// | `engine` | | `valkey` or `redis`; another engine's secret is refused |
///
/// Host, port, TLS and keyspace are read once, at the start. User name and password are kept, and read again when a
/// server refuses them, so that a rotation takes effect without a restart:
///
/// - At most once per 250 ms, and less often while nothing new is found, down to once per minute. A
///   connection waits up to 500 ms for it.
/// - If the password of the current version (`AWSCURRENT`) is the refused one, or is refused as well, the version that a
///   rotation prepares (`AWSPENDING`) and the one before (`AWSPREVIOUS`) are tried: in the middle of a rotation one of them
///   is what the server accepts. The server decides; a password is only ever sent to it.
///
/// ```no_run
/// # async fn example() -> Result<(), cache_core::CacheError> {
/// use cache_aws::{Aws, ServiceSecret};
///
/// let aws = Aws::from_env().await?;
/// let arn = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:billing-cache-AbCdEf";
/// let secret = ServiceSecret::load(&aws, arn).await?;
/// println!("{:?}:{:?}, keys begin with {:?}", secret.host(), secret.port(), secret.key_prefix());
/// # Ok(())
/// # }
/// ```
pub struct ServiceSecret {
    secret: Arc<SecretsManager>,
    fields: Fields,
    username: Option<String>,
    latest: Latest<Versions>,
    choice: Mutex<Choice>,
}

impl ServiceSecret {
    /// Reads the secret with this ARN, in the ARN's region.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] if `arn` is not a secret's ARN, there is no such secret, or its fields are
    /// invalid; [`CacheError::Denied`], [`CacheError::Unauthorized`] if AWS refuses;
    /// [`CacheError::Unavailable`], [`CacheError::Timeout`] if it does not answer.
    pub async fn load(aws: &Aws, arn: &str) -> Result<Self, CacheError> {
        let parsed = Arn::parse(arn)
            .filter(|arn| arn.service == "secretsmanager" && arn.resource.starts_with("secret:"))
            .ok_or_else(|| {
                wrong("it must be the ARN of a secret: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME")
            })?;
        let secret = Arc::new(SecretsManager::new(&aws.in_region(parsed.region), arn.to_owned()));
        let latest = Latest::new();
        let fetched = latest
            .get(|_| true, || fetch(Arc::clone(&secret), Vec::new()))
            .await?;
        Ok(Self {
            secret,
            fields: fetched.current.fields.clone(),
            username: None,
            latest,
            choice: Mutex::default(),
        })
    }

    /// Logs in as this user instead of the one in the secret.
    #[must_use]
    pub fn with_username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The host, as it was at the start.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.fields.host.as_deref()
    }

    /// The port, as it was at the start.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.fields.port
    }

    /// Whether to use TLS, as it was at the start.
    #[must_use]
    pub const fn tls(&self) -> Option<bool> {
        self.fields.tls
    }

    /// Whether the secret holds a password, so that this is a source of credentials.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.latest
            .peek()
            .is_some_and(|versions| versions.current.password.is_some())
    }

    /// What every key begins with: the secret's keyspace and a colon. The keyspace `billing` becomes `billing:`; one that
    /// ends with a colon stays as it is.
    #[must_use]
    pub fn key_prefix(&self) -> Option<String> {
        let keyspace = self.fields.keyspace.as_deref()?;
        let colon = if keyspace.ends_with(':') { "" } else { ":" };
        Some(format!("{keyspace}{colon}"))
    }

    fn issue(&self, version: &Version) -> Result<Option<Credentials>, CacheError> {
        let username = self.username.clone().or_else(|| version.username.clone());
        match (username, &version.password) {
            (username, Some(password)) => Ok(Some(Credentials::fixed(username, password.clone()))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(wrong("the secret has a user name and no password")),
        }
    }

    fn what_to_check(&self, username: Option<&str>) -> String {
        format!(
            "check that the server's user {} has the password of the secret {} (CACHE_SECRET_ARN), and whether a rotation has failed half way",
            username.unwrap_or("default"),
            self.secret.id
        )
    }

    /// Settings that cannot change while the service runs.
    fn warn_if_moved(&self, versions: &Versions) {
        if versions.current.fields != self.fields {
            tracing::warn!(
                secret = %self.secret.id,
                "host, port, TLS or keyspace of the service secret have changed; restart the service to use them"
            );
        }
    }

    /// Reads the secret again if a server refused its credentials, as soon as the pace allows.
    async fn expire_when_due(&self) {
        let wait = {
            let choice = self.choice();
            choice.is_stale.then(|| choice.pace.ready_in())
        };
        let Some(wait) = wait else { return };
        tokio::time::sleep(wait).await;
        let mut choice = self.choice();
        // Another connection may have done it in between.
        if choice.is_stale && choice.pace.begin_if_ready() {
            choice.is_stale = false;
            self.latest.expire();
        }
    }

    fn choice(&self) -> MutexGuard<'_, Choice> {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CredentialsSource for ServiceSecret {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        self.expire_when_due().await;
        let before = self.latest.peek();
        let refused = self.choice().refused();
        let fetched = self
            .latest
            .get(|_| true, || fetch(Arc::clone(&self.secret), refused))
            .await;
        match (fetched, before) {
            (Ok(versions), before) => {
                if before
                    .as_ref()
                    .is_none_or(|before| !Arc::ptr_eq(before, &versions))
                {
                    self.warn_if_moved(&versions);
                    self.choice().fetched(&versions);
                }
                self.issue(self.choice().choose(&versions))
            }
            // The previous credentials are valid for all servers that have not refused them.
            (Err(error), Some(before)) => match self.choice().not_refused(&before) {
                Some(version) => {
                    tracing::warn!(secret = %self.secret.id, %error, "the service secret cannot be read again");
                    self.issue(version)
                }
                None => Err(error),
            },
            (Err(error), None) => Err(error),
        }
    }

    fn refused(&self, credentials: &Credentials) -> Refusal {
        let check = self.what_to_check(credentials.username.as_deref());
        let Some(versions) = self.latest.peek() else {
            return Refusal::ask_again().with_check(check);
        };
        let mut choice = self.choice();
        if !choice.is_chosen(&versions, &credentials.password) {
            // Another connection was refused the same credentials, and there are newer ones since.
            return Refusal::ask_again().with_check(check);
        }
        choice.refuse(&credentials.password);
        // A connection waits a moment for the next read rather than fail: the steps of a rotation may come close to
        // each other. It does not wait for as long as the pace grows to while a server refuses everything.
        let is_one_left = choice.not_refused(&versions).is_some();
        let wait = choice.pace.ready_in();
        if wait.is_zero() || (!is_one_left && wait <= LONGEST_WAIT) {
            choice.is_stale = true;
        }
        if choice.is_stale || is_one_left {
            return Refusal::ask_again().with_check(check);
        }
        Refusal::fatal().with_check(check)
    }
}

impl fmt::Debug for ServiceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceSecret")
            .field("secret", &self.secret.id)
            .finish_non_exhaustive()
    }
}

/// Reads the current version, and if its password is among the `refused` those that a rotation may have left.
async fn fetch(secret: Arc<SecretsManager>, refused: Vec<Secret>) -> Result<Versions, CacheError> {
    let limit = secret.aws.call_timeout();
    let reading = async {
        let current = read(&secret, "AWSCURRENT").await?;
        let mut others = Vec::new();
        if current
            .password
            .as_ref()
            .is_some_and(|password| refused.contains(password))
        {
            for stage in ["AWSPENDING", "AWSPREVIOUS"] {
                match read(&secret, stage).await {
                    Ok(version) => others.push(version),
                    Err(error) => {
                        tracing::debug!(secret = %secret.id, stage, %error, "no such version of the service secret");
                    }
                }
            }
        }
        Ok(Versions { current, others })
    };
    tokio::time::timeout(limit, reading)
        .await
        .unwrap_or(Err(CacheError::Timeout {
            stage: Stage::Call,
            after: limit,
        }))
}

async fn read(secret: &SecretsManager, stage: &str) -> Result<Version, CacheError> {
    let read = secret.read(stage).await.map_err(|error| match error {
        CacheError::Miss => wrong(format!(
            "there is no secret {} with a value in {}; check its ARN, and that it is not deleted",
            secret.id,
            secret.aws.region()
        )),
        other => other,
    })?;
    fields::parse(&read.bytes).map_err(|message| wrong(format!("the secret {}: {message}", secret.id)))
}

fn wrong(message: impl Into<String>) -> CacheError {
    ConfigError::one("CACHE_SECRET_ARN", message).into()
}
