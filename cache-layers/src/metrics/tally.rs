//! Counters that many threads can add to at the same time without contention.
//!
//! Each thread counts in its own shard (threads beyond the number of shards share them), whose cache lines no other
//! shard touches. Reading adds the shards up. No count is lost. A concurrent read may or may not include it yet.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;

use cache_core::clock::{self, Instant};

use crate::observed::Timing;

/// `N` counters.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize> {
    shards: Box<[Shard<N>]>,
}

/// Two cache lines, because processors fetch them in pairs.
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

    /// Sets a counter to zero. Concurrent counts may be lost.
    pub(crate) fn clear(&self, counter: usize) {
        for shard in &self.shards {
            shard.0[counter].store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn sum(&self, counter: usize) -> u64 {
        let each = self.shards.iter().map(|shard| &shard.0[counter]);
        each.fold(0, |sum, one| sum.wrapping_add(one.load(Ordering::Relaxed)))
    }
}

/// Picks the calls whose duration is measured, at random, so that a rhythm of the caller does not distort the sample.
#[derive(Debug)]
pub(crate) struct Sampler {
    timing: Timing,
    origin: Instant,
    shards: Box<[Pace]>,
}

/// The state of one shard of the sampler.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Pace {
    /// How many calls to skip before the next one is picked, and the average of that number.
    left: AtomicU32,
    gap: AtomicU32,
    /// The second that the following counts belong to.
    second: AtomicU64,
    picked: AtomicU32,
    passed: AtomicU32,
}

/// The gap of a shard that has picked twice its share within one second and knows no rate yet.
const FIRST_GAP: u32 = 64;

impl Sampler {
    pub(crate) fn new(timing: Timing) -> Self {
        Self {
            timing,
            origin: clock::now(),
            shards: (0..shards()).map(|_| Pace::default()).collect(),
        }
    }

    /// Returns the current time if this call is picked.
    #[inline]
    pub(crate) fn pick(&self) -> Option<Instant> {
        // Threads that share a shard may overwrite each other's update here. A gap is then a little longer.
        let pace = &self.shards[here() & (self.shards.len() - 1)];
        match pace.left.load(Ordering::Relaxed) {
            0 => Some(self.pick_now(pace)),
            more => {
                pace.left.store(more - 1, Ordering::Relaxed);
                None
            }
        }
    }

    fn pick_now(&self, pace: &Pace) -> Instant {
        let now = clock::now();
        let gap = match self.timing {
            Timing::Every => return now,
            Timing::OneIn(calls) => calls.saturating_sub(1),
            Timing::UpTo(limit) => pace.gap(now.saturating_duration_since(self.origin).as_secs(), limit),
        };
        if gap > 0 {
            // Anything from zero to twice the average.
            let gap = rand::random_range(0..=gap.saturating_mul(2));
            pace.left.store(gap, Ordering::Relaxed);
            pace.passed.fetch_add(gap, Ordering::Relaxed);
        }
        now
    }
}

impl Pace {
    /// Returns the gap at `second` with which about `limit` calls are picked per second, by the rate of the last
    /// second.
    fn gap(&self, second: u64, limit: u32) -> u32 {
        let limit = limit.max(1);
        if self.second.swap(second, Ordering::Relaxed) != second {
            let calls = self
                .picked
                .swap(0, Ordering::Relaxed)
                .saturating_add(self.passed.swap(0, Ordering::Relaxed));
            self.gap
                .store((calls / limit).saturating_sub(1), Ordering::Relaxed);
        }
        let picked = self.picked.fetch_add(1, Ordering::Relaxed);
        let gap = self.gap.load(Ordering::Relaxed);
        if picked < limit.saturating_mul(2) {
            gap
        } else {
            gap.saturating_mul(2).max(FIRST_GAP)
        }
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
    // A thread that is about to end has no number any more, and may use any shard.
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
        let sampler = Sampler::new(Timing::OneIn(16));
        let picked: Vec<u32> = (0..160_000).filter(|_| sampler.pick().is_some()).collect();
        assert!((9_000..11_000).contains(&picked.len()), "{}", picked.len());
        // If a caller alternates between two calls, both are picked equally often.
        let even = picked.iter().filter(|&call| call % 2 == 0).count();
        assert!((4_000..6_000).contains(&even), "{even}");
        assert!((0..100).all(|_| Sampler::new(Timing::Every).pick().is_some()));
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_calls_about_so_many_are_picked_in_every_second_and_of_few_all() {
        let sampler = Sampler::new(Timing::UpTo(1_000));
        let second = |calls: u32| (0..calls).filter(|_| sampler.pick().is_some()).count();
        assert_eq!(second(900), 900);
        let mut picked = Vec::new();
        for _ in 0..10 {
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            picked.push(second(100_000));
        }
        // The first busy second has no rate to go by.
        assert!(picked[0] <= 4_000, "{picked:?}");
        assert!(
            picked[2..].iter().all(|picked| (600..=1_500).contains(picked)),
            "{picked:?}"
        );
        for _ in 0..2 {
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            second(500);
        }
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(second(500), 500);
    }
}
