//! How long calls have been bad without a good one between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::clock::Instant;

use crate::guarded::window::nanos;

/// The bad and slow calls since the last good one.
#[derive(Debug)]
pub(super) struct Run {
    origin: Instant,
    calls: AtomicU64,
    /// When the first of them to end had begun, in nanoseconds since `origin`.
    since: AtomicU64,
}

impl Run {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            calls: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// Adds one bad or slow call. Returns how many there are now, and for how long.
    pub(super) fn add(&self, begun: Instant, now: Instant) -> (u64, Duration) {
        let calls = self.calls.fetch_add(1, Ordering::AcqRel) + 1;
        let since = if calls == 1 {
            let begun = nanos(begun.saturating_duration_since(self.origin));
            self.since.store(begun, Ordering::Release);
            begun
        } else {
            self.since.load(Ordering::Acquire)
        };
        let since = self.origin + Duration::from_nanos(since);
        (calls, now.saturating_duration_since(since))
    }

    /// Records a good call.
    #[inline]
    pub(super) fn end(&self) {
        // Read first, so that good calls in a row never write.
        if self.calls.load(Ordering::Relaxed) != 0 {
            self.calls.store(0, Ordering::Release);
        }
    }
}
