//! What a limiter reports about itself: events for who listens, counters for who asks.
//!
//! Not in here: metrics. Whoever makes them listens.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::CacheError;

/// What a [`RateLimiter`](super::RateLimiter) decided about a call. No event names a subject.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RateLimiterEvent {
    /// It was counted and allowed.
    Allowed,
    /// It was denied: the limit is used up.
    Denied {
        /// Whether by what a call before it had found, without a round trip.
        from_memory: bool,
    },
    /// It could not be counted, because the cache failed; [`OnError`](super::OnError) decided.
    Uncounted {
        /// What the cache answered.
        error: CacheError,
    },
}

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
    allowed: AtomicU64,
    denied: AtomicU64,
    denied_near: AtomicU64,
    uncounted: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, event: &RateLimiterEvent) {
        let add = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match event {
            RateLimiterEvent::Allowed => add(&self.allowed),
            RateLimiterEvent::Denied { from_memory } => {
                add(&self.denied);
                if *from_memory {
                    add(&self.denied_near);
                }
            }
            RateLimiterEvent::Uncounted { .. } => add(&self.uncounted),
        }
    }

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
