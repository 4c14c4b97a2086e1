//! What is being loaded in this process: at most one flight per key that a caller can join.
//!
//! Not in here: what a flight does (`journey.rs`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::error::ReadError;
use super::found::Value;
use super::loaded::Answer;

/// Tells the flights of a process apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlightId(u64);

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// What a flight is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Callers wait for it.
    Load,
    /// The value is fresh and is loaded anew; who finds it no longer fresh may wait for it.
    Refresh,
}

/// What those who wait for a flight can see of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// What could be given instead of an error.
    pub(super) stale: Option<Value>,
    pub(super) outcome: Option<Outcome>,
}

/// How a flight ended for those who wait.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Answer(Result<Answer, ReadError>),
    /// A fresh entry was found in the cache, nothing had to be loaded.
    Hit(Value),
    /// Nothing was decided; who waits has to ask again.
    Again,
}

/// The flights of one read-through.
#[derive(Debug)]
pub(super) struct Flights {
    table: Mutex<HashMap<Arc<str>, Joinable>>,
    /// How many the table holds, so that a hit does not queue for the table while nothing is loaded.
    joinable: AtomicUsize,
    /// How many are under way, those that nobody can join any more included.
    running: watch::Sender<usize>,
}

#[derive(Debug)]
struct Joinable {
    id: FlightId,
    purpose: Purpose,
    progress: Arc<watch::Sender<Progress>>,
}

/// A flight, in the hands of the task that makes it. Dropping it ends it, whatever the reason: then those
/// who wait without an outcome are told that it was given up.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Arc<Flights>,
    pub(super) key: Arc<str>,
    pub(super) id: FlightId,
    pub(super) purpose: Purpose,
    progress: Arc<watch::Sender<Progress>>,
}

/// A flight, in the hands of one who waits for it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: FlightId,
    pub(super) progress: watch::Receiver<Progress>,
}

/// What a caller found who wants a key loaded.
#[derive(Debug)]
pub(super) enum Boarding {
    /// It is being loaded.
    Joined(Seat),
    /// It has been loaded and is about to be stored: who comes now waits for the end, and looks again.
    Landing(Seat),
    /// Nobody loads it: the caller does.
    Led(Flight, Seat),
}

impl Flights {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            joinable: AtomicUsize::new(0),
            running: watch::Sender::new(0),
        })
    }

    /// A seat in the load of `key` that is under way, if callers wait for it already. A refresh is not
    /// joined here: the value may be fresh.
    pub(super) fn join_load(&self, key: &str) -> Option<Seat> {
        // Who misses a flight that begins at this moment finds it after the look at the cache.
        if self.joinable.load(Ordering::Acquire) == 0 {
            return None;
        }
        let table = self.table();
        let flight = table.get(key).filter(|flight| flight.purpose == Purpose::Load)?;
        let seat = flight.seat();
        let under_way = seat.progress.borrow().outcome.is_none();
        under_way.then_some(seat)
    }

    /// A seat in the flight of `key`, or a new flight.
    pub(super) fn board(self: &Arc<Self>, key: &str, purpose: Purpose, stale: Option<Value>) -> Boarding {
        let mut table = self.table();
        if let Some(flight) = table.get(key) {
            let seat = flight.seat();
            let decided = seat.progress.borrow().outcome.is_some();
            return if decided {
                Boarding::Landing(seat)
            } else {
                Boarding::Joined(seat)
            };
        }
        let progress = Arc::new(watch::Sender::new(Progress { stale, outcome: None }));
        let key: Arc<str> = key.into();
        let flight = Flight {
            flights: Arc::clone(self),
            key: Arc::clone(&key),
            id: FlightId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            purpose,
            progress: Arc::clone(&progress),
        };
        let joinable = Joinable {
            id: flight.id,
            purpose,
            progress,
        };
        let seat = joinable.seat();
        table.insert(key, joinable);
        self.joinable.store(table.len(), Ordering::Release);
        self.running.send_modify(|running| *running += 1);
        Boarding::Led(flight, seat)
    }

    /// From now on nobody joins the flight of `key`, if there is one: what it brings is too old for who
    /// comes now. Those who wait already are served.
    pub(super) fn detach(&self, key: &str) {
        self.remove(&mut self.table(), key);
    }

    fn remove(&self, table: &mut HashMap<Arc<str>, Joinable>, key: &str) {
        table.remove(key);
        self.joinable.store(table.len(), Ordering::Release);
    }

    /// Returns when no flight is under way.
    pub(super) async fn settled(&self) {
        let mut running = self.running.subscribe();
        // The sender is `self.running`: it cannot be gone.
        let _cannot_fail = running.wait_for(|running| *running == 0).await;
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Arc<str>, Joinable>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joinable {
    fn seat(&self) -> Seat {
        Seat {
            id: self.id,
            progress: self.progress.subscribe(),
        }
    }
}

impl Flight {
    /// Tells those who wait what could be given instead of an error.
    pub(super) fn offer(&self, stale: &Value) {
        self.progress
            .send_modify(|progress| progress.stale = Some(stale.clone()));
    }

    /// Tells those who wait how it ended; the first word counts.
    pub(super) fn decide(&self, outcome: Outcome) {
        self.progress.send_if_modified(|progress| {
            let first = progress.outcome.is_none();
            if first {
                progress.outcome = Some(outcome);
            }
            first
        });
    }

    /// Returns when nobody waits any more, and from then on nobody can begin to.
    pub(super) async fn abandoned(&self) {
        loop {
            self.progress.closed().await;
            let mut table = self.flights.table();
            if self.progress.receiver_count() == 0 {
                self.leave(&mut table);
                return;
            }
        }
    }

    /// Takes the flight out of the table, if it is there: it may have been detached.
    fn leave(&self, table: &mut HashMap<Arc<str>, Joinable>) {
        if table.get(&self.key).is_some_and(|flight| flight.id == self.id) {
            self.flights.remove(table, &self.key);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.decide(Outcome::Answer(Err(ReadError::Aborted)));
        self.leave(&mut self.flights.table());
        self.flights.running.send_modify(|running| *running -= 1);
    }
}
