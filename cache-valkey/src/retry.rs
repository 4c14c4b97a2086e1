//! Which failed command may be sent again.

use cache_core::{CacheError, Outcome, Unavailability};

use crate::command::Effect;

/// Whether a command that failed with `error` may be sent again.
///
/// Only what may have passed by the next try: a connection that was lost under it, a server that is not
/// ready. A server that is known to be down is no reason to wait, and a passed deadline leaves no time.
/// What must not be done twice is sent again only where it certainly was not done.
pub(crate) fn may_repeat(effect: Effect, error: &CacheError) -> bool {
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
    use std::time::Duration;

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
