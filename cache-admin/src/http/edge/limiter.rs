//! How often a caller may ask, counted in this process.

use std::fmt::Write as _;
use std::sync::Arc;

use cache_core::{CacheError, MemoryCache};
use cache_layers::rate_limiter::OnError;
use cache_layers::{Quota, RateLimiter, RateLimiterConfig};

use crate::http::problem::{Kind, Problem};

/// Limits callers by name, and whoever fails to authenticate by address.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    limiter: RateLimiter,
    requests: Quota,
    failures: Quota,
}

impl Limiter {
    pub(crate) fn new(requests: Quota, failures: Quota) -> Result<Self, CacheError> {
        // Its counters are in a cache of its own: a limit must not end where the cache does.
        let config = RateLimiterConfig::builder().on_error(OnError::Fail).build()?;
        Ok(Self {
            limiter: RateLimiter::new(Arc::new(MemoryCache::default()), config),
            requests,
            failures,
        })
    }

    /// One request of this caller.
    pub(crate) async fn request(&self, actor: &str) -> Result<(), Problem> {
        self.check("actor", actor.as_bytes(), &self.requests).await
    }

    /// One try of somebody unknown, who is known by `peer` at best.
    pub(crate) async fn failure(&self, peer: &str) -> Result<(), Problem> {
        self.check("peer", peer.as_bytes(), &self.failures).await
    }

    async fn check(&self, kind: &str, name: &[u8], quota: &Quota) -> Result<(), Problem> {
        let decision = self.limiter.check(&subject(kind, name), quota).await;
        let decision = decision.map_err(|error| {
            tracing::error!("cannot count requests: {error}");
            Problem::internal()
        })?;
        if decision.allowed {
            return Ok(());
        }
        let seconds = quota.window().as_secs_f64();
        let detail = format!("more than {} requests in {seconds} s", quota.limit());
        let problem = Problem::new(Kind::RateLimited, detail);
        Err(problem.retry_after(decision.retry_after.unwrap_or(quota.window())))
    }
}

/// A key for whatever the name holds, short whatever its length.
fn subject(kind: &str, name: &[u8]) -> String {
    let mut subject = format!("{kind}:");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name);
    for byte in digest.as_ref() {
        // Writing to a text does not fail.
        let _ = write!(subject, "{byte:02x}");
    }
    subject
}
