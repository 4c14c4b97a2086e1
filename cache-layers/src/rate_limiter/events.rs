//! What a limiter reports: events for a listener, and counters.
//!
//! Not in here: metrics. They are made by a listener.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::CacheError;

/// The decision of a [`RateLimiter`](super::RateLimiter) about a call. No event names a subject.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RateLimiterEvent {
    /// The call was counted and allowed.
    Allowed,
    /// The call was denied: the limit is used up.
    Denied {
        /// Whether an earlier denial decided, without a round trip.
        from_memory: bool,
    },
    /// The call could not be counted because the cache failed. [`OnError`](super::OnError) decided.
    Uncounted {
        /// The error of the cache.
        error: CacheError,
    },
}

/// Counters of decisions since the limiter was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimiterStats {
    /// Calls that were counted and allowed.
    pub allowed: u64,
    /// Calls that were denied because the limit was used up.
    pub denied: u64,
    /// The part of [`denied`](Self::denied) that cost no round trip.
    pub denied_near: u64,
    /// Calls that [`OnError`](super::OnError) decided because the cache failed.
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
