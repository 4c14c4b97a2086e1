//! What a test and a process of its fleet say to each other, and the clock that they share.
//!
//! One JSON text per line: a [`Setup`] as the process's only argument, then an [`Order`] per line to its input
//! and a [`Report`] per order from its output. Not in here: the process (`src/bin/fleet-worker.rs`), and
//! how a test steers it (`tests/fleet/worker.rs`).

use std::collections::BTreeMap;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What a process of a fleet is started with; times in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Its number, which the values that it loads carry.
    pub worker: usize,
    /// `host:port` of the cache.
    pub addresses: Vec<String>,
    /// Whether these are of a cluster.
    pub cluster: bool,
    /// The table, if the cache is DynamoDB. The AWS SDK's variables say where that is, and [`addresses`](Self::addresses)
    /// are not used.
    #[serde(default)]
    pub table: Option<String>,
    /// `host:port` of the server on which loads are counted: not the cache, which tests hurt.
    pub ledger: String,
    /// How long the lease of a load lives.
    pub lease: u64,
    /// How long nobody tries again after a failed load.
    pub failure_hold: u64,
    /// What the cache may cost a call.
    pub cache_deadline: u64,
    /// How long a value lives.
    pub life: u64,
    /// How long beyond that it may be given.
    pub stale_limit: u64,
}

/// What a process is asked to do: so many tasks at once ask for the same key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The key.
    pub key: String,
    /// How many tasks ask for it.
    pub tasks: usize,
    /// How long the loader of any of them takes, in milliseconds.
    pub load: u64,
    /// Whether it fails then.
    pub fails: bool,
    /// Whether there is no read-through in it: the first process writes the key after that time, one task of each
    /// other one hears of it and reads. What the same takes where nothing but the machine and the client counts.
    pub bare: bool,
}

/// What came of an [`Order`], once nothing of it is under way any more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// How many tasks got which value.
    pub values: BTreeMap<String, usize>,
    /// How many of them got it as a stale one.
    pub stale: usize,
    /// How many tasks got which error.
    pub errors: BTreeMap<String, usize>,
    /// When the order came, by [`monotonic_ns`].
    pub asked_ns: u64,
    /// When the first task had its answer.
    pub first_ns: u64,
    /// When the last one had.
    pub last_ns: u64,
    /// Counters of the process's read-through, since it started.
    pub loads: u64,
    /// Loads that waited for another process.
    pub lease_waits: u64,
    /// Loads that went on without the lease.
    pub without_lease: u64,
    /// Values that were not stored since something newer was there.
    pub superseded: u64,
}

/// A value that a process loaded: who did, and when the loader was done.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The number of the process.
    pub worker: usize,
    /// When the loader was done, by [`monotonic_ns`]. The value is written after that.
    pub done_ns: u64,
}

/// Nanoseconds of the machine's monotonic clock: one clock for all of its processes.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

/// Where the loads of a key are counted.
#[must_use]
pub fn ledger_key(key: &str) -> String {
    format!("loads of {key}")
}
