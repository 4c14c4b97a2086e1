//! What a near tier tells of itself.
//!
//! Not in here: how it is counted (`counts.rs`).

use super::{Count, Near, NearStatus};

/// What a near tier did since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearStats {
    /// Reads of a key that were answered near: with its value, or with the knowledge that it does not exist.
    pub hits: u64,
    /// Reads of a key that were far reads.
    pub misses: u64,
    /// Reads of a key that were answered by the far read of another caller.
    pub joined: u64,
    /// Entries that had to go for others.
    pub evictions: u64,
    /// Keys of which a change was reported, near or not.
    pub invalidations: u64,
    /// Far reads that were not kept, because a change overtook them.
    pub poisoned: u64,
    /// How often the tier was emptied as a whole.
    pub resets: u64,
    /// Entries that are held, also those that have expired and were not asked for since.
    pub entries: u64,
    /// Bytes that are held: keys, values and book-keeping.
    pub bytes: u64,
}

/// A near tier, as far as it tells about itself.
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
