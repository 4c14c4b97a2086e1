//! A fair sample of a stream whose length nobody knows beforehand.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Keeps `size` of the items that it is shown, each with the same chance, in bounded memory.
#[derive(Debug)]
pub(super) struct Reservoir {
    size: usize,
    seen: u64,
    kept: Vec<Bytes>,
    random: SmallRng,
}

impl Reservoir {
    pub(super) fn new(size: usize) -> Self {
        Self::seeded(size, rand::rng().random())
    }

    fn seeded(size: usize, seed: u64) -> Self {
        Self {
            size,
            seen: 0,
            kept: Vec::new(),
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// An empty one of the same size.
    pub(super) fn like(&self) -> Self {
        Self::new(self.size)
    }

    /// Takes in the sample of another stream, as if its items had been shown to this one.
    pub(super) fn merge(&mut self, mut other: Self) {
        let seen = self.seen + other.seen;
        let mut drawn = Vec::new();
        while drawn.len() < self.size && self.seen + other.seen > 0 {
            let all = self.seen + other.seen;
            let from = if self.random.random_range(0..all) < self.seen {
                &mut *self
            } else {
                &mut other
            };
            from.seen -= 1;
            let kept = from.kept.len();
            if kept > 0 {
                let item = from.kept.swap_remove(from.random.random_range(0..kept));
                // A slot that moved meanwhile is met twice.
                if !drawn.contains(&item) {
                    drawn.push(item);
                }
            }
        }
        self.kept = drawn;
        self.seen = seen;
    }

    /// Shows it one more item. One that it holds already is not taken again: servers may list a key twice.
    pub(super) fn offer(&mut self, item: &Bytes) {
        self.seen += 1;
        if self.kept.len() < self.size {
            if self.kept.contains(item) {
                self.seen -= 1;
            } else {
                self.kept.push(copy(item));
            }
            return;
        }
        let place = self.random.random_range(0..self.seen);
        if let Some(kept) = usize::try_from(place)
            .ok()
            .filter(|place| *place < self.kept.len() && !self.kept.contains(item))
            .and_then(|place| self.kept.get_mut(place))
        {
            *kept = copy(item);
        }
    }

    /// The sample, in no order that means anything.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.kept)
    }
}

/// A copy of its own: an item may be a window into a page that must not be kept alive.
fn copy(item: &Bytes) -> Bytes {
    Bytes::copy_from_slice(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_stream_is_kept_whole() {
        let mut sample = Reservoir::seeded(5, 1);
        for item in ["a", "b", "c"] {
            sample.offer(&Bytes::from(item));
        }
        assert_eq!(sample.take(), ["a", "b", "c"]);
        let mut none = Reservoir::seeded(0, 1);
        none.offer(&Bytes::from("a"));
        assert!(none.take().is_empty());
    }

    /// The same of two streams of 20 and 80, sampled apart and put together.
    #[test]
    fn every_item_of_merged_streams_has_the_same_chance() {
        let mut times = [0_u32; 100];
        for seed in 0..2_000 {
            let mut all = Reservoir::seeded(10, seed);
            for (number, items) in [(1, 0..20_u8), (2, 20..100)] {
                let mut part = Reservoir::seeded(10, seed + number * 10_000);
                for item in items {
                    part.offer(&Bytes::copy_from_slice(&[item]));
                }
                all.merge(part);
            }
            let sample = all.take();
            assert_eq!(sample.len(), 10);
            for item in sample {
                times[usize::from(item[0])] += 1;
            }
        }
        for (item, times) in times.iter().enumerate() {
            assert!((130..=270).contains(times), "item {item} was drawn {times} times");
        }
    }

    /// 2,000 samples of 10 out of 100: every item is expected 200 times, with a deviation of 13.4.
    #[test]
    fn every_item_has_the_same_chance() {
        let mut times = [0_u32; 100];
        for seed in 0..2_000 {
            let mut sample = Reservoir::seeded(10, seed);
            for item in 0..100_u8 {
                sample.offer(&Bytes::copy_from_slice(&[item]));
            }
            for item in sample.take() {
                times[usize::from(item[0])] += 1;
            }
        }
        for (item, times) in times.iter().enumerate() {
            assert!((130..=270).contains(times), "item {item} was drawn {times} times");
        }
    }
}
