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

    /// Shows it one more item.
    pub(super) fn offer(&mut self, item: &Bytes) {
        self.seen += 1;
        if self.kept.len() < self.size {
            self.kept.push(copy(item));
            return;
        }
        let place = self.random.random_range(0..self.seen);
        if let Some(kept) = usize::try_from(place)
            .ok()
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
