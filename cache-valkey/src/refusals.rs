//! Tracks which commands the servers refuse because the user may not run them.
//!
//! A cache that refuses calls is useless, but callers that load on any error hide that. So the first refusal
//! of a command, and its end, are logged once, and `ping` fails in between. Not in here: which replies are
//! refusals, see `error.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::CacheError;
use cache_core::clock::{self, Instant};
use parking_lot::Mutex;

/// How long a command that is refused for some keys only is not warned about again.
const QUIET: Duration = Duration::from_secs(60);

/// The commands that are refused now.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    by_command: Mutex<BTreeMap<String, Refusal>>,
    /// Whether any command is refused, readable without a lock.
    is_any: AtomicBool,
}

#[derive(Debug)]
struct Refusal {
    /// `None` once a later call of the command was accepted.
    error: Option<CacheError>,
    warned_at: Instant,
}

impl Refusals {
    /// Records the outcome of a call of `command`.
    pub(crate) fn note<T>(&self, command: &str, outcome: &Result<T, CacheError>) {
        match outcome {
            Err(error @ CacheError::Denied { .. }) if self.is_news(command, error, clock::now()) => {
                tracing::warn!(
                    command,
                    %error,
                    "the servers refuse calls of this client, which has no cache for them; grant its user the command \
                     and the keys (ACL SETUSER), cachectl doctor says what is missing"
                );
            }
            Ok(_) if self.is_any.load(Ordering::Relaxed) && self.has_ended(command) => {
                tracing::info!(command, "the servers accept the calls of this client again");
            }
            _ => {}
        }
    }

    /// Fails with the first current refusal, if there is one.
    pub(crate) fn check(&self) -> Result<(), CacheError> {
        if !self.is_any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let known = self.by_command.lock();
        known
            .values()
            .find_map(|refusal| refusal.error.clone())
            .map_or(Ok(()), Err)
    }

    /// Records a refusal. Returns whether it deserves a warning.
    fn is_news(&self, command: &str, error: &CacheError, now: Instant) -> bool {
        let mut known = self.by_command.lock();
        self.is_any.store(true, Ordering::Relaxed);
        let error = Some(error.clone());
        match known.get_mut(command) {
            None => {
                known.insert(
                    command.to_owned(),
                    Refusal {
                        error,
                        warned_at: now,
                    },
                );
                true
            }
            Some(refusal) => {
                let was_accepted = refusal.error.is_none();
                refusal.error = error;
                let is_news = was_accepted && now.saturating_duration_since(refusal.warned_at) >= QUIET;
                if is_news {
                    refusal.warned_at = now;
                }
                is_news
            }
        }
    }

    /// Ends the refusal of `command`. Returns whether there was one.
    fn has_ended(&self, command: &str) -> bool {
        let mut known = self.by_command.lock();
        let ended = known
            .get_mut(command)
            .is_some_and(|refusal| refusal.error.take().is_some());
        let is_any = known.values().any(|refusal| refusal.error.is_some());
        self.is_any.store(is_any, Ordering::Relaxed);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> CacheError {
        CacheError::Denied {
            command: "GET".into(),
            detail: "no".into(),
        }
    }

    #[test]
    fn each_change_of_a_command_is_logged_once() {
        let refusals = Refusals::default();
        let start = clock::now();
        assert!(refusals.check().is_ok());
        assert!(refusals.is_news("GET", &denied(), start));
        assert!(!refusals.is_news("GET", &denied(), start + QUIET));
        assert!(refusals.is_news("SET", &denied(), start));
        assert!(matches!(refusals.check(), Err(CacheError::Denied { .. })));
        assert!(refusals.has_ended("GET") && !refusals.has_ended("GET"));
        assert!(refusals.check().is_err(), "SET is still refused");
        assert!(refusals.has_ended("SET"));
        assert!(refusals.check().is_ok());
    }

    #[test]
    fn command_refused_for_some_keys_does_not_flood_the_log() {
        let refusals = Refusals::default();
        let start = clock::now();
        let second = Duration::from_secs(1);
        assert!(refusals.is_news("GET", &denied(), start));
        for _ in 0..10 {
            refusals.has_ended("GET");
            assert!(!refusals.is_news("GET", &denied(), start + second));
        }
        refusals.has_ended("GET");
        assert!(refusals.is_news("GET", &denied(), start + QUIET));
    }
}
