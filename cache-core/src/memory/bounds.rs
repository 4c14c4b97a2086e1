//! How much the cache may hold, and how much it holds.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::CacheError;

/// What an entry takes besides its key and its value, in bytes: its slot, its places in the index, in the
/// eviction queue and among the deadlines, and what the allocator adds. Measured, then rounded up.
pub(super) const OVERHEAD: u64 = 192;

/// The bounds and what is held at the moment.
#[derive(Debug)]
pub(super) struct Bounds {
    max_bytes: u64,
    max_entries: u64,
    bytes: AtomicU64,
    entries: AtomicU64,
}

/// What an entry counts for.
pub(super) fn weight(key_len: usize, value_len: usize) -> u64 {
    OVERHEAD + u64::try_from(key_len + value_len).unwrap_or(u64::MAX - OVERHEAD)
}

impl Bounds {
    pub(super) const fn new(max_bytes: u64, max_entries: u64) -> Self {
        Self {
            max_bytes,
            max_entries,
            bytes: AtomicU64::new(0),
            entries: AtomicU64::new(0),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Refuses an entry that would not fit even if it were alone.
    pub(super) fn check(&self, key_len: usize, value_len: usize) -> Result<(), CacheError> {
        let weight = weight(key_len, value_len);
        if weight > self.max_bytes {
            return Err(CacheError::InvalidInput {
                argument: "value",
                reason: format!(
                    "takes {weight} bytes with its key and the book-keeping; this cache holds {}",
                    self.max_bytes
                )
                .into(),
            });
        }
        if self.max_entries == 0 {
            return Err(CacheError::InvalidInput {
                argument: "value",
                reason: "this cache was made to hold no entries".into(),
            });
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.bytes() > self.max_bytes || self.entries() > self.max_entries
    }

    pub(super) fn add(&self, weight: u64) {
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resize(&self, from: u64, to: u64) {
        if to >= from {
            self.bytes.fetch_add(to - from, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(from - to, Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&self, weight: u64) {
        self.bytes.fetch_sub(weight, Ordering::Relaxed);
        self.entries.fetch_sub(1, Ordering::Relaxed);
    }
}
