//! What a flight does, from the first look at the cache to the stored value, in a separate task.
//!
//! The order: far read, lease, far read again (`prepare.rs`), load (here), owner check, store in place of exactly
//! what was seen (`claim.rs`). Not in here: what the waiting callers do (`call.rs`).

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use cache_core::clock;
use futures::FutureExt as _;

use super::budget::Budget;
use super::claim::{Claim, Hold};
use super::clock::millis;
use super::config::Abandoned;
use super::core::{Core, Payload};
use super::error::ReadError;
use super::events::{LoadOutcome, ReadThroughEvent};
use super::flights::{Flight, Outcome, Purpose};
use super::found::Known;
use super::load_error::Concerns;
use super::loaded::{Answer, Freshness, Loaded};
use super::prepare::Preparation;
use super::source::Source;

/// A flight and what it needs.
pub(super) struct Journey<V: Payload> {
    pub(super) core: Arc<Core<V>>,
    pub(super) flight: Flight<V>,
    pub(super) source: Source<V>,
}

impl<V: Payload> Journey<V> {
    /// Loads a value that callers wait for.
    pub(super) async fn load(mut self, mut budget: Budget) {
        let preparation = Preparation {
            core: &self.core,
            flight: &self.flight,
        };
        if let Some(claim) = preparation.claim(&mut self.source, &mut budget).await {
            self.run(claim).await;
        }
    }

    /// Refreshes a value that was seen and is still fresh, unless another process does.
    pub(super) async fn refresh(self, seen: Known<V>) {
        let preparation = Preparation {
            core: &self.core,
            flight: &self.flight,
        };
        if let Some(claim) = preparation.claim_refresh(&seen).await {
            self.run(claim).await;
        }
    }

    /// Loads the value, tells the waiters, and stores it.
    async fn run(self, claim: Claim) {
        let Self { core, flight, source } = self;
        let refresh = flight.purpose == Purpose::Refresh;
        core.note(&ReadThroughEvent::LoadStarted { refresh });
        let begun = clock::now();
        let created_ms = millis(core.config.clock.since_epoch());
        let after = core.config.hard_timeout;
        let cancel = core.config.abandoned == Abandoned::Cancel && !refresh;
        let result = tokio::select! {
            biased;
            () = flight.abandoned(), if cancel => Err(ReadError::Aborted),
            result = source.load(&flight.key, flight.id) => result,
            () = tokio::time::sleep(after) => Err(ReadError::Timeout { after }),
            () = claim.keep(&core) => Err(ReadError::Aborted),
        };
        core.note(&ReadThroughEvent::LoadEnded {
            refresh,
            outcome: outcome(&result),
            took: clock::now() - begun,
        });
        match result {
            Ok(loaded) => {
                let answer = Answer::new(loaded.value.clone(), Freshness::Fresh, created_ms);
                let storing = claim.store(&core, &flight.key, &loaded, created_ms);
                // A panic in the codec costs callers nothing: they have their value.
                let mut storing = pin!(AssertUnwindSafe(storing).catch_unwind());
                // The request is sent before the callers here are woken. Callers of other processes wait for it, and
                // a crowd that is woken first would take the processor from it.
                let stored = futures::poll!(storing.as_mut());
                flight.decide(Outcome::Answer(Ok(answer)));
                if stored.is_pending() {
                    let _panicked = storing.await;
                }
            }
            Err(error) => {
                let concerns = error.concerns();
                let hold = match concerns {
                    _ if matches!(error, ReadError::Aborted) => Hold::Nothing,
                    Concerns::Key if refresh => Hold::Refreshes,
                    Concerns::Key => Hold::Loads,
                    Concerns::KeyNow | Concerns::Caller => Hold::Nothing,
                };
                if hold == Hold::Loads {
                    core.load_holds.hold(&flight.key, core.config.retry_after);
                }
                if hold != Hold::Nothing {
                    core.refresh_holds.hold(&flight.key, core.config.retry_after);
                }
                flight.decide(match concerns {
                    Concerns::Caller => Outcome::Own(error),
                    _ => Outcome::Answer(Err(error)),
                });
                claim.fail(&core, &flight.key, hold).await;
            }
        }
    }
}

fn outcome<V>(result: &Result<Loaded<V>, ReadError>) -> LoadOutcome {
    match result {
        Ok(loaded) if loaded.value.is_some() => LoadOutcome::Value,
        Ok(_) => LoadOutcome::Absent,
        Err(ReadError::Panicked) => LoadOutcome::Panicked,
        Err(ReadError::Timeout { .. }) => LoadOutcome::TimedOut,
        Err(ReadError::Aborted) => LoadOutcome::GivenUp,
        Err(_) => LoadOutcome::Failed,
    }
}
