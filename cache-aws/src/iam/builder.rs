//! Builds an [`IamTokens`] from names that are checked here.
//!
//! Not in here: whether user and cache exist. Only the server knows.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use cache_core::config::{IamService, Problem};
use cache_core::{CacheError, ConfigError};

use super::identity::Identity;
use super::token::Subject;
use super::{Clock, IamTokens};
use crate::account::Aws;

/// Builds an [`IamTokens`]. No setter fails; [`build`](Self::build) reports all problems at once.
#[derive(Clone)]
pub struct IamTokensBuilder {
    user: String,
    cache: String,
    service: IamService,
    serverless: bool,
    clock: Clock,
}

impl IamTokensBuilder {
    pub(super) fn new(user: String, cache: String) -> Self {
        Self {
            user,
            cache,
            service: IamService::default(),
            serverless: false,
            clock: Arc::new(time_of_day),
        }
    }

    /// The service that runs the cache. Default: ElastiCache.
    #[must_use]
    pub const fn service(mut self, service: IamService) -> Self {
        self.service = service;
        self
    }

    /// Whether the cache is a serverless ElastiCache cache. Default: `false`.
    #[must_use]
    pub const fn serverless(mut self, serverless: bool) -> Self {
        self.serverless = serverless;
        self
    }

    /// What tells the time of day, which is part of a token; for tests. Default: the machine's clock.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(now);
        self
    }

    /// Creates the source of tokens. Nothing is fetched or sent yet.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] if a name is malformed, which an endpoint in place of a cache's name is.
    pub fn build(self, aws: &Aws) -> Result<IamTokens, CacheError> {
        let mut problems = Vec::new();
        let mut wrong = |variable: &str, message: &str| {
            problems.push(Problem {
                variable: variable.to_owned(),
                message: message.to_owned(),
            });
        };
        if let Err(message) = check_user(&self.user) {
            wrong("CACHE_USERNAME", message);
        }
        if let Err(message) = check_cache(&self.cache) {
            wrong("CACHE_IAM_CACHE_NAME", message);
        }
        if self.serverless && self.service == IamService::MemoryDb {
            wrong("CACHE_IAM_SERVERLESS", "MemoryDB has no serverless caches");
        }
        if !problems.is_empty() {
            return Err(ConfigError::new(problems).into());
        }
        let subject = Subject {
            user: self.user,
            // The service signs with the name in lower case, however the cache was created.
            cache: self.cache.to_ascii_lowercase(),
            region: aws.region().to_owned(),
            service: self.service,
            serverless: self.serverless,
        };
        let identity = Identity::new(aws.credentials_provider()?, aws.credentials_timeout());
        Ok(IamTokens::new(subject, identity, self.clock))
    }
}

impl fmt::Debug for IamTokensBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IamTokensBuilder")
            .field("user", &self.user)
            .field("cache", &self.cache)
            .field("service", &self.service)
            .field("serverless", &self.serverless)
            .finish_non_exhaustive()
    }
}

fn time_of_day() -> SystemTime {
    SystemTime::now()
}

fn check_user(user: &str) -> Result<(), &'static str> {
    if user.is_empty() {
        return Err("IAM tokens need the name of the ElastiCache or MemoryDB user");
    }
    if user.chars().any(|char| char.is_whitespace() || char.is_control()) {
        return Err("a user's name has no spaces or control characters");
    }
    Ok(())
}

fn check_cache(cache: &str) -> Result<(), &'static str> {
    if cache.contains("://") || cache.contains(['.', ':', '/']) {
        return Err(
            "it looks like an endpoint or a URL; give the cache's name, such as billing-cache, as the AWS console lists it",
        );
    }
    let is_name = !cache.is_empty()
        && cache.len() <= 63
        && cache
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name {
        Ok(())
    } else {
        Err("it must be the cache's name: letters, digits and hyphens, such as billing-cache")
    }
}
