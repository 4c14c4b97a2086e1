//! Calls with one result per key: observed as one call, with its number of keys and of failed keys.

use bytes::Bytes;
use cache_core::{CacheError, Lookup};
use tracing::Instrument as _;

use super::Observed;
use super::call::Call;
use crate::metrics::{Operation, Outcome};

/// How the keys of one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Keys with an answer other than a miss.
    pub(super) done: u64,
    pub(super) missed: u64,
    pub(super) failed: u64,
}

/// The answer of one key.
pub(super) trait Answer {
    /// Whether it says that the key does not exist.
    fn is_absence(&self) -> bool {
        false
    }
}

impl Answer for () {}
impl Answer for Bytes {}
impl Answer for Lookup {
    fn is_absence(&self) -> bool {
        matches!(self, Self::Absent(_))
    }
}

impl Ended {
    fn of<T: Answer>(results: &[Result<T, CacheError>]) -> Self {
        let mut ended = Self {
            done: 0,
            missed: 0,
            failed: 0,
        };
        for result in results {
            match result {
                Ok(answer) if answer.is_absence() => ended.missed += 1,
                Ok(_) => ended.done += 1,
                Err(CacheError::Miss) => ended.missed += 1,
                Err(_) => ended.failed += 1,
            }
        }
        ended
    }
}

impl Observed {
    /// Runs `call` and records how it ended. `answered` returns the outcome of the keys that did not fail.
    pub(super) async fn observe_each<T: Answer>(
        &self,
        operation: Operation,
        keys: usize,
        call: impl Future<Output = Vec<Result<T, CacheError>>> + Send,
        answered: impl FnOnce(&Ended) -> Outcome + Send,
    ) -> Vec<Result<T, CacheError>> {
        let observed = Call::begin(&self.calls, &self.sampler, operation, keys);
        let results = match observed.span() {
            Some(span) => call.instrument(span).await,
            None => call.await,
        };
        let ended = Ended::of(&results);
        let answered = answered(&ended);
        if ended.failed == 0 {
            observed.end(answered);
            return results;
        }
        self.calls.keys_failed(operation, ended.failed);
        let is_failure = |error: &&CacheError| !error.is_miss();
        let first = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .find(is_failure);
        let outcome = match first {
            Some(error) if ended.done + ended.missed == 0 => Outcome::of_error(error),
            _ => Outcome::PartialFailure,
        };
        observed.end_with_failed_keys(outcome, ended.failed);
        results
    }
}
