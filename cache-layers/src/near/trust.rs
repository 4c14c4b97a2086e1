//! What the end of a connection means for copies: whether each of them knows by itself if it can be trusted.
//!
//! Not in here: vouches. A copy that has one looks at it with every hit.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Trust {
    /// The far tier vouches for each value.
    vouched: AtomicBool,
    /// A tracked value was kept without a vouch.
    unvouched: AtomicBool,
    /// How often trust was lost.
    losses: AtomicU64,
}

impl Trust {
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    /// A tracked value is about to be kept, whose read began after so many losses; whether it may be.
    pub(super) fn note(&self, vouched: bool, losses: u64) -> bool {
        if vouched {
            // Looked at first: nearly always it is known.
            if !self.vouched.load(Ordering::SeqCst) {
                self.vouched.store(true, Ordering::SeqCst);
            }
            return true;
        }
        // Noted first: either the loss is seen here, or this is seen by the one who loses.
        self.unvouched.store(true, Ordering::SeqCst);
        self.losses() == losses
    }

    /// Some of what was read cannot be trusted any more; whether all copies know by themselves if they can.
    pub(super) fn lose(&self) -> bool {
        self.losses.fetch_add(1, Ordering::SeqCst);
        let unvouched = self.unvouched.swap(false, Ordering::SeqCst);
        self.vouched.load(Ordering::SeqCst) && !unvouched
    }
}
