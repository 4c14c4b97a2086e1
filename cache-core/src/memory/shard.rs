//! One part of the cache, behind one lock: entries in numbered slots, an index over them, the eviction queue
//! and the deadlines.
//!
//! An entry keeps its slot until it is removed, even if its value changes. So a walk over the slots in pages,
//! with the lock released between them, sees every entry that stays.
//!
//! Not in here: the limits, the clock, the listeners.

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
    /// Whether it was read since the eviction hand last passed.
    marked: AtomicBool,
}

impl Stored {
    pub(super) fn weight(&self) -> u64 {
        weight(self.key.len(), self.value.len())
    }

    #[inline]
    pub(super) fn mark(&self) {
        // Writing only if needed keeps the cache line of a hot entry shared among cores.
        if !self.marked.load(Ordering::Relaxed) {
            self.marked.store(true, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    stored: Option<Stored>,
    /// The stamp of the valid deadline, which identifies old ones; 0 means none.
    stamp: u64,
}

/// A slot's deadline at the time it was set.
type Deadline = (Instant, usize, u64);

/// Entries, their index, queue and deadlines.
#[derive(Debug)]
pub(super) struct Shard {
    index: HashTable<usize>,
    slots: Vec<Slot>,
    /// The lowest first, so that slots at the end become free. May contain removed slots.
    free: BinaryHeap<Reverse<usize>>,
    sieve: Sieve,
    /// The earliest first. May contain deadlines that are no longer valid.
    deadlines: BinaryHeap<Reverse<Deadline>>,
    /// Never the same twice, even if a slot is removed and added again.
    last_stamp: u64,
}

/// Fewer slots than this are not worth freeing.
const KEPT_SLOTS: usize = 64;

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            free: BinaryHeap::new(),
            sieve: Sieve::new(),
            deadlines: BinaryHeap::new(),
            last_stamp: 0,
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

    /// The number of slots, used or not.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// All entries.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Stored> {
        self.slots.iter().filter_map(|slot| slot.stored.as_ref())
    }

    /// Adds an entry whose key does not exist, and returns its slot.
    pub(super) fn insert(&mut self, hash: u64, key: &str, value: Bytes, expires: Option<Instant>) -> usize {
        let slot = self.free_slot();
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
        self.index.insert_unique(hash, slot, |&slot| hash_in(slots, slot));
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
        *stamp = 0;
        if let Some(at) = expires {
            self.last_stamp += 1;
            *stamp = self.last_stamp;
            self.deadlines.push(Reverse((at, slot, *stamp)));
            // An entry whose TTL is set repeatedly leaves old deadlines behind: at most as many as entries.
            if self.deadlines.len() > 2 * self.slots.len() + 64 {
                let slots = &self.slots;
                self.deadlines
                    .retain(|Reverse(deadline)| counts(slots, *deadline));
            }
        }
    }

    /// Removes the entry from `slot`.
    pub(super) fn remove(&mut self, slot: usize) -> Option<Stored> {
        let Slot { stored, stamp } = self.slots.get_mut(slot)?;
        let stored = stored.take()?;
        *stamp = 0;
        if let Ok(entry) = self.index.find_entry(stored.hash, |&other| other == slot) {
            entry.remove();
        }
        self.sieve.remove(slot);
        self.free.push(Reverse(slot));
        self.give_back();
        Some(stored)
    }

    /// The lowest free slot, or a new one.
    fn free_slot(&mut self) -> usize {
        if let Some(Reverse(slot)) = self.free.pop()
            && slot < self.slots.len()
        {
            return slot;
        }
        // The lowest of them is beyond the end, and so are the others.
        self.free.clear();
        self.slots.push(Slot::default());
        self.slots.len() - 1
    }

    /// Removes free slots from the end, and frees memory if little of it is in use.
    fn give_back(&mut self) {
        while self.slots.last().is_some_and(|slot| slot.stored.is_none()) {
            self.slots.pop();
        }
        let slots = &self.slots;
        self.sieve.truncate(slots.len());
        if slots.capacity() <= KEPT_SLOTS || slots.len() >= slots.capacity() / 4 {
            return;
        }
        // Keeps half of it for new entries: the cost of each shrinking is paid by the entries that filled it.
        let room = (2 * slots.len()).max(KEPT_SLOTS);
        self.free.retain(|&Reverse(slot)| slot < slots.len());
        self.deadlines
            .retain(|Reverse(deadline)| counts(slots, *deadline));
        self.index.shrink_to(room, |&slot| hash_in(slots, slot));
        self.free.shrink_to(room);
        self.deadlines.shrink_to(room);
        self.sieve.shrink_to(room);
        self.slots.shrink_to(room);
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

/// The hash of the entry in an occupied slot.
fn hash_in(slots: &[Slot], slot: usize) -> u64 {
    slots[slot].stored.as_ref().map_or(0, |stored| stored.hash)
}

/// Whether a deadline is still valid for the entry in its slot.
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
    fn keys_with_equal_hashes_are_distinct() {
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
    fn only_the_latest_deadline_is_valid() {
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
    fn reused_slot_inherits_no_deadline() {
        let (mut shard, start) = (Shard::new(), now());
        let deadline = start + Duration::from_secs(1);
        let a = put(&mut shard, "a", Some(deadline));
        shard.remove(a);
        assert_eq!(put(&mut shard, "b", None), a);
        assert_eq!(shard.expired(deadline), None);
    }

    #[test]
    fn recreated_slot_inherits_no_deadline() {
        let (mut shard, start) = (Shard::new(), now());
        let at = |secs| Some(start + Duration::from_secs(secs));
        let a = put(&mut shard, "a", at(1));
        shard.remove(a);
        assert_eq!(shard.slots(), 0);
        assert_eq!(put(&mut shard, "b", at(2)), a);
        assert_eq!(shard.expired(start + Duration::from_secs(1)), None);
        assert_eq!(shard.expired(start + Duration::from_secs(2)), Some(a));
    }

    /// The shard's capacity: slots, links, free slots, index, deadlines.
    fn room(shard: &Shard) -> usize {
        [
            shard.slots.capacity(),
            shard.sieve.capacity(),
            shard.free.capacity(),
            shard.index.capacity(),
            shard.deadlines.capacity(),
        ]
        .into_iter()
        .sum()
    }

    #[test]
    fn emptied_shard_frees_memory_in_any_order() {
        let keys: Vec<String> = (0..10_000).map(|number| format!("{number:05}")).collect();
        let deadline = now() + Duration::from_secs(1);
        for order in ["oldest first", "newest first", "evicted"] {
            let mut shard = Shard::new();
            let hash = |at: usize| at as u64;
            for (at, key) in keys.iter().enumerate() {
                shard.insert(hash(at), key, Bytes::new(), Some(deadline));
            }
            let full = room(&shard);
            for at in 0..keys.len() {
                let slot = match order {
                    "oldest first" => at,
                    "newest first" => keys.len() - 1 - at,
                    _ => shard.victim(NO_SLOT).unwrap(),
                };
                assert!(shard.remove(slot).is_some(), "{order}");
                if order == "newest first" && at == keys.len() * 9 / 10 {
                    assert!(room(&shard) < full / 2, "{} of {full}", room(&shard));
                    assert_eq!(shard.find(hash(7), "00007"), Some(7));
                }
            }
            assert!(
                room(&shard) <= 10 * KEPT_SLOTS,
                "{order}: {} of {full}",
                room(&shard)
            );
            assert_eq!(shard.expired(deadline), None);
            assert_eq!(shard.insert(1, "a", Bytes::new(), None), 0, "{order}");
            assert_eq!((shard.find(1, "a"), shard.victim(NO_SLOT)), (Some(0), Some(0)));
        }
    }

    #[test]
    fn lowest_free_slot_is_used_first() {
        let mut shard = Shard::new();
        for key in ["a", "bb", "ccc", "dddd", "eeeee"] {
            put(&mut shard, key, None);
        }
        for slot in [2, 0, 4, 3] {
            shard.remove(slot);
        }
        assert_eq!(shard.slots(), 2, "those at the end are gone");
        assert_eq!(put(&mut shard, "ccc", None), 0);
        assert_eq!(put(&mut shard, "dddd", None), 2);
        assert_eq!(put(&mut shard, "eeeee", None), 3);
        assert_eq!(shard.entries().count(), 4);
    }

    #[test]
    fn repeated_sets_do_not_pile_up_deadlines() {
        let (mut shard, start) = (Shard::new(), now());
        for millis in 0..10_000 {
            put(&mut shard, "a", Some(start + Duration::from_millis(millis)));
        }
        assert!(shard.deadlines.len() <= 2 + 64, "{}", shard.deadlines.len());
    }
}
