//! How a selection is asked of a shard: which pattern goes to the server, and where its walks begin and end.

use cache_core::{Asked, Pattern};

use super::Selection;
use crate::SlotSet;
use crate::keys::{KeyType, Shard};

/// A gap of so many slots is walked over: one call more would cost more.
const NEAR: u16 = 16;

/// How a selection is asked.
#[derive(Debug)]
pub(super) struct Plan {
    selection: Selection,
    /// What every key matches that any of the patterns matches, and whether no other key does.
    whole: Asked,
    /// The slot of each pattern, where each has one.
    pinned: Option<Vec<u16>>,
}

/// One walk over a shard.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// What the server is asked for.
    pub(super) pattern: Pattern,
    /// Whether the server lists no other keys.
    is_exact: bool,
    /// Which of the patterns it is for; `None` is all.
    only: Option<usize>,
    pub(super) start: u64,
    /// The last slot, where the shard goes slot by slot.
    pub(super) end: Option<u16>,
}

impl Walk {
    /// Whether it ends before `slot`.
    pub(super) fn is_past(&self, slot: Option<u16>) -> bool {
        matches!((slot, self.end), (Some(slot), Some(end)) if slot > end)
    }

    /// Whether it is one of walks that meet all slots in ascending order.
    pub(super) const fn goes_through(&self) -> bool {
        self.only.is_none() && self.end.is_some()
    }
}

impl Plan {
    pub(super) fn new(selection: Selection) -> Self {
        let patterns = selection.patterns();
        Self {
            whole: whole(patterns),
            pinned: patterns.iter().map(Pattern::slot).collect(),
            selection,
        }
    }

    pub(super) const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// What every key matches that is asked for.
    pub(super) const fn whole(&self) -> &Asked {
        &self.whole
    }

    /// What every key begins with that is asked for.
    pub(super) fn prefix(&self) -> &[u8] {
        self.whole.pattern.literal_prefix()
    }

    /// Each pattern with its slot, where each has one.
    pub(super) fn pinned(&self) -> Option<impl Iterator<Item = (u16, &Pattern)>> {
        let slots = self.pinned.as_ref()?;
        Some(slots.iter().copied().zip(self.selection.patterns()))
    }

    /// The slots of the patterns, where each has one.
    pub(super) fn slots(&self) -> Option<SlotSet> {
        let slots = self.pinned.as_ref()?;
        Some(slots.iter().map(|slot| *slot..=*slot).collect())
    }

    pub(super) fn kind(&self) -> Option<KeyType> {
        self.selection.filter().only_type()
    }

    /// The walks over `shard` that meet every key of the slots `due` that is asked for.
    pub(super) fn walks(
        &self,
        shard: &dyn Shard,
        due: &SlotSet,
        clustered: bool,
        in_order: bool,
    ) -> Vec<Walk> {
        let from = |slot| shard.start_of(slot).filter(|_| in_order && clustered);
        if from(0).is_none() {
            return vec![self.walk(0, None)];
        }
        let walk =
            |range: std::ops::RangeInclusive<u16>| Some(self.walk(from(*range.start())?, Some(*range.end())));
        match &self.pinned {
            None => joined(due).into_iter().filter_map(walk).collect(),
            Some(slots) => slots
                .iter()
                .zip(self.selection.patterns())
                .enumerate()
                .filter(|(_, (slot, _))| due.contains(**slot))
                .filter_map(|(index, (slot, pattern))| {
                    let Asked { pattern, is_exact } = pattern.asked();
                    Some(Walk {
                        pattern,
                        is_exact,
                        only: Some(index),
                        start: from(*slot)?,
                        end: Some(*slot),
                    })
                })
                .collect(),
        }
    }

    fn walk(&self, start: u64, end: Option<u16>) -> Walk {
        Walk {
            pattern: self.whole.pattern.clone(),
            is_exact: self.whole.is_exact,
            only: None,
            start,
            end,
        }
    }

    /// Whether `key`, which `walk` has listed, is to be dealt with in it.
    pub(super) fn takes(&self, walk: &Walk, key: &[u8]) -> bool {
        let patterns = self.selection.patterns();
        match walk.only {
            // Each key in the first walk only that would list it.
            Some(index) => {
                let is_own = walk.is_exact || patterns.get(index).is_some_and(|own| own.matches(key));
                let before = patterns.get(..index).unwrap_or_default();
                is_own && before.iter().all(|pattern| !pattern.matches(key))
            }
            // The server has matched it already.
            None => walk.is_exact || self.selection.matches(key),
        }
    }
}

/// The narrowest pattern that we know of which matches whatever one of `patterns` does.
fn whole(patterns: &[Pattern]) -> Asked {
    let wider = |pattern| Asked {
        pattern,
        is_exact: false,
    };
    let [first, others @ ..] = patterns else {
        return wider(Pattern::all());
    };
    if others.is_empty() {
        return first.asked();
    }
    let common = others.iter().fold(first.literal_prefix(), |common, pattern| {
        let same = common
            .iter()
            .zip(pattern.literal_prefix())
            .take_while(|(one, two)| one == two);
        &common[..same.count()]
    });
    // An empty prefix is every key, and one that is too long when escaped is no loss.
    wider(Pattern::prefix(common).unwrap_or_else(|_| Pattern::all()))
}

/// The ranges of `slots`, those that are near each other as one.
fn joined(slots: &SlotSet) -> Vec<std::ops::RangeInclusive<u16>> {
    let mut joined: Vec<std::ops::RangeInclusive<u16>> = Vec::new();
    for range in slots.ranges() {
        match joined.last_mut() {
            Some(last) if range.start() - last.end() <= NEAR => *last = *last.start()..=*range.end(),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(patterns: &[&str]) -> Plan {
        let patterns = patterns.iter().map(|text| Pattern::new(*text).unwrap());
        Plan::new(Selection::any_of(patterns).unwrap())
    }

    #[test]
    fn several_patterns_are_asked_by_what_they_begin_with() {
        let asked = |patterns: &[&str]| plan(patterns).whole.pattern.as_bytes().to_vec();
        assert_eq!(asked(&["app:*:x"]), b"app:*:x");
        assert_eq!(asked(&["app:a*", "app:b?"]), b"app:*");
        assert_eq!(asked(&["app:a*", "users:*"]), b"*");
        assert_eq!(asked(&["a\\*b:*", "a\\*c:*"]), b"a\\**");
    }

    #[test]
    fn a_costly_pattern_is_asked_by_its_prefix_and_filtered_here() {
        let costly = plan(&["app:*long-enough-to-be-slow"]);
        let walk = costly.walk(0, None);
        assert_eq!(walk.pattern.as_bytes(), b"app:*");
        assert!(costly.takes(&walk, b"app:1:long-enough-to-be-slow"));
        assert!(!costly.takes(&walk, b"app:1:other"));
    }

    #[test]
    fn slots_are_pinned_only_where_every_pattern_pins_one() {
        assert_eq!(
            plan(&["{a}:*", "{b}:*"]).slots().map(|slots| slots.len()),
            Some(2)
        );
        assert_eq!(plan(&["{a}:*", "b:*"]).slots(), None);
    }

    #[test]
    fn slots_that_are_near_each_other_are_one_walk() {
        let slots: SlotSet = [0..=9, 20..=20, 100..=100].into_iter().collect();
        assert_eq!(joined(&slots), [0..=20, 100..=100]);
    }
}
