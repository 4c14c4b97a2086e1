//! One call: a look at the cache, and the wait for a load that it starts or joins.
//!
//! Not in here: the load (`journey.rs`), which does not depend on its waiters.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::clock::{self, Instant};
use cache_core::{Entry, Ttl};
use tokio::task::consume_budget;
use tracing::Instrument as _;

use super::budget::Budget;
use super::core::{Core, Payload, check};
use super::error::ReadError;
use super::events::ReadThroughEvent;
use super::flights::{Boarding, Outcome, Purpose, Seat};
use super::found::{Condition, Found, Known};
use super::journey::Journey;
use super::loaded::{Answer, Freshness, Loaded};
use super::source::{Loading, Source};
use super::waits::Waiting;

/// The result of a look at the cache.
pub(super) enum Look<V> {
    Answer(Answer<V>),
    /// An answer, and a value whose refresh is due.
    Ripe(Answer<V>, Known<V>),
    /// Nothing fresh. Holds the value to return instead of an error, if there is one.
    Need(Option<Known<V>>),
}

/// How long a caller waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    soft: Option<Instant>,
    hard: Instant,
}

impl<V: Payload> Core<V> {
    pub(super) async fn get_or_load(
        self: &Arc<Self>,
        key: &str,
        load: impl FnOnce() -> Loading<Loaded<V>> + Send + 'static,
    ) -> Result<Answer<V>, ReadError> {
        check(key)?;
        if let Some(tier) = &self.near {
            consume_budget().await;
            if let Some(known) = tier.look(key) {
                match self.judge(key, known) {
                    Look::Answer(answer) => return Ok(answer),
                    Look::Ripe(answer, known) => {
                        self.refresh(key, known, Source::One(Box::new(load)));
                        return Ok(answer);
                    }
                    Look::Need(_) => {}
                }
            }
        }
        let patience = self.patience();
        if let Some(seat) = self.flights.join_load(key)
            && let Some(result) = self.join(seat, None, patience).await
        {
            return result;
        }
        let mut budget = self.budget();
        match self.look(key, &mut budget).await {
            Look::Answer(answer) => Ok(answer),
            Look::Ripe(answer, known) => {
                self.refresh(key, known, Source::One(Box::new(load)));
                Ok(answer)
            }
            Look::Need(stale) => {
                let source = Source::One(Box::new(load));
                self.fetch(key, source, stale, budget, patience).await
            }
        }
    }

    pub(super) fn patience(&self) -> Patience {
        let now = clock::now();
        Patience {
            soft: self.config.soft_timeout.map(|soft| now + soft),
            hard: now + self.config.hard_timeout,
        }
    }

    pub(super) async fn look(self: &Arc<Self>, key: &str, budget: &mut Budget) -> Look<V> {
        if let Some(tier) = &self.near {
            match self.read_near(tier, key, budget).await {
                Ok(Some(known)) => return self.judge(key, known),
                Ok(None) => {}
                Err(_) => return Look::Need(None),
            }
        }
        let read = self.noted(budget.spend(self.client.get(key)).await);
        read.map_or(Look::Need(None), |raw| self.judge_raw(key, raw))
    }

    /// Decides what to do with stored bytes.
    pub(super) fn judge_raw(&self, key: &str, raw: Bytes) -> Look<V> {
        match self.found(key, Entry::untracked(raw, Ttl::Forever)) {
            Found::Value(_, known) => self.judge(key, known),
            _ => Look::Need(None),
        }
    }

    /// Decides what to do with a decoded value.
    pub(super) fn judge(&self, key: &str, known: Known<V>) -> Look<V> {
        match known.condition(&self.config) {
            Condition::Fresh => Look::Answer(self.hit(&known)),
            Condition::Ripe if self.refresh_holds.is_held(key) => Look::Answer(self.hit(&known)),
            Condition::Ripe => Look::Ripe(self.hit(&known), known),
            Condition::Stale if self.load_holds.is_held(key) => Look::Answer(self.stale(&known)),
            Condition::Stale => Look::Need(Some(known)),
            Condition::Dead => Look::Need(None),
        }
    }

    pub(super) fn hit(&self, known: &Known<V>) -> Answer<V> {
        let negative = known.is_negative();
        self.note(&ReadThroughEvent::Hit { negative });
        known.answer(Freshness::Fresh)
    }

    pub(super) fn stale(&self, known: &Known<V>) -> Answer<V> {
        self.note(&ReadThroughEvent::Stale);
        known.answer(Freshness::Stale)
    }

    /// Starts to refresh a value that is still fresh, unless a refresh is in progress.
    pub(super) fn refresh(self: &Arc<Self>, key: &str, known: Known<V>, source: Source<V>) {
        if let Boarding::Led(flight, _) = self.flights.board(key, Purpose::Refresh, None) {
            let core = Arc::clone(self);
            tokio::spawn(Journey { core, flight, source }.refresh(known).in_current_span());
        }
    }

    /// Waits for a load of `key`, and starts one if there is none.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        key: &str,
        mut source: Source<V>,
        mut stale: Option<Known<V>>,
        mut budget: Budget,
        patience: Patience,
    ) -> Result<Answer<V>, ReadError> {
        loop {
            match self.flights.board(key, Purpose::Load, stale.clone()) {
                Boarding::Led(flight, seat) => {
                    let core = Arc::clone(self);
                    let journey = Journey { core, flight, source }.load(budget);
                    tokio::spawn(journey.in_current_span());
                    let result = self.wait(seat, stale, patience, true).await;
                    return result.unwrap_or_else(|| self.instead(None, ReadError::Aborted));
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
        seat: Seat<V>,
        stale: Option<Known<V>>,
        patience: Patience,
    ) -> Option<Result<Answer<V>, ReadError>> {
        self.note(&ReadThroughEvent::Joined);
        self.wait(seat, stale, patience, false).await
    }

    /// Returns the result of a flight, or `None` if it decided nothing for this caller, which may have led it.
    pub(super) async fn wait(
        &self,
        mut seat: Seat<V>,
        mut stale: Option<Known<V>>,
        patience: Patience,
        led: bool,
    ) -> Option<Result<Answer<V>, ReadError>> {
        let Ok(_waiting) = Waiting::for_flight(seat.id) else {
            return Some(self.instead(None, ReadError::Reentered));
        };
        loop {
            let progress = seat.progress.borrow_and_update().clone();
            stale = progress.stale.or(stale);
            match progress.outcome {
                Some(Outcome::Answer(Ok(answer))) => {
                    self.note(&ReadThroughEvent::Missed);
                    return Some(Ok(answer));
                }
                Some(Outcome::Answer(Err(error))) => return Some(self.instead(stale, error)),
                Some(Outcome::Own(error)) => return led.then(|| self.instead(stale, error)),
                Some(Outcome::Hit(known)) => return Some(Ok(self.hit(&known))),
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
            after: self.config.hard_timeout,
        }
    }

    /// Returns the stale value instead of an error, if that is still allowed.
    pub(super) fn instead(&self, stale: Option<Known<V>>, error: ReadError) -> Result<Answer<V>, ReadError> {
        match stale.filter(|known| known.condition(&self.config) != Condition::Dead) {
            Some(known) => Ok(self.stale(&known)),
            None => {
                self.note(&ReadThroughEvent::Missed);
                Err(error)
            }
        }
    }
}
