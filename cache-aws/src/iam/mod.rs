//! IAM tokens: short-lived passwords for ElastiCache and MemoryDB that are signed here, without asking AWS.
//!
//! Not in here: the connection that uses a token, and how old it may get.

mod builder;
mod identity;
mod token;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use cache_core::CacheError;
use cache_core::config::IamService;
use cache_core::credentials::{Credentials, CredentialsSource, Refusal};

pub use self::builder::IamTokensBuilder;
use self::identity::Identity;
use self::token::Subject;
use crate::fetch::Pace;

/// The service ends a connection 12 hours after its last login. An hour less leaves room for a client that renews late.
const VALID_FOR: Duration = Duration::from_secs(11 * 3_600);

/// The service's name in signatures and policies.
const fn signing_name(service: IamService) -> &'static str {
    match service {
        IamService::ElastiCache => "elasticache",
        IamService::MemoryDb => "memorydb",
    }
}

/// Issues an IAM token for every connection.
///
/// A token is a request that is signed but never sent: the server checks the signature. It can be used to log in for
/// 15 minutes, so each connection gets a new one. The service ends a connection 12 hours after its last login;
/// [`Credentials::valid_for`] is 11 hours, so that a client logs in again or replaces the connection before.
///
/// AWS credentials, with which tokens are signed, are kept until they are about to expire. They are fetched in a task of
/// its own within [`Aws::credentials_timeout`](crate::Aws::credentials_timeout), and never used after they expired.
///
/// ```no_run
/// # async fn example() -> Result<(), cache_core::CacheError> {
/// use cache_aws::{Aws, IamTokens};
///
/// let aws = Aws::from_env().await?;
/// let tokens = IamTokens::builder("app-billing", "billing-cache").serverless(true).build(&aws)?;
/// # Ok(())
/// # }
/// ```
pub struct IamTokens {
    subject: Subject,
    identity: Identity,
    now: Clock,
    pace: Mutex<Pace>,
}

/// The clock, because the time is part of the signature.
type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

impl IamTokens {
    /// Tokens for the user `user` of the cache `cache`.
    ///
    /// `user` is the ElastiCache or MemoryDB user, whose id and name must be the same. `cache` is the name of the
    /// cache (the replication group id, the serverless cache's or the MemoryDB cluster's name), never its endpoint.
    #[must_use]
    pub fn builder(user: impl Into<String>, cache: impl Into<String>) -> IamTokensBuilder {
        IamTokensBuilder::new(user.into(), cache.into())
    }

    fn new(subject: Subject, identity: Identity, now: Clock) -> Self {
        Self {
            subject,
            identity,
            now,
            pace: Mutex::default(),
        }
    }

    fn what_to_check(&self) -> String {
        let Subject {
            user,
            cache,
            region,
            service,
            serverless,
        } = &self.subject;
        let time = DateTime::from((self.now)()).fmt(Format::DateTime);
        let time = time.as_deref().unwrap_or("before 1970");
        let (kind, other) = match (service, serverless) {
            (IamService::MemoryDb, _) => ("the cluster's name", String::new()),
            (IamService::ElastiCache, true) => (
                "a serverless cache's name",
                "; for a cache that is not serverless set CACHE_IAM_SERVERLESS=false".to_owned(),
            ),
            (IamService::ElastiCache, false) => (
                "the replication group's id",
                "; for a serverless cache set CACHE_IAM_SERVERLESS=true".to_owned(),
            ),
        };
        let id = match service {
            IamService::ElastiCache => format!("that the {service} user has the id and the name {user}"),
            IamService::MemoryDb => format!("that the {service} user is named {user}"),
        };
        format!(
            "check {id}, uses IAM and belongs to the cache's users (CACHE_USERNAME); that {cache} is {kind}, not its endpoint (CACHE_IAM_CACHE_NAME){other}; that it is in {region} (AWS_REGION); that the role may {action}:Connect to both; that the clock of this machine, which says {time}, is right",
            action = signing_name(*service),
        )
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CredentialsSource for IamTokens {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        let keys = self.identity.keys(&self.now).await?;
        let token = token::sign(&self.subject, &keys, (self.now)())?;
        let user = Some(self.subject.user.clone());
        Ok(Some(Credentials::expiring(user, token, VALID_FOR)))
    }

    fn refused(&self, _credentials: &Credentials) -> Refusal {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = if pace.begin_if_ready() {
            // The role's session may have been revoked: the next token is signed with new credentials.
            self.identity.expire();
            Refusal::ask_again()
        } else {
            Refusal::fatal()
        };
        refusal.with_check(self.what_to_check())
    }
}

impl fmt::Debug for IamTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamTokens")
            .field("user", &self.subject.user)
            .field("cache", &self.subject.cache)
            .field("region", &self.subject.region)
            .field("service", &self.subject.service)
            .field("serverless", &self.subject.serverless)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
