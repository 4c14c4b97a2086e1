//! The counters of a near cache.
//!
//! Not in here: how it counts (`counts.rs`).

use super::{Count, Near, NearStatus};

/// What a near cache did since it was created, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearStats {
    /// Reads of a key that were answered near: with its value, or with its absence.
    pub hits: u64,
    /// Reads of a key that were far reads.
    pub misses: u64,
    /// Reads of a key that were answered by the far read of another caller.
    pub joined: u64,
    /// Entries that were evicted to make room for others.
    pub evictions: u64,
    /// Keys with a reported change, whether they were near or not.
    pub invalidations: u64,
    /// Far reads that were not kept because a change overtook them.
    pub poisoned: u64,
    /// How often the near cache was emptied as a whole.
    pub resets: u64,
    /// Entries that are stored, including expired ones that were not requested since.
    pub entries: u64,
    /// Bytes that are stored: keys, values and bookkeeping.
    pub bytes: u64,
}

/// A near cache, for its metrics.
pub(crate) trait NearSource: Send + Sync {
    fn stats(&self) -> NearStats;

    fn status(&self) -> NearStatus;
}

impl<V: Clone + Send + Sync + 'static> Near<V> {
    pub(crate) fn stats(&self) -> NearStats {
        let counts = self.counts();
        NearStats {
            hits: counts.get(Count::Hit),
            misses: counts.get(Count::Miss),
            joined: counts.get(Count::Joined),
            evictions: counts.get(Count::Eviction),
            invalidations: counts.get(Count::Invalidation),
            poisoned: counts.get(Count::Poisoned),
            resets: self.resets(),
            entries: self.entries(),
            bytes: self.bytes(),
        }
    }
}
