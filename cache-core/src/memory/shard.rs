//! One part of the cache, behind one lock: entries in numbered slots, an index over them, the eviction
//! queue and the deadlines.
//!
//! An entry keeps its slot as long as it lives, also when its value changes. So a walk over the slots
//! in pages, with the lock given back between them, sees every entry that stays.
//!
//! Not in here: the bounds, the clock, who is told of changes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hashbrown::HashTable;

use super::bounds::weight;
use super::sieve::Sieve;
use crate::clock::Instant;

/// No slot at all.
pub(super) const NO_SLOT: usize = usize::MAX;

/// A stored entry.
#[derive(Debug)]
pub(super) struct Stored {
    hash: u64,
    pub(super) key: Box<str>,
    pub(super) value: Bytes,
    pub(super) expires: Option<Instant>,
    /// Read since the eviction's hand last passed.
    marked: AtomicBool,
}

impl Stored {
    pub(super) fn weight(&self) -> u64 {
        weight(self.key.len(), self.value.len())
    }

    #[inline]
    pub(super) fn mark(&self) {
        // To write only where needed keeps the line of a hot entry shared among the cores.
        if !self.marked.load(Ordering::Relaxed) {
            self.marked.store(true, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    stored: Option<Stored>,
    /// Changes with each deadline, so that the old ones are known as such.
    stamp: u32,
}

/// A slot's deadline, as it was set.
type Deadline = (Instant, usize, u32);

/// Entries, their index, queue and deadlines.
#[derive(Debug)]
pub(super) struct Shard {
    index: HashTable<usize>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    sieve: Sieve,
    /// The soonest first. May hold deadlines that no longer count.
    deadlines: BinaryHeap<Reverse<Deadline>>,
}

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sieve: Sieve::new(),
            deadlines: BinaryHeap::new(),
        }
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &str) -> Option<usize> {
        let is_it = |&slot: &usize| self.at(slot).is_some_and(|stored| *stored.key == *key);
        self.index.find(hash, is_it).copied()
    }

    #[inline]
    pub(super) fn at(&self, slot: usize) -> Option<&Stored> {
        self.slots.get(slot)?.stored.as_ref()
    }

    #[inline]
    pub(super) fn get(&self, hash: u64, key: &str) -> Option<&Stored> {
        self.at(self.find(hash, key)?)
    }

    /// How many slots there are, used or not.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// All entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Stored> {
        self.slots.iter().filter_map(|slot| slot.stored.as_ref())
    }

    /// Adds an entry whose key is not there; its slot.
    pub(super) fn insert(&mut self, hash: u64, key: &str, value: Bytes, expires: Option<Instant>) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let stored = Stored {
            hash,
            key: key.into(),
            value,
            expires: None,
            marked: AtomicBool::new(false),
        };
        self.slots[slot].stored = Some(stored);
        self.set_deadline(slot, expires);
        self.sieve.push(slot);
        let slots = &self.slots;
        let hash_of = |&slot: &usize| slots[slot].stored.as_ref().map_or(0, |stored| stored.hash);
        self.index.insert_unique(hash, slot, hash_of);
        slot
    }

    /// Replaces the value and the deadline of the entry in `slot`.
    pub(super) fn replace(&mut self, slot: usize, value: Bytes, expires: Option<Instant>) {
        if let Some(stored) = &mut self.slots[slot].stored {
            stored.value = value;
            stored.mark();
        }
        self.set_deadline(slot, expires);
    }

    /// Replaces the deadline of the entry in `slot`.
    pub(super) fn set_deadline(&mut self, slot: usize, expires: Option<Instant>) {
        let Slot {
            stored: Some(stored),
            stamp,
        } = &mut self.slots[slot]
        else {
            return;
        };
        if stored.expires == expires {
            return;
        }
        stored.expires = expires;
        *stamp = stamp.wrapping_add(1);
        if let Some(at) = expires {
            self.deadlines.push(Reverse((at, slot, *stamp)));
            // An entry that is set over and over leaves old deadlines behind: not more than entries.
            if self.deadlines.len() > 2 * self.slots.len() + 64 {
                let slots = &self.slots;
                self.deadlines
                    .retain(|Reverse(deadline)| counts(slots, *deadline));
            }
        }
    }

    /// Takes the entry out of `slot`.
    pub(super) fn remove(&mut self, slot: usize) -> Option<Stored> {
        let Slot { stored, stamp } = self.slots.get_mut(slot)?;
        let stored = stored.take()?;
        *stamp = stamp.wrapping_add(1);
        if let Ok(entry) = self.index.find_entry(stored.hash, |&other| other == slot) {
            entry.remove();
        }
        self.sieve.remove(slot);
        self.free.push(slot);
        Some(stored)
    }

    /// The slot of an entry that has expired, if there is one.
    pub(super) fn expired(&mut self, now: Instant) -> Option<usize> {
        while let Some(&Reverse(deadline)) = self.deadlines.peek() {
            if deadline.0 > now {
                return None;
            }
            self.deadlines.pop();
            if counts(&self.slots, deadline) {
                return Some(deadline.1);
            }
        }
        None
    }

    /// The slot of the entry to evict; never `spare`.
    pub(super) fn victim(&mut self, spare: usize) -> Option<usize> {
        let slots = &self.slots;
        self.sieve.victim(spare, |slot| {
            slots[slot]
                .stored
                .as_ref()
                .is_some_and(|stored| stored.marked.swap(false, Ordering::Relaxed))
        })
    }
}

/// Whether a deadline is still the one of the entry in its slot.
fn counts(slots: &[Slot], (_, slot, stamp): Deadline) -> bool {
    slots.get(slot).is_some_and(|slot| slot.stamp == stamp)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::now;

    fn put(shard: &mut Shard, key: &str, expires: Option<Instant>) -> usize {
        let hash = key.len() as u64;
        match shard.find(hash, key) {
            Some(slot) => {
                shard.replace(slot, Bytes::new(), expires);
                slot
            }
            None => shard.insert(hash, key, Bytes::new(), expires),
        }
    }

    #[test]
    fn keys_of_the_same_hash_are_told_apart() {
        let mut shard = Shard::new();
        let (a, b) = (put(&mut shard, "a", None), put(&mut shard, "b", None));
        assert_eq!(
            (shard.find(1, "a"), shard.find(1, "b"), shard.find(1, "c")),
            (Some(a), Some(b), None)
        );
        shard.remove(a);
        assert_eq!((shard.find(1, "a"), shard.find(1, "b")), (None, Some(b)));
    }

    #[test]
    fn only_the_deadline_that_was_set_last_counts() {
        let (mut shard, start) = (Shard::new(), now());
        let at = |secs| Some(start + Duration::from_secs(secs));
        let a = put(&mut shard, "a", at(1));
        put(&mut shard, "a", at(3));
        put(&mut shard, "bb", at(2));
        put(&mut shard, "bb", None);
        assert_eq!(shard.expired(start + Duration::from_secs(2)), None);
        assert_eq!(shard.expired(start + Duration::from_secs(3)), Some(a));
    }

    #[test]
    fn a_slot_that_is_used_again_does_not_inherit_a_deadline() {
        let (mut shard, start) = (Shard::new(), now());
        let deadline = start + Duration::from_secs(1);
        let a = put(&mut shard, "a", Some(deadline));
        shard.remove(a);
        assert_eq!(put(&mut shard, "b", None), a);
        assert_eq!(shard.expired(deadline), None);
    }

    #[test]
    fn deadlines_of_an_entry_that_is_set_over_and_over_do_not_pile_up() {
        let (mut shard, start) = (Shard::new(), now());
        for millis in 0..10_000 {
            put(&mut shard, "a", Some(start + Duration::from_millis(millis)));
        }
        assert!(shard.deadlines.len() <= 2 + 64, "{}", shard.deadlines.len());
    }
}
