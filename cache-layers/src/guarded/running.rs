//! A call that was let through, and what its end, or its being dropped, says about the backend.

use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Stage};

use super::Guarded;
use super::breaker::{Breaker, Ticket, Verdict};
use super::deadline::Deadline;
use super::events::Count;

/// A call that its caller dropped after this time counts as slow. Most likely a deadline above the guard ended it.
const GAVE_UP: Duration = Duration::from_millis(100);

/// Whether an error says that the backend is not available.
pub(super) const fn is_failure(error: &CacheError) -> bool {
    matches!(error, CacheError::Unavailable { .. } | CacheError::Timeout { .. })
}

/// What one result says about the backend.
const fn verdict<T>(result: &Result<T, CacheError>) -> Verdict<'_> {
    match result {
        Err(error) if is_failure(error) => Verdict::Bad(error),
        Err(
            CacheError::InvalidInput { .. }
            | CacheError::Closed
            | CacheError::Unsupported { .. }
            | CacheError::Config(_),
        ) => Verdict::Void,
        _ => Verdict::Good,
    }
}

/// A call that was let through and has not ended. Dropping this means that the caller dropped the call.
pub(super) struct Running<'g> {
    pub(super) guard: &'g Guarded,
    pub(super) breaker: Option<&'g Breaker>,
    pub(super) ticket: Option<Ticket>,
    pub(super) started: Instant,
    pub(super) deadline: Option<Deadline>,
    pub(super) ended: bool,
}

impl Running<'_> {
    pub(super) fn end<T>(self, result: &Result<T, CacheError>) {
        if self.deadline.is_some_and(|deadline| deadline.cut_short(result)) {
            // Counted as if its caller had dropped it.
            return drop(self);
        }
        self.end_with(verdict(result));
    }

    /// As [`end`](Self::end), for a call with one result per key.
    pub(super) fn end_each<T>(self, results: &[Result<T, CacheError>]) {
        let cut_short = |deadline: Deadline| results.iter().all(|result| deadline.cut_short(result));
        if self.deadline.is_some_and(cut_short) {
            return drop(self);
        }
        let mut worst = Verdict::Void;
        let mut answered = false;
        for result in results {
            match verdict(result) {
                Verdict::Bad(error) if !matches!(worst, Verdict::Bad(_)) => worst = Verdict::Bad(error),
                Verdict::Good => answered = true,
                _ => {}
            }
        }
        self.end_with(match worst {
            Verdict::Bad(_) if answered => Verdict::Partial,
            Verdict::Bad(error) => Verdict::Bad(error),
            _ if answered => Verdict::Good,
            _ => Verdict::Void,
        });
    }

    fn end_with(mut self, verdict: Verdict<'_>) {
        self.ended = true;
        if let Verdict::Bad(error) = verdict {
            let counters = &self.guard.counters;
            counters.add(Count::failures);
            let by_deadline = |after: &Duration| self.guard.config.deadline == Some(*after);
            if matches!(error, CacheError::Timeout { stage: Stage::Call, after } if by_deadline(after)) {
                counters.add(Count::timeouts);
            }
        }
        let slow = self.guard.config.slow_call;
        // Reading the clock is the most expensive thing that the guard does for a good call. If it makes no
        // difference, such a call is counted at the time when it began.
        let now = match verdict {
            Verdict::Good | Verdict::Partial | Verdict::Void if slow.is_none() && !self.is_probe() => {
                self.started
            }
            _ => clock::now(),
        };
        self.report(verdict, now, slow);
    }

    /// `slow` is the time from which on the call counts as slow.
    #[inline]
    fn report(&self, verdict: Verdict<'_>, now: Instant, slow: Option<Duration>) {
        let guard = self.guard;
        let is_slow = slow.is_some_and(|slow| now.saturating_duration_since(self.started) >= slow);
        guard.counters.add(Count::calls);
        if is_slow {
            guard.counters.add(Count::slow);
        }
        if let (Some(breaker), Some(ticket)) = (self.breaker, self.ticket) {
            guard.tell(breaker.end(ticket, now, verdict, is_slow));
        }
    }

    fn is_probe(&self) -> bool {
        self.ticket.is_some_and(Ticket::is_probe)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let config = &self.guard.config;
            self.guard.counters.add(Count::dropped);
            let slow = if self.is_probe() {
                config.slow_call.unwrap_or(config.open_for)
            } else {
                config.slow_call.map_or(GAVE_UP, |slow| slow.min(GAVE_UP))
            };
            let slow = Some(slow);
            self.report(Verdict::Void, clock::now(), slow);
        }
    }
}
