//! What a limiter counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often what happened, since the limiter was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimiterStats {
    /// Calls that were counted and allowed.
    pub allowed: u64,
    /// Calls that were denied since the limit was used up.
    pub denied: u64,
    /// Those of [`denied`](Self::denied) that cost no round trip.
    pub denied_near: u64,
    /// Calls that [`OnError`](super::OnError) decided, since the cache failed.
    pub uncounted: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) allowed: AtomicU64,
    pub(super) denied: AtomicU64,
    pub(super) denied_near: AtomicU64,
    pub(super) uncounted: AtomicU64,
}

impl Counters {
    pub(super) fn snapshot(&self) -> RateLimiterStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RateLimiterStats {
            allowed: read(&self.allowed),
            denied: read(&self.denied),
            denied_near: read(&self.denied_near),
            uncounted: read(&self.uncounted),
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
