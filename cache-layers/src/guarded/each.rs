//! Calls with one result per key: one call for the circuit, one answer per key for `Fail` or `Bypass`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cache_core::CacheError;
use cache_core::clock;
use cache_core::deadline::wanted_by;

use super::deadline::Deadline;
use super::events::{BreakerState, Count};
use super::running::{Running, is_failure};
use super::{Guarded, OnFailure, Stop, deadline, is_bypassed};

/// How much earlier than the guard's deadline the results are wanted, at most.
const WAY_BACK: Duration = Duration::from_millis(25);

impl Guarded {
    /// Makes a call with `keys`, of which some may have failed their `checks`, if the circuit lets it through.
    /// `instead` is the answer of a key whose failure is bypassed.
    pub(super) async fn each<T, Call>(
        &self,
        keys: &[&str],
        checks: impl Iterator<Item = Result<(), CacheError>> + Clone + Send,
        make: impl FnOnce() -> Call + Send,
        instead: impl Fn() -> Result<T, CacheError> + Send,
    ) -> Vec<Result<T, CacheError>>
    where
        T: Send,
        Call: Future<Output = Vec<Result<T, CacheError>>> + Send,
    {
        let reaches = checks.clone().any(|check| check.is_ok());
        if !reaches || self.closed.load(Ordering::Acquire) {
            return make().await;
        }
        let all = |error: &CacheError| {
            checks
                .clone()
                .map(|check| Err(check.err().unwrap_or_else(|| error.clone())))
                .collect()
        };
        let gate = self.at(keys);
        let started = clock::now();
        let deadline = self.config.deadline.map(|whole| Deadline::of(whole, started));
        let admitted = match deadline.filter(Deadline::is_over) {
            Some(deadline) => Err(Stop::Failed(deadline.used_up())),
            None => gate.admit(started),
        };
        let (mut results, shed): (Vec<Result<T, CacheError>>, bool) = match admitted {
            Err(stop) => (all(&stop.into_error()), true),
            Ok(ticket) => {
                let running = Running {
                    guard: self,
                    breaker: gate.breaker,
                    ticket,
                    started,
                    deadline,
                    ended: false,
                };
                let call = async { Ok(in_time(deadline, make()).await) };
                let results = match deadline::within(deadline, call).await {
                    Ok(results) => results,
                    Err(error) => all(&error),
                };
                running.end_each(&results);
                (results, false)
            }
        };
        if self.config.on_failure == OnFailure::Bypass {
            self.bypass_each(&mut results, shed, instead);
        }
        results
    }

    /// Replaces failures by the answers of an empty cache.
    fn bypass_each<T>(
        &self,
        results: &mut [Result<T, CacheError>],
        shed: bool,
        instead: impl Fn() -> Result<T, CacheError>,
    ) {
        let mut first = None;
        for result in results {
            if result.as_ref().is_err_and(is_bypassed) {
                let failure = std::mem::replace(result, instead());
                first = first.or(failure.err());
            }
        }
        if let Some(error) = first {
            self.counters.add(Count::bypassed);
            if !shed && self.state() == BreakerState::Closed {
                self.bypassed.note(&error, clock::now(), !is_failure(&error));
            }
        }
    }
}

/// Runs `call`, and tells the client below when it has to answer with what it has. That is a little before the
/// guard's deadline, because the results need time on their way back. Once the guard's own timer has run out, none of
/// them counts.
async fn in_time<F: Future>(deadline: Option<Deadline>, call: F) -> F::Output {
    match deadline {
        Some(deadline) => {
            let way_back = (deadline.left() / 10).min(WAY_BACK);
            wanted_by(deadline.at - way_back, call).await
        }
        None => call.await,
    }
}
