//! Counters that many threads can add to at once without contention.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    /// A read that was answered near.
    Hit,
    /// A read that went to the remote cache.
    Miss,
    /// A read that was answered by the far read of another call.
    Joined,
    /// An entry that was evicted to make room for another one.
    Eviction,
    /// A key with a reported change.
    Invalidation,
    /// A far read that was not kept because a change overtook it.
    Poisoned,
}

const KINDS: usize = 6;
const STRIPES: usize = 16;

/// Aligned to its own cache line of the processor, or two.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; KINDS]);

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Counts([Stripe; STRIPES]);

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

impl Counts {
    #[inline]
    pub(crate) fn add(&self, count: Count, many: usize) {
        // A thread that is about to end has lost its number. Any number will do.
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or(0);
        let many = u64::try_from(many).unwrap_or(u64::MAX);
        self.0[stripe].0[place(count)].fetch_add(many, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, count: Count) -> u64 {
        let stripes = self.0.iter();
        stripes
            .map(|stripe| stripe.0[place(count)].load(Ordering::Relaxed))
            .sum()
    }
}

const fn place(count: Count) -> usize {
    match count {
        Count::Hit => 0,
        Count::Miss => 1,
        Count::Joined => 2,
        Count::Eviction => 3,
        Count::Invalidation => 4,
        Count::Poisoned => 5,
    }
}
