//! What is being loaded in this process: at most one flight per key that a caller can join.
//!
//! Not in here: what a flight does (`journey.rs`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::error::ReadError;
use super::found::Known;
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
#[derive(Clone)]
pub(super) struct Progress<V> {
    /// What could be given instead of an error.
    pub(super) stale: Option<Known<V>>,
    pub(super) outcome: Option<Outcome<V>>,
}

/// How a flight ended for those who wait.
#[derive(Clone)]
pub(super) enum Outcome<V> {
    Answer(Result<Answer<V>, ReadError>),
    /// It failed with an error that concerns only the caller who began it; others have to ask again.
    Own(ReadError),
    /// A fresh entry was found in the cache, nothing had to be loaded.
    Hit(Known<V>),
    /// Nothing was decided; who waits has to ask again.
    Again,
}

/// The flights of one read-through.
pub(super) struct Flights<V> {
    table: Mutex<Table<V>>,
    /// How many the table holds, so that a hit does not queue for the table while nothing is loaded.
    joinable: AtomicUsize,
    /// How many are under way, those that nobody can join any more included.
    running: watch::Sender<usize>,
}

type Table<V> = HashMap<Arc<str>, Joinable<V>>;

struct Joinable<V> {
    id: FlightId,
    purpose: Purpose,
    progress: Arc<watch::Sender<Progress<V>>>,
}

/// A flight, in the hands of the task that makes it. Dropping it ends it, whatever the reason: then those
/// who wait without an outcome are told that it was given up.
pub(super) struct Flight<V> {
    flights: Arc<Flights<V>>,
    pub(super) key: Arc<str>,
    pub(super) id: FlightId,
    pub(super) purpose: Purpose,
    progress: Arc<watch::Sender<Progress<V>>>,
}

/// A flight, in the hands of one who waits for it.
pub(super) struct Seat<V> {
    pub(super) id: FlightId,
    pub(super) progress: watch::Receiver<Progress<V>>,
}

/// What a caller found who wants a key loaded.
pub(super) enum Boarding<V> {
    /// It is being loaded.
    Joined(Seat<V>),
    /// It has been loaded and is about to be stored: who comes now waits for the end, and looks again.
    Landing(Seat<V>),
    /// Nobody loads it: the caller does.
    Led(Flight<V>, Seat<V>),
}

impl<V> Flights<V> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            joinable: AtomicUsize::new(0),
            running: watch::Sender::new(0),
        })
    }

    /// A seat in the load of `key` that is under way, if callers wait for it already. A refresh is not
    /// joined here: the value may be fresh.
    pub(super) fn join_load(&self, key: &str) -> Option<Seat<V>> {
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
    pub(super) fn board(
        self: &Arc<Self>,
        key: &str,
        purpose: Purpose,
        stale: Option<Known<V>>,
    ) -> Boarding<V> {
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

    fn remove(&self, table: &mut Table<V>, key: &str) {
        table.remove(key);
        self.joinable.store(table.len(), Ordering::Release);
    }

    /// Returns when no flight is under way.
    pub(super) async fn settled(&self) {
        let mut running = self.running.subscribe();
        // The sender is `self.running`: it cannot be gone.
        let _cannot_fail = running.wait_for(|running| *running == 0).await;
    }

    fn table(&self) -> MutexGuard<'_, Table<V>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Joinable<V> {
    fn seat(&self) -> Seat<V> {
        Seat {
            id: self.id,
            progress: self.progress.subscribe(),
        }
    }
}

impl<V> Flight<V> {
    /// Tells those who wait what could be given instead of an error.
    pub(super) fn offer(&self, stale: Known<V>) {
        self.progress.send_modify(|progress| progress.stale = Some(stale));
    }

    /// Tells those who wait how it ended; the first word counts.
    pub(super) fn decide(&self, outcome: Outcome<V>) {
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
    fn leave(&self, table: &mut Table<V>) {
        if table.get(&self.key).is_some_and(|flight| flight.id == self.id) {
            self.flights.remove(table, &self.key);
        }
    }
}

impl<V> Drop for Flight<V> {
    fn drop(&mut self) {
        self.decide(Outcome::Answer(Err(ReadError::Aborted)));
        self.leave(&mut self.flights.table());
        self.flights.running.send_modify(|running| *running -= 1);
    }
}
