//! Decides which failed commands are sent again outside of a cluster.

use std::time::Duration;

use cache_core::{CacheError, Outcome, Unavailability};

use crate::backoff::Backoff;
use crate::command::Effect;

/// The attempts of one call so far.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    repeated: u32,
    /// Whether the call was resent after a dead connection, which does not count as a retry.
    is_resent: bool,
    /// Whether an attempt may have been applied although it has no result.
    may_be_done: bool,
}

impl Attempts {
    /// Returns how long to wait before the next attempt after one that failed with `error`, or the error that
    /// ends the call. With a choice, another node may answer if this one is down.
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
        // An idle connection may have died, and a call is the first to notice.
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

    /// The final error of the call: its outcome is unknown if an earlier attempt may have been applied.
    pub(crate) fn end(&self, error: CacheError) -> CacheError {
        if self.may_be_done {
            error.with_unknown_outcome()
        } else {
            error
        }
    }

    /// Whether the call was retried. A read that prefers replicas then goes to the primary.
    pub(crate) const fn was_repeated(&self) -> bool {
        self.repeated > 0 || self.is_resent
    }
}

/// Whether a command that failed with `error` may be sent again.
///
/// Only temporary failures are retried: a lost connection or a server that is not ready. A server that is
/// known to be down fails at once, and a missed deadline leaves no time. A command that must not run twice is
/// sent again only if it certainly was not applied.
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
    fn write_once_is_not_repeated_while_outcome_is_unknown() {
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
    fn dead_connection_is_retried_once_even_without_retries() {
        let second = Duration::from_secs(1);
        let lost = || unavailable(Unavailability::Lost, Outcome::Unknown);
        for effect in [Effect::Read, Effect::Write] {
            let mut tries = Attempts::default();
            assert_eq!(
                tries.next(effect, false, lost(), 0, second).unwrap(),
                Duration::ZERO
            );
            assert!(tries.was_repeated());
            assert!(tries.next(effect, false, lost(), 0, second).is_err());
        }
        let once = Attempts::default().next(Effect::WriteOnce, false, lost(), 0, second);
        assert!(once.is_err());
    }

    #[test]
    fn node_that_is_down_is_retried_elsewhere() {
        let second = Duration::from_secs(1);
        let down = || unavailable(Unavailability::Connect, Outcome::NotApplied);
        assert!(
            Attempts::default()
                .next(Effect::Read, false, down(), 3, second)
                .is_err()
        );
        let mut tries = Attempts::default();
        assert!(tries.next(Effect::Read, true, down(), 3, second).is_ok());
        assert!(tries.was_repeated());
    }

    #[test]
    fn unknown_outcome_survives_an_unsent_retry() {
        let second = Duration::from_secs(1);
        let mut tries = Attempts::default();
        let lost = unavailable(Unavailability::Lost, Outcome::Unknown);
        assert!(tries.next(Effect::Write, false, lost, 3, second).is_ok());
        let down = || unavailable(Unavailability::Connect, Outcome::NotApplied);
        assert_eq!(tries.end(down()).outcome(), Outcome::Unknown);
        let error = tries.next(Effect::Write, false, down(), 3, second).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!(Attempts::default().end(down()).outcome(), Outcome::NotApplied);
    }

    #[test]
    fn attempts_are_limited_by_number_and_time() {
        let second = Duration::from_secs(1);
        let passing = || unavailable(Unavailability::NotReady, Outcome::NotApplied);
        let mut tries = Attempts::default();
        for _ in 0..3 {
            assert!(tries.next(Effect::Read, false, passing(), 3, second).is_ok());
        }
        assert!(tries.next(Effect::Read, false, passing(), 3, second).is_err());
        assert!(
            Attempts::default()
                .next(Effect::Read, false, passing(), 3, Duration::ZERO)
                .is_err()
        );
    }

    #[test]
    fn down_server_and_missed_deadline_end_the_call() {
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
