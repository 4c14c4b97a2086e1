//! The cache's limits and current size.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::CacheError;

/// The overhead of an entry beyond its key and value, in bytes: its slot, its places in the index, the
/// eviction queue and the deadlines, and the allocator's share. Measured, then rounded up.
pub(super) const OVERHEAD: u64 = 192;

/// The limits and the current size.
#[derive(Debug)]
pub(super) struct Bounds {
    max_bytes: u64,
    max_entries: u64,
    bytes: AtomicU64,
    entries: AtomicU64,
}

/// The bytes that an entry counts for.
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

    /// Rejects an entry that would not fit even alone.
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
