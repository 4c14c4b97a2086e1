//! A set of cluster slots.

use std::fmt;
use std::ops::RangeInclusive;

use cache_core::slot::SLOTS;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const WORDS: usize = SLOTS as usize / 64;

/// A set of cluster slots, 2 KiB whatever is in it; shown, and serialised as first and last, as ranges.
///
/// ```
/// use cache_admin::SlotSet;
///
/// let slots: SlotSet = [0..=99, 200..=200].into_iter().collect();
/// assert_eq!(slots.len(), 101);
/// assert_eq!(slots.to_string(), "0-99, 200");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Box<[u64; WORDS]>);

impl SlotSet {
    /// No slot.
    #[must_use]
    pub fn new() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// Every slot there is.
    #[must_use]
    pub fn all() -> Self {
        Self(Box::new([u64::MAX; WORDS]))
    }

    /// Takes `slot` in. A number that is no slot (16,384 and more) is ignored.
    pub fn insert(&mut self, slot: u16) {
        if let Some(word) = self.0.get_mut(usize::from(slot / 64)) {
            *word |= 1 << (slot % 64);
        }
    }

    /// Whether `slot` is in the set.
    #[must_use]
    pub fn contains(&self, slot: u16) -> bool {
        self.0
            .get(usize::from(slot / 64))
            .is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    /// How many slots are in the set.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether the two sets have a slot in common.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0.iter()).any(|(one, two)| one & two != 0)
    }

    /// The slots that are in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut common = self.clone();
        for (one, two) in common.0.iter_mut().zip(other.0.iter()) {
            *one &= two;
        }
        common
    }

    /// The slots that are in either.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        for (one, two) in joined.0.iter_mut().zip(other.0.iter()) {
            *one |= two;
        }
        joined
    }

    /// Those of the slots that come before `end`.
    #[must_use]
    pub fn below(&self, end: u16) -> Self {
        let mut below = self.clone();
        for (word, first) in below.0.iter_mut().zip((0_u32..).step_by(64)) {
            let bits = u32::from(end).saturating_sub(first);
            if bits < 64 {
                *word &= (1 << bits) - 1;
            }
        }
        below
    }

    /// The slots in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let words = (0_u16..).step_by(64).zip(self.0.iter());
        words.filter(|(_, word)| **word != 0).flat_map(|(first, word)| {
            (0..64)
                .filter(move |bit| word & (1 << bit) != 0)
                .map(move |bit| first + bit)
        })
    }

    /// The slots as ranges, ascending, as few as there can be.
    #[must_use]
    pub fn ranges(&self) -> Vec<RangeInclusive<u16>> {
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for slot in self.iter() {
            match ranges.last_mut() {
                Some(last) if *last.end() + 1 == slot => *last = *last.start()..=slot,
                _ => ranges.push(slot..=slot),
            }
        }
        ranges
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        Self::new()
    }
}

impl Extend<RangeInclusive<u16>> for SlotSet {
    fn extend<I: IntoIterator<Item = RangeInclusive<u16>>>(&mut self, ranges: I) {
        for slot in ranges.into_iter().flatten() {
            self.insert(slot);
        }
    }
}

impl FromIterator<RangeInclusive<u16>> for SlotSet {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u16>>>(ranges: I) -> Self {
        let mut slots = Self::new();
        slots.extend(ranges);
        slots
    }
}

impl Serialize for SlotSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ranges().iter().map(|range| (range.start(), range.end())))
    }
}

impl<'de> Deserialize<'de> for SlotSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ranges = Vec::<(u16, u16)>::deserialize(deserializer)?;
        Ok(ranges.into_iter().map(|(first, last)| first..=last).collect())
    }
}

impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges().iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_slot_are_slots_and_nothing_beyond() {
        let mut slots = SlotSet::new();
        for slot in [0, 63, 64, 16_383, 16_384, u16::MAX] {
            slots.insert(slot);
        }
        assert_eq!(slots.to_string(), "0, 63-64, 16383");
        assert!(!slots.contains(16_384) && !slots.contains(u16::MAX));
        assert_eq!(SlotSet::all().ranges(), [0..=16_383]);
        assert_eq!(SlotSet::all().len(), u32::from(SLOTS));
    }

    proptest::proptest! {
        #[test]
        fn ranges_give_back_the_set_that_they_came_from(picked in proptest::collection::vec(0..SLOTS, 0..200)) {
            let slots: SlotSet = picked.iter().map(|slot| *slot..=*slot).collect();
            let again: SlotSet = slots.ranges().into_iter().collect();
            proptest::prop_assert_eq!(&slots, &again);
            let middle = picked.first().copied().unwrap_or(64);
            let below = slots.below(middle);
            proptest::prop_assert!(slots.iter().all(|slot| below.contains(slot) == (slot < middle)));
            let above: SlotSet = (middle..SLOTS).map(|slot| slot..=slot).collect();
            proptest::prop_assert_eq!(&below.joined(&slots.common(&above)), &slots);
            let text = serde_json::to_string(&slots).expect("as JSON");
            let read: SlotSet = serde_json::from_str(&text).expect("as a set");
            proptest::prop_assert_eq!(&slots, &read);
            proptest::prop_assert!(picked.iter().all(|slot| again.contains(*slot)));
        }
    }
}
