//! Which failed command may be sent again.

use std::time::Duration;

use cache_core::{CacheError, Outcome, Unavailability};

use crate::backoff::Backoff;
use crate::command::Effect;

/// The tries of one call, and what is known of them.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    repeated: u32,
    /// Whether the call was repeated because its connection turned out dead, which does not count as a retry.
    is_resent: bool,
    /// Whether one of them may have been carried out although it has no result.
    may_be_done: bool,
}

impl Tries {
    /// How long to wait before the next try after one that failed with `error`; or the error that ends
    /// the call. Where there is a choice, another node may answer what one that is down cannot.
    pub(crate) fn next(
        &mut self,
        effect: Effect,
        has_choice: bool,
        error: CacheError,
        max_retries: u32,
        time_left: Duration,
    ) -> Result<Duration, CacheError> {
        let unreachable = matches!(
            error,
            CacheError::Unavailable {
                reason: Unavailability::Connect | Unavailability::Resolve,
                ..
            }
        );
        let is_lost = matches!(
            error,
            CacheError::Unavailable {
                reason: Unavailability::Lost,
                ..
            }
        );
        let error = self.end(error);
        self.may_be_done |= error.outcome() == Outcome::Unknown;
        let may_repeat = may_repeat(effect, &error) || (has_choice && unreachable);
        // A connection may have died while nobody used it, and a call is the first to notice.
        if may_repeat && is_lost && !self.is_resent && !time_left.is_zero() {
            self.is_resent = true;
            return Ok(Duration::ZERO);
        }
        let delay = Backoff::CALL.delay(self.repeated);
        if self.repeated >= max_retries || !may_repeat || delay >= time_left {
            return Err(error);
        }
        self.repeated += 1;
        Ok(delay)
    }

    /// What `error` is as the end of the call: an earlier try that may have been carried out is not
    /// undone by a later one that was not.
    pub(crate) fn end(&self, error: CacheError) -> CacheError {
        if self.may_be_done {
            error.with_unknown_outcome()
        } else {
            error
        }
    }

    /// Whether a try was repeated, which is when a read that prefers replicas turns to the primary.
    pub(crate) const fn was_repeated(&self) -> bool {
        self.repeated > 0 || self.is_resent
    }
}

/// Whether a command that failed with `error` may be sent again.
///
/// Only what may have passed by the next try: a connection that was lost under it, a server that is not
/// ready. A server that is known to be down is no reason to wait, and a passed deadline leaves no time.
/// What must not be done twice is sent again only where it certainly was not done.
fn may_repeat(effect: Effect, error: &CacheError) -> bool {
    let passing = matches!(
        error,
        CacheError::Unavailable {
            reason: Unavailability::Lost | Unavailability::NotReady,
            ..
        }
    );
    passing && (effect != Effect::WriteOnce || error.outcome() == Outcome::NotApplied)
}

#[cfg(test)]
mod tests {
    use cache_core::Stage;

    use super::*;

    fn unavailable(reason: Unavailability, outcome: Outcome) -> CacheError {
        CacheError::Unavailable {
            reason,
            detail: "x".into(),
            outcome,
            source: None,
        }
    }

    #[test]
    fn what_must_not_be_done_twice_is_not_repeated_while_the_outcome_is_unknown() {
        let unknown = unavailable(Unavailability::Lost, Outcome::Unknown);
        assert!(!may_repeat(Effect::WriteOnce, &unknown));
        assert!(may_repeat(Effect::Write, &unknown));
        assert!(may_repeat(Effect::Read, &unknown));
        assert!(may_repeat(
            Effect::WriteOnce,
            &unavailable(Unavailability::NotReady, Outcome::NotApplied)
        ));
    }

    #[test]
    fn a_call_whose_connection_turned_out_dead_is_repeated_once_even_without_retries() {
        let second = Duration::from_secs(1);
        let lost = || unavailable(Unavailability::Lost, Outcome::Unknown);
        for effect in [Effect::Read, Effect::Write] {
            let mut tries = Tries::default();
            assert_eq!(
                tries.next(effect, false, lost(), 0, second).unwrap(),
                Duration::ZERO
            );
            assert!(tries.was_repeated());
            assert!(tries.next(effect, false, lost(), 0, second).is_err());
        }
        let once = Tries::default().next(Effect::WriteOnce, false, lost(), 0, second);
        assert!(once.is_err());
    }

    #[test]
    fn a_node_that_is_down_is_a_reason_to_ask_another_one() {
        let second = Duration::from_secs(1);
        let down = || unavailable(Unavailability::Connect, Outcome::NotApplied);
        assert!(
            Tries::default()
                .next(Effect::Read, false, down(), 3, second)
                .is_err()
        );
        let mut tries = Tries::default();
        assert!(tries.next(Effect::Read, true, down(), 3, second).is_ok());
        assert!(tries.was_repeated());
    }

    #[test]
    fn what_may_have_been_done_stays_open_although_the_next_try_was_not_even_sent() {
        let second = Duration::from_secs(1);
        let mut tries = Tries::default();
        let lost = unavailable(Unavailability::Lost, Outcome::Unknown);
        assert!(tries.next(Effect::Write, false, lost, 3, second).is_ok());
        let down = || unavailable(Unavailability::Connect, Outcome::NotApplied);
        assert_eq!(tries.end(down()).outcome(), Outcome::Unknown);
        let error = tries.next(Effect::Write, false, down(), 3, second).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!(Tries::default().end(down()).outcome(), Outcome::NotApplied);
    }

    #[test]
    fn tries_end_with_their_number_and_with_the_time() {
        let second = Duration::from_secs(1);
        let passing = || unavailable(Unavailability::NotReady, Outcome::NotApplied);
        let mut tries = Tries::default();
        for _ in 0..3 {
            assert!(tries.next(Effect::Read, false, passing(), 3, second).is_ok());
        }
        assert!(tries.next(Effect::Read, false, passing(), 3, second).is_err());
        assert!(
            Tries::default()
                .next(Effect::Read, false, passing(), 3, Duration::ZERO)
                .is_err()
        );
    }

    #[test]
    fn a_server_that_is_down_and_a_passed_deadline_end_the_call() {
        for reason in [
            Unavailability::Connect,
            Unavailability::Resolve,
            Unavailability::Tls,
        ] {
            assert!(!may_repeat(
                Effect::Read,
                &unavailable(reason, Outcome::NotApplied)
            ));
        }
        let late = CacheError::Timeout {
            stage: Stage::Reply,
            after: Duration::from_secs(1),
        };
        assert!(!may_repeat(Effect::Read, &late));
    }
}
