//! The AWS credentials that sign tokens: kept until they are about to expire, fetched within a time limit.
//!
//! Not in here: the signature.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use cache_core::CacheError;
use cache_core::clock::{self, Instant};

use super::Clock;
use crate::error::credentials::{timed_out, translate};
use crate::fetch::Latest;
use crate::quiet::quiet;

/// New credentials are fetched when the old ones have less than this left, so that a token can still be used.
const MARGIN: Duration = Duration::from_secs(60);

/// How long credentials without an expiry are kept, because a profile file may change.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// Holds the AWS credentials.
pub(super) struct Identity {
    provider: SharedCredentialsProvider,
    timeout: Duration,
    latest: Latest<Keys>,
}

struct Keys {
    credentials: Credentials,
    since: Instant,
}

impl Keys {
    /// Whether they are valid for longer than `margin`.
    fn last(&self, now: SystemTime, margin: Duration) -> bool {
        self.credentials
            .expiry()
            .is_none_or(|expiry| expiry > now + margin)
    }
}

impl Identity {
    pub(super) fn new(provider: SharedCredentialsProvider, timeout: Duration) -> Self {
        Self {
            provider,
            timeout,
            latest: Latest::new(),
        }
    }

    /// Credentials that are valid now.
    pub(super) async fn keys(&self, now: &Clock) -> Result<Credentials, CacheError> {
        let is_good = |keys: &Keys| {
            keys.last(now(), MARGIN)
                && (keys.credentials.expiry().is_some()
                    || clock::now().saturating_duration_since(keys.since) < KEPT)
        };
        let (provider, timeout) = (self.provider.clone(), self.timeout);
        // The old credentials stay usable until they expire if a fetch fails or returns nothing better.
        let before = self.latest.peek();
        let fetched = self.latest.get(is_good, || fetch(provider, timeout)).await;
        let keys: Arc<Keys> = match (fetched, before) {
            (Err(error), None) => return Err(error),
            (Err(_), Some(before)) if before.last(now(), Duration::ZERO) => before,
            (Err(error), Some(_)) => return Err(error),
            (Ok(keys), _) => keys,
        };
        if keys.last(now(), Duration::ZERO) {
            Ok(keys.credentials.clone())
        } else {
            Err(expired())
        }
    }

    /// Signs the next token with new credentials, if they are available.
    pub(super) fn expire(&self) {
        self.latest.expire();
    }
}

async fn fetch(provider: SharedCredentialsProvider, timeout: Duration) -> Result<Keys, CacheError> {
    let provided = quiet(provider.provide_credentials());
    match tokio::time::timeout(timeout, provided).await {
        Ok(Ok(credentials)) => Ok(Keys {
            credentials,
            since: clock::now(),
        }),
        Ok(Err(error)) => Err(translate(&error, timeout)),
        Err(_) => Err(timed_out(timeout)),
    }
}

fn expired() -> CacheError {
    CacheError::Unauthorized {
        detail: "the source of AWS credentials hands out expired ones; check what renews them, and the clock of this machine".into(),
        source: None,
    }
}
