//! The single-flight table of this process: at most one joinable flight per key.
//!
//! Not in here: what a flight does (`journey.rs`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::error::ReadError;
use super::found::Known;
use super::loaded::Answer;

/// Identifies a flight within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlightId(u64);

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// The purpose of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Callers wait for it.
    Load,
    /// The value is fresh and is loaded ahead of expiry. A caller that finds it no longer fresh may wait for this
    /// flight.
    Refresh,
}

/// The part of a flight that its waiters can see.
#[derive(Clone)]
pub(super) struct Progress<V> {
    /// The value to return instead of an error, if there is one.
    pub(super) stale: Option<Known<V>>,
    pub(super) outcome: Option<Outcome<V>>,
}

/// How a flight ended for its waiters.
#[derive(Clone)]
pub(super) enum Outcome<V> {
    Answer(Result<Answer<V>, ReadError>),
    /// It failed with an error that concerns only the caller that began it. The others have to ask again.
    Own(ReadError),
    /// A fresh entry was found in the cache, so nothing was loaded.
    Hit(Known<V>),
    /// Nothing was decided. Waiters have to ask again.
    Again,
}

/// The flights of one read-through.
pub(super) struct Flights<V> {
    table: Mutex<Table<V>>,
    /// The number of flights in the table, so that a hit does not wait for the table's lock while nothing is loaded.
    joinable: AtomicUsize,
    /// The number of flights in progress, including those that can no longer be joined.
    running: watch::Sender<usize>,
}

type Table<V> = HashMap<Arc<str>, Joinable<V>>;

struct Joinable<V> {
    id: FlightId,
    purpose: Purpose,
    progress: Arc<watch::Sender<Progress<V>>>,
}

/// A flight, held by the task that runs it. Dropping it ends it. Waiters without an outcome then learn that it was
/// given up.
pub(super) struct Flight<V> {
    flights: Arc<Flights<V>>,
    pub(super) key: Arc<str>,
    pub(super) id: FlightId,
    pub(super) purpose: Purpose,
    progress: Arc<watch::Sender<Progress<V>>>,
}

/// A flight, held by a caller that waits for it.
pub(super) struct Seat<V> {
    pub(super) id: FlightId,
    pub(super) progress: watch::Receiver<Progress<V>>,
}

/// What a caller gets that needs a key loaded.
pub(super) enum Boarding<V> {
    /// The key is being loaded.
    Joined(Seat<V>),
    /// The key was loaded and is about to be stored. A new caller waits for the end, and looks again.
    Landing(Seat<V>),
    /// No flight loads the key, so the caller does.
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

    /// Joins the load of `key`, if callers wait for it already. A refresh is not joined here, because the value may
    /// be fresh.
    pub(super) fn join_load(&self, key: &str) -> Option<Seat<V>> {
        // A caller that misses a flight that begins at this moment finds it after the look at the cache.
        if self.joinable.load(Ordering::Acquire) == 0 {
            return None;
        }
        let table = self.table();
        let flight = table.get(key).filter(|flight| flight.purpose == Purpose::Load)?;
        let seat = flight.seat();
        let under_way = seat.progress.borrow().outcome.is_none();
        under_way.then_some(seat)
    }

    /// Joins the flight of `key`, or creates one.
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

    /// Makes the flight of `key`, if there is one, no longer joinable: its result is too old for new callers. Those
    /// that wait already still get it.
    pub(super) fn detach(&self, key: &str) {
        self.remove(&mut self.table(), key);
    }

    fn remove(&self, table: &mut Table<V>, key: &str) {
        table.remove(key);
        self.joinable.store(table.len(), Ordering::Release);
    }

    /// Returns when no flight is in progress.
    pub(super) async fn settled(&self) {
        let mut running = self.running.subscribe();
        // `self.running` is the sender, so it still exists.
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
    /// Tells waiters which value to return instead of an error.
    pub(super) fn offer(&self, stale: Known<V>) {
        self.progress.send_modify(|progress| progress.stale = Some(stale));
    }

    /// Tells waiters how the flight ended. Only the first outcome counts.
    pub(super) fn decide(&self, outcome: Outcome<V>) {
        self.progress.send_if_modified(|progress| {
            let first = progress.outcome.is_none();
            if first {
                progress.outcome = Some(outcome);
            }
            first
        });
    }

    /// Returns when no caller waits any more. From then on none can join.
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

    /// Removes the flight from the table, if it is there. It may have been detached.
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
