//! What is counted on one primary, over all visits to it, and how far the last one came.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::engine::Counts;

/// What is counted on one primary, over all visits to it, and how far the last one came.
#[derive(Debug, Default)]
pub(in crate::engine) struct Tally {
    counts: Mutex<Counts>,
    /// One more than the number of keys held before; 0 is not known.
    size: AtomicU64,
    /// About how many keys this walk has looked at.
    looked_at: AtomicU64,
    /// All slots below this one are behind the walk.
    position: AtomicU16,
    /// It said that it goes slot by slot, and did not.
    disordered: AtomicBool,
}

impl Tally {
    /// That of a run which is taken up again.
    pub(in crate::engine) fn of(counts: Counts, keys_before: Option<u64>) -> Self {
        let tally = Self::default();
        tally.change(|own| *own = counts);
        if let Some(keys) = keys_before {
            tally.set_size(keys);
        }
        tally
    }

    pub(in crate::engine) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts keys that were removed outside of a visit.
    pub(in crate::engine) fn add_removed(&self, removed: u64) {
        self.change(|counts| {
            counts.matched += removed;
            counts.removed += removed;
        });
    }

    pub(in crate::engine) fn keys_before(&self) -> Option<u64> {
        self.size.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn set_size(&self, keys: u64) {
        self.size.store(keys.saturating_add(1), Ordering::Relaxed);
    }

    /// A walk begins, or has come to nothing.
    pub(super) fn begin(&self) {
        self.looked_at.store(0, Ordering::Relaxed);
        self.position.store(0, Ordering::Relaxed);
    }

    pub(super) fn look(&self, keys: u32) {
        self.looked_at.fetch_add(keys.into(), Ordering::Relaxed);
    }

    pub(in crate::engine) fn looked_at(&self) -> u64 {
        self.looked_at.load(Ordering::Relaxed)
    }

    pub(super) fn reach(&self, slot: u16) {
        self.position.store(slot, Ordering::Relaxed);
    }

    /// All slots below it are behind the walk.
    pub(in crate::engine) fn position(&self) -> u16 {
        self.position.load(Ordering::Relaxed)
    }

    pub(super) fn distrust_order(&self) {
        self.disordered.store(true, Ordering::Relaxed);
    }

    pub(super) fn trusts_order(&self) -> bool {
        !self.disordered.load(Ordering::Relaxed)
    }
}
