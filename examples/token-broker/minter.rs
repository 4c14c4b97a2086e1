//! Minting within bounds: so many at once, so many an hour, and no token that expires too soon.
//!
//! The bounds hold for this process even if the cache fails: they are what protects the upstream when every process
//! mints for itself. Not in here: who mints of all that want the same token (`source.rs`).

use std::sync::Arc;

use cache_core::MemoryCache;
use cache_layers::rate_limiter::Quota;
use cache_layers::{RateLimiter, RateLimiterConfig, WallClock};
use tokio::sync::Semaphore;

use crate::profiles::Order;
use crate::tally::Tally;
use crate::times::Times;
use crate::token::Minted;
use crate::upstream::{MintError, Upstream};

/// How many mints may be under way at once in one process.
const AT_ONCE: usize = 4;

/// The subject of the bound, in a cache of this process that holds nothing else.
const SUBJECT: &str = "token-broker:mints";

/// The only way to the upstream.
#[derive(Debug)]
pub(crate) struct Minter {
    upstream: Box<dyn Upstream>,
    places: Semaphore,
    bound: RateLimiter,
    quota: Quota,
    times: Times,
    clock: Arc<dyn WallClock>,
    tally: Arc<Tally>,
}

impl Minter {
    /// At most `most` mints in any hour.
    pub(crate) fn new(
        upstream: Box<dyn Upstream>,
        most: u64,
        times: Times,
        clock: Arc<dyn WallClock>,
        tally: Arc<Tally>,
    ) -> Self {
        Self {
            upstream,
            places: Semaphore::new(AT_ONCE),
            bound: RateLimiter::new(Arc::new(MemoryCache::default()), RateLimiterConfig::default()),
            quota: Quota::fixed(most, times.hour()),
            times,
            clock,
            tally,
        }
    }

    /// A new token that callers may have. The caller bounds the wait.
    pub(crate) async fn mint(&self, order: &Order) -> Result<Minted, MintError> {
        let failed = |detail: String| MintError::Failed { detail };
        let _place = self
            .places
            .acquire()
            .await
            .map_err(|error| failed(error.to_string()))?;
        let decision = self.bound.check(SUBJECT, &self.quota).await;
        let decision = decision.map_err(|error| failed(error.to_string()))?;
        if !decision.allowed {
            let retry_after = decision.retry_after.unwrap_or(decision.reset_after);
            return Err(MintError::Bounded { retry_after });
        }
        let minted = self.upstream.mint(order).await;
        self.tally.upstream_answered(minted.as_ref());
        let minted = minted?;
        let valid_for = minted.valid_for(self.clock.since_epoch());
        if valid_for <= self.times.margin() {
            return Err(MintError::TooShort { valid_for });
        }
        tracing::debug!(app = order.app, profile = order.profile, token = ?minted.token, "minted");
        Ok(minted)
    }
}
