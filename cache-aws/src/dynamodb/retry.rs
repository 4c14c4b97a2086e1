//! Which request is sent again, and when; and the instant by which a call has ended.
//!
//! The SDK's own retries are off: it would repeat a conditional write or an increment after a lost reply, and so carry
//! it out twice.

use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Stage};
use rand::Rng as _;

/// What a request does, as far as sending it again is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Read,
    /// The same when it is done twice.
    Write,
    /// Something else when it is done twice: an increment, a conditional write.
    WriteOnce,
}

/// The instant by which a call has ended.
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

    /// This one, or an earlier one by which a layer above wants the results.
    pub(super) fn or_wanted(self) -> Self {
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

    /// The error of a call that it ended.
    pub(super) const fn passed(&self) -> CacheError {
        CacheError::Timeout {
            stage: Stage::Call,
            after: self.after,
        }
    }
}

/// The tries of one request, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Tries {
    repeated: u32,
    /// Whether one of them may have been carried out although it has no result.
    may_be_done: bool,
}

impl Tries {
    /// How long this try may take. The first try of what may be repeated leaves time for a second one: the
    /// connection may hang.
    pub(super) fn limit(&self, effect: Effect, deadline: &Deadline) -> Duration {
        let remaining = deadline.remaining();
        if effect == Effect::WriteOnce || self.repeated > 0 {
            remaining
        } else {
            remaining / 2
        }
    }

    /// How long to wait before the next try after one that failed with `error`; or the error that ends the call.
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

/// How long to wait before another try: 25 ms at first, doubled each time up to a second, half of it drawn, so that
/// clients that were throttled together do not come back together.
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
        Tries::default().next(effect, error, 3, &deadline).is_ok()
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
        let mut tries = Tries::default();
        assert!(
            tries
                .next(Effect::Write, unavailable(Outcome::Unknown), 1, &deadline)
                .is_ok()
        );
        let error = tries
            .next(Effect::Write, unavailable(Outcome::NotApplied), 1, &deadline)
            .unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
    }

    #[tokio::test]
    async fn retries_end_by_count_and_by_deadline() {
        let deadline = Deadline::after(Duration::from_secs(60));
        let mut tries = Tries::default();
        for _ in 0..3 {
            assert!(tries.next(Effect::Read, late(), 3, &deadline).is_ok());
        }
        assert!(tries.next(Effect::Read, late(), 3, &deadline).is_err());
        let over = Deadline::after(Duration::ZERO);
        assert!(Tries::default().next(Effect::Read, late(), 3, &over).is_err());
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
