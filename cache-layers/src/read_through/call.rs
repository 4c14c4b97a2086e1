//! The way of one call: a look at the cache, and the wait for a load that it starts or joins.
//!
//! Not in here: the load (`journey.rs`), which goes on whoever still waits.

use std::sync::Arc;

use cache_core::Ttl;
use cache_core::clock::{self, Instant};

use super::ReadThrough;
use super::budget::Budget;
use super::error::ReadError;
use super::events::ReadThroughEvent;
use super::flights::{Boarding, Outcome, Purpose, Seat};
use super::found::{Condition, Found, Value};
use super::journey::Journey;
use super::loaded::{Answer, Freshness};
use super::source::Source;
use super::waits::Waiting;

/// What a look at the cache came to.
pub(super) enum Look {
    Answer(Answer),
    /// An answer, and a value that should be loaded anew.
    Ripe(Answer, Value),
    /// Nothing fresh; what could be given instead of an error.
    Need(Option<Value>),
}

/// How long a caller waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    soft: Option<Instant>,
    hard: Instant,
}

impl ReadThrough {
    pub(super) fn patience(&self) -> Patience {
        let now = clock::now();
        Patience {
            soft: self.core.config.soft_timeout.map(|soft| now + soft),
            hard: now + self.core.config.hard_timeout,
        }
    }

    pub(super) async fn look(&self, key: &str, budget: &mut Budget) -> Look {
        let read = budget.spend(self.core.client.get(key)).await;
        match self.core.noted(read) {
            Ok(raw) => self.judge(key, Found::new(key, raw, Ttl::Forever)),
            Err(_) => Look::Need(None),
        }
    }

    /// What is to be done about what was found.
    pub(super) fn judge(&self, key: &str, found: Found) -> Look {
        let core = &self.core;
        let Found::Value(value) = found else {
            return Look::Need(None);
        };
        match value.condition(&core.config) {
            Condition::Fresh => Look::Answer(self.hit(&value)),
            Condition::Ripe if core.refresh_holds.is_held(key) => Look::Answer(self.hit(&value)),
            Condition::Ripe => Look::Ripe(self.hit(&value), value),
            Condition::Stale if core.load_holds.is_held(key) => Look::Answer(self.stale(&value)),
            Condition::Stale => Look::Need(Some(value)),
            Condition::Dead => Look::Need(None),
        }
    }

    pub(super) fn hit(&self, value: &Value) -> Answer {
        let negative = value.is_negative();
        self.core.note(&ReadThroughEvent::Hit { negative });
        value.answer(Freshness::Fresh)
    }

    pub(super) fn stale(&self, value: &Value) -> Answer {
        self.core.note(&ReadThroughEvent::Stale);
        value.answer(Freshness::Stale)
    }

    /// Begins to load anew what is still fresh, unless that is under way.
    pub(super) fn refresh(&self, key: &str, value: Value, source: Source) {
        if let Boarding::Led(flight, _) = self.core.flights.board(key, Purpose::Refresh, None) {
            let core = Arc::clone(&self.core);
            tokio::spawn(Journey { core, flight, source }.refresh(value));
        }
    }

    /// Waits for a load of `key`, and starts it where there is none.
    pub(super) async fn fetch(
        &self,
        key: &str,
        mut source: Source,
        mut stale: Option<Value>,
        mut budget: Budget,
        patience: Patience,
    ) -> Result<Answer, ReadError> {
        loop {
            match self.core.flights.board(key, Purpose::Load, stale.clone()) {
                Boarding::Led(flight, seat) => {
                    let core = Arc::clone(&self.core);
                    tokio::spawn(Journey { core, flight, source }.load(budget));
                    let result = self.wait(seat, stale, patience).await;
                    return result.unwrap_or(Err(ReadError::Aborted));
                }
                Boarding::Joined(seat) => {
                    source.step_aside();
                    if let Some(result) = self.join(seat, stale.clone(), patience).await {
                        return result;
                    }
                }
                Boarding::Landing(mut seat) => {
                    source.step_aside();
                    let landed = async { while seat.progress.changed().await.is_ok() {} };
                    if tokio::time::timeout_at(patience.hard, landed).await.is_err() {
                        return self.instead(stale, self.too_late());
                    }
                }
            }
            match self.look(key, &mut budget).await {
                Look::Answer(answer) | Look::Ripe(answer, _) => return Ok(answer),
                Look::Need(found) => stale = found.or(stale),
            }
        }
    }

    pub(super) async fn join(
        &self,
        seat: Seat,
        stale: Option<Value>,
        patience: Patience,
    ) -> Option<Result<Answer, ReadError>> {
        self.core.note(&ReadThroughEvent::Joined);
        self.wait(seat, stale, patience).await
    }

    /// What a flight brings; `None` where it decided nothing.
    pub(super) async fn wait(
        &self,
        mut seat: Seat,
        mut stale: Option<Value>,
        patience: Patience,
    ) -> Option<Result<Answer, ReadError>> {
        let Ok(_waiting) = Waiting::for_flight(seat.id) else {
            return Some(Err(ReadError::Reentered));
        };
        loop {
            let progress = seat.progress.borrow_and_update().clone();
            stale = progress.stale.or(stale);
            match progress.outcome {
                Some(Outcome::Answer(Ok(answer))) => return Some(Ok(answer)),
                Some(Outcome::Answer(Err(error))) => return Some(self.instead(stale, error)),
                Some(Outcome::Hit(value)) => return Some(Ok(self.hit(&value))),
                Some(Outcome::Again) => return None,
                None => {}
            }
            let soft = patience.soft.filter(|_| stale.is_some());
            tokio::select! {
                biased;
                changed = seat.progress.changed() => {
                    if changed.is_err() {
                        return Some(self.instead(stale, ReadError::Aborted));
                    }
                }
                () = tokio::time::sleep_until(patience.hard.min(soft.unwrap_or(patience.hard))) => {
                    return Some(self.instead(stale, self.too_late()));
                }
            }
        }
    }

    pub(super) fn too_late(&self) -> ReadError {
        ReadError::Timeout {
            after: self.core.config.hard_timeout,
        }
    }

    /// The stale value instead of an error, where it may still be given.
    pub(super) fn instead(&self, stale: Option<Value>, error: ReadError) -> Result<Answer, ReadError> {
        match stale.filter(|value| value.condition(&self.core.config) != Condition::Dead) {
            Some(value) => Ok(self.stale(&value)),
            None => Err(error),
        }
    }
}
