//! Logs failures that are bypassed and that the breaker does not report: the breaker is off, or too few calls fail
//! for it to open.
//!
//! One line per window, never one per call.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cache_core::CacheError;
use cache_core::clock::Instant;

/// Failures that were bypassed and are not in the log yet.
#[derive(Debug)]
pub(super) struct Bypassed {
    every: Duration,
    /// Whether the first failure after a quiet time is logged at once. Otherwise the breaker gets its chance first.
    at_once: bool,
    unsaid: Mutex<Unsaid>,
}

#[derive(Debug, Default)]
struct Unsaid {
    since: Option<Instant>,
    failures: u64,
}

impl Bypassed {
    pub(super) fn new(every: Duration, at_once: bool) -> Self {
        Self {
            every,
            at_once,
            unsaid: Mutex::default(),
        }
    }

    /// Records a bypassed failure. `at_once` if the breaker has no part in it.
    pub(super) fn note(&self, error: &CacheError, now: Instant, at_once: bool) {
        let mut unsaid = self.unsaid.lock().unwrap_or_else(PoisonError::into_inner);
        unsaid.failures += 1;
        let is_due = match unsaid.since {
            None => self.at_once || at_once,
            Some(since) => now.saturating_duration_since(since) >= self.every,
        };
        if is_due || unsaid.since.is_none() {
            unsaid.since = Some(now);
        }
        let failures = unsaid.failures;
        if is_due {
            unsaid.failures = 0;
        }
        drop(unsaid);
        if is_due {
            tracing::warn!(failures, %error, "the cache fails some calls, which are bypassed");
        }
    }

    /// Records that the circuit opened. That log line covers all failures so far.
    pub(super) fn told(&self) {
        *self.unsaid.lock().unwrap_or_else(PoisonError::into_inner) = Unsaid::default();
    }
}
