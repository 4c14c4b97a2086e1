//! The keys that are being read: a mark for each, in shards with their own locks.
//!
//! Not in here: what is done with the marks. The lock of a key's shard orders the storing and the removal of a copy;
//! see the protocol in `mod.rs`.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cache_core::Vouch;
use cache_core::clock::Instant;
use quick_cache::DefaultHashBuilder;

use super::flight::Joinable;

/// An id that no mark has.
pub(super) const GONE: u64 = 0;

/// The mark of one key.
pub(super) struct Pending<V: Clone + Send + Sync + 'static> {
    /// Never the same twice, never [`GONE`].
    pub(super) id: u64,
    /// The number of the store that the copy is for.
    pub(super) store: u64,
    /// Valid until values without a vouch are given up.
    pub(super) own: Vouch,
    /// When the read began.
    pub(super) begun: Instant,
    /// How other callers can join this read.
    pub(super) joinable: Option<Joinable<V>>,
}

/// How old a read may be for a later caller to join it. A slower read, or one that is not polled, may return a value
/// that was current too long ago, or nothing at all.
const RECENT: Duration = Duration::from_secs(1);

impl<V: Clone + Send + Sync + 'static> Pending<V> {
    /// Whether the read may still store its copy in this store.
    pub(super) fn is_of(&self, store: u64) -> bool {
        self.store == store && self.own.holds()
    }

    /// Whether the read began so recently that a later caller may join it.
    pub(super) fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) < RECENT
    }
}

/// The marks of one shard.
pub(super) type Table<V> = HashMap<Arc<str>, Pending<V>, DefaultHashBuilder>;

/// The number of shards for data that all threads use: a power of two.
pub(super) fn parts() -> usize {
    // Cached, because asking for the number of cores reads files.
    static PARTS: OnceLock<usize> = OnceLock::new();
    *PARTS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (4 * cores).next_power_of_two()
    })
}

/// All marks.
pub(super) struct Marks<V: Clone + Send + Sync + 'static> {
    /// As many as [`parts`].
    shards: Box<[Mutex<Table<V>>]>,
    hasher: DefaultHashBuilder,
    last_id: AtomicU64,
}

impl<V: Clone + Send + Sync + 'static> Marks<V> {
    pub(super) fn new() -> Self {
        let hasher = DefaultHashBuilder::default();
        let table = || Mutex::new(HashMap::with_hasher(hasher.clone()));
        Self {
            shards: std::iter::repeat_with(table).take(parts()).collect(),
            hasher,
            last_id: AtomicU64::new(GONE),
        }
    }

    /// Locks the shard of `key`.
    pub(super) fn lock(&self, key: &str) -> MutexGuard<'_, Table<V>> {
        // The table inside uses the lowest and the highest bits of the hash. These are from the middle.
        let [_, _, _, _, low, high, _, _] = self.hasher.hash_one(key).to_le_bytes();
        let number = usize::from(u16::from_le_bytes([low, high])) & (self.shards.len() - 1);
        // No foreign code runs under this lock, so a panic leaves nothing half done.
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let tables = self.shards.iter();
        tables
            .map(|table| table.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }
}
