//! Selects the entry to evict: SIEVE.
//!
//! Zhang, Yang, Yue, Vigfusson, Rashmi: "SIEVE is Simpler than LRU: an Efficient Turn-Key Eviction Algorithm
//! for Web Caches", NSDI 2024. Entries are queued in the order in which they were stored. A hit only sets a
//! mark, so readers need no exclusive lock. A hand moves from the oldest to the newest, clears marks and
//! evicts the first entry without one. Entries that are read once leave soon; entries that are read again
//! stay.
//!
//! Not in here: the entries and their marks; this is the queue of their slots.

const NONE: usize = usize::MAX;

/// The queue and the hand.
#[derive(Debug)]
pub(super) struct Sieve {
    links: Vec<Link>,
    newest: usize,
    oldest: usize,
    hand: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    newer: usize,
    older: usize,
}

impl Sieve {
    pub(super) const fn new() -> Self {
        Self {
            links: Vec::new(),
            newest: NONE,
            oldest: NONE,
            hand: NONE,
        }
    }

    /// Adds `slot`, which is not in the queue, as the newest. Slots are numbered without gaps.
    pub(super) fn push(&mut self, slot: usize) {
        let link = Link {
            newer: NONE,
            older: self.newest,
        };
        if slot == self.links.len() {
            self.links.push(link);
        } else {
            self.links[slot] = link;
        }
        if self.newest == NONE {
            self.oldest = slot;
        } else {
            self.links[self.newest].newer = slot;
        }
        self.newest = slot;
    }

    /// Removes `slot` from the queue.
    pub(super) fn remove(&mut self, slot: usize) {
        let Link { newer, older } = self.links[slot];
        if newer == NONE {
            self.newest = older;
        } else {
            self.links[newer].older = older;
        }
        if older == NONE {
            self.oldest = newer;
        } else {
            self.links[older].newer = newer;
        }
        if self.hand == slot {
            self.hand = newer;
        }
    }

    /// Drops the slots from `slots` on, none of which is in the queue.
    pub(super) fn truncate(&mut self, slots: usize) {
        self.links.truncate(slots);
    }

    /// Frees memory, down to a capacity of `slots`.
    pub(super) fn shrink_to(&mut self, slots: usize) {
        self.links.shrink_to(slots);
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.links.capacity()
    }

    /// The slot to evict, which stays in the queue until it is removed; never `spare`.
    ///
    /// `take_mark` clears a slot's mark and returns whether there was one.
    pub(super) fn victim(&mut self, spare: usize, take_mark: impl Fn(usize) -> bool) -> Option<usize> {
        if self.oldest == NONE || (self.oldest == spare && self.newest == spare) {
            return None;
        }
        // The second round finds one at the latest: the first clears all marks.
        loop {
            let slot = if self.hand == NONE { self.oldest } else { self.hand };
            if slot != spare && !take_mark(slot) {
                self.hand = slot;
                return Some(slot);
            }
            self.hand = self.links[slot].newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashSet;

    use super::*;

    struct Queue(Sieve, RefCell<HashSet<usize>>);

    impl Queue {
        fn of(slots: usize, marked: &[usize]) -> Self {
            let mut sieve = Sieve::new();
            (0..slots).for_each(|slot| sieve.push(slot));
            Self(sieve, RefCell::new(marked.iter().copied().collect()))
        }

        fn evict(&mut self, spare: usize) -> Option<usize> {
            let victim = self.0.victim(spare, |slot| self.1.borrow_mut().remove(&slot))?;
            self.0.remove(victim);
            Some(victim)
        }
    }

    #[test]
    fn oldest_unmarked_goes_first_and_the_hand_continues() {
        let mut queue = Queue::of(5, &[0, 2]);
        assert_eq!(queue.evict(NONE), Some(1));
        assert_eq!(queue.evict(NONE), Some(3), "2 has lost its mark and is passed");
        assert_eq!(queue.evict(NONE), Some(4));
        assert_eq!(queue.evict(NONE), Some(0), "the hand begins anew at the oldest");
        assert_eq!(queue.evict(NONE), Some(2));
        assert_eq!(queue.evict(NONE), None);
    }

    #[test]
    fn all_marked_evicts_the_oldest_in_round_two() {
        let mut queue = Queue::of(3, &[0, 1, 2]);
        assert_eq!(queue.evict(NONE), Some(0));
    }

    #[test]
    fn new_entry_is_spared() {
        let mut queue = Queue::of(2, &[]);
        assert_eq!(queue.evict(0), Some(1));
        assert_eq!(queue.evict(0), None);
        assert_eq!(queue.evict(NONE), Some(0));
    }

    #[test]
    fn removal_under_the_hand_moves_it_to_the_next_newer() {
        let mut queue = Queue::of(4, &[]);
        assert_eq!(queue.0.victim(NONE, |_| false), Some(0));
        queue.0.remove(0);
        queue.0.remove(1);
        queue.0.push(1);
        assert_eq!(queue.evict(NONE), Some(2));
        assert_eq!(queue.evict(NONE), Some(3));
        assert_eq!(queue.evict(NONE), Some(1));
    }
}
