//! What a test and a process say to each other that reads and writes an encrypted cache while its keyset rotates.
//!
//! One JSON text per line: a [`Setup`] as the process's only argument, then an [`Order`] per line to its input and a
//! [`Report`] per order from its output, and one before the first order. Not in here: the process (`src/bin/rotation-worker.rs`), and how a test steers it
//! (`tests/encryption/rotation.rs`).

use serde::{Deserialize, Serialize};

/// What a process is started with; times in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Its number.
    pub worker: usize,
    /// How many processes there are.
    pub workers: usize,
    /// `host:port` of the cache.
    pub address: String,
    /// Whether that is a cluster's.
    pub cluster: bool,
    /// The file that holds the keyset.
    pub keyset: String,
    /// Whether entries have the form of chinmina-bridge.
    pub bridge: bool,
    /// What all keys begin with.
    pub prefix: String,
    /// How often the keyset is refreshed.
    pub refresh_every: u64,
    /// The least time between refreshes for unknown keys.
    pub least_gap: u64,
    /// How long a reader waits for an unknown key.
    pub unknown_key_wait: u64,
}

/// What a process is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Begins to read and to write. It has written its keys once before.
    Begin,
    /// Says what it did so far.
    Tell,
    /// Comes to an end with what it is doing.
    Stop,
}

/// What a process did since it started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The id of the key that it seals with.
    pub primary: u32,
    /// The ids of the keys that it opens with.
    pub key_ids: Vec<u32>,
    /// How often it has written all of its keys.
    pub rounds: u64,
    /// Values that it read.
    pub reads: u64,
    /// Reads that were a miss, although the key was written.
    pub misses: u64,
    /// Values that were not those of their key.
    pub wrong: u64,
    /// Calls that failed; the first of them.
    pub failures: u64,
    /// The first failure.
    pub failure: Option<String>,
    /// How often it has added one to the number that all processes share, by `compare_and_set`.
    pub added: u64,
    /// That number, as the process reads it now; none if it cannot.
    pub sum: Option<u64>,
    /// Stored values that it could not open, because it did not have their key.
    pub unknown_key: u64,
    /// Stored values that it could not open for another reason.
    pub other_unreadable: u64,
    /// Stored values that it removed.
    pub removed: u64,
    /// Refreshes that failed.
    pub failed_refreshes: u64,
}

/// How many keys each process writes, again and again.
pub const KEYS: usize = 40;

/// The key `number` of a process.
#[must_use]
pub fn key(prefix: &str, worker: usize, number: usize) -> String {
    format!("{prefix}:{worker}:{number}")
}

/// The number that all processes add to.
#[must_use]
pub fn shared_number(prefix: &str) -> String {
    format!("{prefix}:sum")
}
