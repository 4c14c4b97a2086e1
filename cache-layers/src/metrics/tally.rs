//! Counters that many threads count at once without getting in each other's way.
//!
//! Each thread counts in a shard of its own (threads beyond the number of shards share them), whose cache
//! lines no other shard touches. Reading adds the shards up. What is counted is never lost; a sum that is
//! read meanwhile may or may not have it yet.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;

/// `N` counters.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize> {
    shards: Box<[Shard<N>]>,
}

/// Two cache lines, since processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Shard<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        let shard = || Shard(std::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            shards: (0..shards()).map(|_| shard()).collect(),
        }
    }
}

impl<const N: usize> Tally<N> {
    #[inline]
    pub(crate) fn add(&self, counter: usize, much: u64) {
        self.shards[here() & (self.shards.len() - 1)].0[counter].fetch_add(much, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self, counter: usize) -> u64 {
        let each = self.shards.iter().map(|shard| &shard.0[counter]);
        each.fold(0, |sum, one| sum.wrapping_add(one.load(Ordering::Relaxed)))
    }
}

/// Picks one call in so many, by chance, so that no rhythm of the caller's can hide from it.
#[derive(Debug)]
pub(crate) struct Sampler {
    one_in: u32,
    shards: Box<[Countdown]>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Countdown(AtomicU32);

impl Sampler {
    /// Picks all calls where `one_in` is 1 (or 0).
    pub(crate) fn new(one_in: u32) -> Self {
        Self {
            one_in,
            shards: (0..shards()).map(|_| Countdown::default()).collect(),
        }
    }

    /// Whether this call is picked.
    #[inline]
    pub(crate) fn picks(&self) -> bool {
        if self.one_in <= 1 {
            return true;
        }
        // Threads that share a shard may step over each other here: a gap is a little longer then.
        let left = &self.shards[here() & (self.shards.len() - 1)].0;
        match left.load(Ordering::Relaxed) {
            0 => {
                left.store(self.gap(), Ordering::Relaxed);
                true
            }
            more => {
                left.store(more - 1, Ordering::Relaxed);
                false
            }
        }
    }

    /// How many calls to let pass: anything from none to twice what they are on average.
    #[cold]
    fn gap(&self) -> u32 {
        rand::random_range(0..=(self.one_in - 1).saturating_mul(2))
    }
}

/// A power of two, so that a mask picks the shard.
fn shards() -> usize {
    let threads = available_parallelism().map_or(8, usize::from);
    threads.next_power_of_two().clamp(2, 64)
}

/// The number of this thread.
#[inline]
fn here() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    // A thread that is coming to its end has no number any more, and may use any shard.
    NUMBER
        .try_with(|number| {
            if number.get() == usize::MAX {
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            number.get()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_many_threads_count_at_once_is_lost() {
        let tally = Tally::<3>::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10_000).for_each(|_| tally.add(1, 2)));
            }
        });
        assert_eq!([0, 1, 2].map(|counter| tally.sum(counter)), [0, 160_000, 0]);
    }

    #[test]
    fn one_call_in_so_many_is_picked_and_not_by_a_rhythm() {
        let sampler = Sampler::new(16);
        let picked: Vec<u32> = (0..160_000).filter(|_| sampler.picks()).collect();
        assert!((9_000..11_000).contains(&picked.len()), "{}", picked.len());
        // Of a caller who alternates between two calls, both are seen alike.
        let even = picked.iter().filter(|&call| call % 2 == 0).count();
        assert!((4_000..6_000).contains(&even), "{even}");
        assert!((0..100).all(|_| Sampler::new(1).picks()));
    }
}
