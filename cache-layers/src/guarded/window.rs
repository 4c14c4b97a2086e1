//! Counts recent calls and failures in a sliding window of ten steps.
//!
//! Not in here: what the counts mean. The breaker decides that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cache_core::clock::Instant;

use crate::metrics::Tally;

const STEPS: u64 = 10;
const BUCKETS: usize = 10;

/// Counts of the last `span`, forgotten a tenth at a time. Counting costs a few atomic additions. A lock is taken
/// once per step, by the first call that falls into it.
///
/// If one thread counts a call at the very moment in which another thread begins a new step, the call may be counted
/// in that step, or not at all.
#[derive(Debug)]
pub(super) struct Window {
    origin: Instant,
    /// Nanoseconds.
    step: u64,
    buckets: [Bucket; BUCKETS],
    /// The calls of each bucket. Every call counts here, so each thread has its own shard.
    calls: Tally<BUCKETS>,
    turning: Mutex<()>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// The step that the counts belong to. 0 means none.
    step: AtomicU64,
    failures: AtomicU64,
    slow: AtomicU64,
}

/// The counts of a [`Window`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) slow: u64,
}

impl Totals {
    /// Returns what was counted after `before`.
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            failures: self.failures.saturating_sub(before.failures),
            slow: self.slow.saturating_sub(before.slow),
        }
    }
}

impl Window {
    pub(super) fn new(span: Duration, origin: Instant) -> Self {
        Self {
            origin,
            step: (nanos(span) / STEPS).max(1),
            buckets: Default::default(),
            calls: Tally::default(),
            turning: Mutex::default(),
        }
    }

    #[inline]
    pub(super) fn count(&self, now: Instant, failed: bool, slow: bool) {
        let step = self.step_of(now);
        let place = place(step);
        let bucket = &self.buckets[place];
        if bucket.step.load(Ordering::Acquire) != step && !self.begin(place, step) {
            return;
        }
        self.calls.add(place, 1);
        if failed {
            bucket.failures.fetch_add(1, Ordering::Relaxed);
        }
        if slow {
            bucket.slow.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn totals(&self, now: Instant) -> Totals {
        let newest = self.step_of(now);
        let mut totals = Totals::default();
        for (place, bucket) in self.buckets.iter().enumerate() {
            let step = bucket.step.load(Ordering::Acquire);
            if step + STEPS > newest {
                totals.calls += self.calls.sum(place);
                totals.failures += bucket.failures.load(Ordering::Relaxed);
                totals.slow += bucket.slow.load(Ordering::Relaxed);
            }
        }
        totals
    }

    /// Forgets all counts.
    pub(super) fn clear(&self) {
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, bucket) in self.buckets.iter().enumerate() {
            self.calls.clear(place);
            bucket.clear();
            bucket.step.store(0, Ordering::Release);
        }
    }

    /// Assigns `bucket` to `step`. Returns whether that succeeded. It does not if a later step has the bucket
    /// already.
    #[cold]
    fn begin(&self, place: usize, step: u64) -> bool {
        let bucket = &self.buckets[place];
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let held = bucket.step.load(Ordering::Relaxed);
        if held < step {
            self.calls.clear(place);
            bucket.clear();
            bucket.step.store(step, Ordering::Release);
        }
        held <= step
    }

    /// The number of the step that `now` is in. Numbers start at `STEPS`, so that 0 is never recent.
    #[inline]
    fn step_of(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.origin)) / self.step + STEPS
    }
}

/// The bucket of a step.
#[inline]
fn place(step: u64) -> usize {
    usize::try_from(step % STEPS).unwrap_or_default() % BUCKETS
}

impl Bucket {
    fn clear(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.slow.store(0, Ordering::Relaxed);
    }
}

/// Whole nanoseconds, in 64 bits: enough for 584 years.
#[inline]
pub(super) fn nanos(span: Duration) -> u64 {
    span.as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(span.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use cache_core::clock;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten_a_step_at_a_time() {
        let origin = clock::now();
        let window = Window::new(ms(1_000), origin);
        window.count(origin, true, false);
        window.count(origin + ms(150), false, true);
        let all = Totals {
            calls: 2,
            failures: 1,
            slow: 1,
        };
        assert_eq!(window.totals(origin + ms(999)), all);
        let later = Totals {
            calls: 1,
            failures: 0,
            slow: 1,
        };
        assert_eq!(window.totals(origin + ms(1_000)), later);
        assert_eq!(window.totals(origin + ms(1_099)), later);
        assert_eq!(window.totals(origin + ms(1_100)), Totals::default());
    }

    #[test]
    fn a_step_that_comes_round_again_starts_from_nothing() {
        let origin = clock::now();
        let window = Window::new(ms(1_000), origin);
        window.count(origin, true, true);
        window.count(origin + ms(1_000), false, false);
        let one = Totals {
            calls: 1,
            failures: 0,
            slow: 0,
        };
        assert_eq!(window.totals(origin + ms(1_000)), one);
        // A call with a time in an earlier step does not change the new step.
        window.count(origin, true, true);
        assert_eq!(window.totals(origin + ms(1_000)), one);
        window.clear();
        assert_eq!(window.totals(origin + ms(1_000)), Totals::default());
    }

    #[test]
    fn calls_of_many_threads_are_all_counted() {
        let origin = clock::now();
        let window = Window::new(ms(1_000), origin);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for call in 0..10_000 {
                        window.count(origin, call % 2 == 0, call % 4 == 0);
                    }
                });
            }
        });
        let totals = window.totals(origin);
        assert_eq!(
            (totals.calls, totals.failures, totals.slow),
            (80_000, 40_000, 20_000)
        );
    }
}
