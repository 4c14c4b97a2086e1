//! Decides which requests are retried and when, and keeps the deadline of a call.
//!
//! The SDK's own retries are off: it would repeat a conditional write or an increment after a lost reply, and
//! so apply it twice.

use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Stage};
use rand::Rng as _;

/// What a request does, which decides whether it may be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Read,
    /// Running it twice has the same effect.
    Write,
    /// Running it twice has another effect: an increment, a conditional write.
    WriteOnce,
}

/// The instant by which a call must end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    pub(super) after: Duration,
}

impl Deadline {
    pub(super) fn after(after: Duration) -> Self {
        Self {
            at: clock::now() + after,
            after,
        }
    }

    /// This deadline, or the earlier one that a layer above has set.
    pub(super) fn or_caller_deadline(self) -> Self {
        match cache_core::deadline::current() {
            Some(wanted) if wanted < self.at => Self {
                at: wanted,
                after: wanted.saturating_duration_since(clock::now()),
            },
            _ => self,
        }
    }

    pub(super) const fn at(&self) -> Instant {
        self.at
    }

    pub(super) fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(clock::now())
    }

    /// The error of a call that missed this deadline.
    pub(super) const fn passed(&self) -> CacheError {
        CacheError::Timeout {
            stage: Stage::Call,
            after: self.after,
        }
    }
}

/// The attempts of one request so far.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    repeated: u32,
    /// Whether an attempt may have been applied although it has no result.
    may_be_done: bool,
}

impl Attempts {
    /// How long this attempt may take. The first attempt of a repeatable request leaves time for a second
    /// one, because the connection may hang.
    pub(super) fn limit(&self, effect: Effect, deadline: &Deadline) -> Duration {
        let remaining = deadline.remaining();
        if effect == Effect::WriteOnce || self.repeated > 0 {
            remaining
        } else {
            remaining / 2
        }
    }

    /// Returns how long to wait before the next attempt after `error`, or the error that ends the call.
    pub(super) fn next(
        &mut self,
        effect: Effect,
        error: CacheError,
        max_retries: u32,
        deadline: &Deadline,
    ) -> Result<Duration, CacheError> {
        let may_repeat =
            error.is_transient() && (effect != Effect::WriteOnce || error.outcome() == Outcome::NotApplied);
        self.may_be_done |= effect != Effect::Read && error.outcome() == Outcome::Unknown;
        let delay = delay(self.repeated);
        if !may_repeat || self.repeated >= max_retries || delay >= deadline.remaining() {
            return Err(if self.may_be_done {
                error.with_unknown_outcome()
            } else {
                error
            });
        }
        self.repeated += 1;
        Ok(delay)
    }
}

/// The delay before the next attempt: 25 ms at first, doubled each time up to a second, half of it random, so
/// that clients that were throttled together do not return together.
pub(super) fn delay(repeated: u32) -> Duration {
    const BASE: Duration = Duration::from_millis(25);
    const CAP: Duration = Duration::from_secs(1);
    let step = BASE.saturating_mul(1 << repeated.min(16)).min(CAP);
    step / 2 + (step / 2).mul_f64(rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use cache_core::Unavailability;

    use super::*;

    fn unavailable(outcome: Outcome) -> CacheError {
        CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: "x".into(),
            outcome,
            source: None,
        }
    }

    fn late() -> CacheError {
        CacheError::Timeout {
            stage: Stage::Reply,
            after: Duration::from_secs(1),
        }
    }

    fn is_repeated(effect: Effect, error: CacheError) -> bool {
        let deadline = Deadline::after(Duration::from_secs(10));
        Attempts::default().next(effect, error, 3, &deadline).is_ok()
    }

    #[tokio::test]
    async fn non_idempotent_call_retries_only_if_not_applied() {
        for error in [unavailable(Outcome::Unknown), late()] {
            assert!(!is_repeated(Effect::WriteOnce, error.clone()));
            assert!(is_repeated(Effect::Write, error.clone()));
            assert!(is_repeated(Effect::Read, error));
        }
        assert!(is_repeated(Effect::WriteOnce, unavailable(Outcome::NotApplied)));
        assert!(!is_repeated(Effect::Read, CacheError::Closed));
    }

    #[tokio::test]
    async fn unknown_outcome_survives_a_refused_retry() {
        let deadline = Deadline::after(Duration::from_secs(10));
        let mut attempts = Attempts::default();
        assert!(
            attempts
                .next(Effect::Write, unavailable(Outcome::Unknown), 1, &deadline)
                .is_ok()
        );
        let error = attempts
            .next(Effect::Write, unavailable(Outcome::NotApplied), 1, &deadline)
            .unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
    }

    #[tokio::test]
    async fn retries_end_by_count_and_by_deadline() {
        let deadline = Deadline::after(Duration::from_secs(60));
        let mut attempts = Attempts::default();
        for _ in 0..3 {
            assert!(attempts.next(Effect::Read, late(), 3, &deadline).is_ok());
        }
        assert!(attempts.next(Effect::Read, late(), 3, &deadline).is_err());
        let over = Deadline::after(Duration::ZERO);
        assert!(Attempts::default().next(Effect::Read, late(), 3, &over).is_err());
    }

    #[test]
    fn backoff_grows_up_to_a_second() {
        for repeated in 0..40 {
            let delay = delay(repeated);
            assert!(delay >= Duration::from_millis(12) && delay <= Duration::from_secs(1));
        }
        assert!(delay(20) >= Duration::from_millis(500));
    }
}
