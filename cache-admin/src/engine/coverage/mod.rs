//! Which slots have been visited, and under which primary.
//!
//! A visit counts only for the primary that served the slot then: the keys of a slot that moved in the
//! meantime may have moved past the visit. One that moved and came back looks as if it had stayed; but whoever is
//! given a slot by another owner has a greater epoch from then on. So a visit counts only where its owner has the
//! same epoch after it as before. That voids the visit alone and not those before it, of which the same was
//! shown; and a primary that is given one slot after the other has a new epoch only where another one was given a
//! slot in between, so that the move of many slots does not void everything. Where keys may hop to other primaries, a slot is done only once
//! all of these were swept after its first visit, or once its owner said that it gives nothing away.
//!
//! Not in here: what is reported of the slots that are left ([`gaps`]).

mod gaps;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cache_core::CacheError;
use cache_core::slot::SLOTS;

use crate::SlotSet;

/// Which slots have been visited, and under which primary.
///
/// Outside of a cluster there is one place, slot 0, which stands for every key.
#[derive(Debug)]
pub(super) struct Coverage {
    places: Vec<Place>,
    owners: Vec<Owner>,
    clustered: bool,
    needed: u8,
    /// Whether keys may be on their way to other primaries, so that these are part of the proof.
    wide: bool,
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// Whether the run is about this slot at all.
    wanted: bool,
    /// The owner's index.
    owner: Option<u16>,
    /// Complete visits under this owner.
    visits: u8,
    /// Those of them after which the owner still had the epoch that it had before.
    proven: u8,
    /// The pass of the first of these.
    first: u32,
    /// After that visit the owner said that it gives nothing of it away.
    settled: bool,
    /// Visited at some time, under whatever owner.
    seen: bool,
    /// The owner pointed elsewhere for keys of it when it was last visited.
    restless: bool,
}

#[derive(Debug)]
struct Owner {
    address: Arc<str>,
    error: Option<CacheError>,
    serves: bool,
    /// What it had when the layout was last asked for.
    epoch: Option<u64>,
    /// The last pass in which it was swept to the end; 0 is never.
    swept: u32,
}

/// Who serves what, and under which epoch.
pub(super) type Serves<'a> = (&'a Arc<str>, &'a SlotSet, Option<u64>);

/// Visits that turned out not to count.
#[derive(Debug, Default)]
pub(super) struct Void {
    /// The slots that have another owner.
    pub(super) moved: SlotSet,
    /// There are others, which may have been away meanwhile.
    pub(super) doubtful: bool,
}

impl Coverage {
    /// Nothing visited so far. `only` are the slots of a cluster that the run is about, `None` is all;
    /// `needed` is the number of visits after which a slot is done.
    pub(super) fn new(clustered: bool, only: Option<&SlotSet>, needed: u8) -> Self {
        let count = if clustered { SLOTS } else { 1 };
        let places = (0..count)
            .map(|slot| Place {
                wanted: !clustered || only.is_none_or(|only| only.contains(slot)),
                ..Place::default()
            })
            .collect();
        Self {
            places,
            owners: Vec::new(),
            clustered,
            needed,
            wide: false,
        }
    }

    /// Whether every primary that serves is part of the proof of every slot.
    pub(super) const fn is_wide(&self) -> bool {
        self.wide
    }

    /// From now on every primary that serves is part of the proof of every slot.
    pub(super) const fn widen(&mut self) {
        self.wide = true;
    }

    /// Takes in who serves what now. Visits under another owner are void, and since the last time also those to
    /// an owner that was given slots meanwhile, which may be some that were away.
    pub(super) fn assign<'a>(&mut self, owners: impl IntoIterator<Item = Serves<'a>>) -> Void {
        let mut now = vec![None; self.places.len()];
        let mut given = Vec::new();
        for owner in &mut self.owners {
            owner.serves = false;
        }
        for (address, slots, epoch) in owners {
            let owner = self.owner(address);
            if let Some(known) = self.owner_mut(owner) {
                known.serves = true;
                if std::mem::replace(&mut known.epoch, epoch) != epoch {
                    given.push(owner);
                }
            }
            for slot in slots.iter() {
                if let Some(place) = now.get_mut(usize::from(slot)) {
                    *place = owner;
                }
            }
        }
        let mut void = Void::default();
        for ((slot, place), now) in (0..).zip(&mut self.places).zip(now) {
            if place.owner == now {
                if place.visits > place.proven && given.contains(&now) {
                    place.visits = place.proven;
                    place.settled = false;
                    void.doubtful |= place.wanted;
                }
                place.proven = place.visits;
                continue;
            }
            if place.wanted && place.owner.is_some() {
                void.moved.insert(slot);
            }
            place.owner = now;
            place.visits = 0;
            place.proven = 0;
            place.settled = false;
        }
        void
    }

    fn owner(&mut self, address: &Arc<str>) -> Option<u16> {
        let known = self.owners.iter().position(|owner| owner.address == *address);
        let index = known.unwrap_or_else(|| {
            self.owners.push(Owner {
                address: Arc::clone(address),
                error: None,
                serves: false,
                epoch: None,
                swept: 0,
            });
            self.owners.len() - 1
        });
        u16::try_from(index).ok()
    }

    fn owner_mut(&mut self, index: Option<u16>) -> Option<&mut Owner> {
        self.owners.get_mut(usize::from(index?))
    }

    /// Takes in, at the start, what an earlier process has visited, as its first pass.
    pub(super) fn restore(&mut self, address: &Arc<str>, visited: &SlotSet, swept: bool) {
        let owner = self.owner(address);
        for (slot, place) in (0..).zip(&mut self.places) {
            if place.wanted && place.owner == owner && visited.contains(slot) {
                place.visits = 1;
                place.first = 1;
                place.proven = 1;
                place.seen = true;
            }
        }
        if let Some(owner) = self.owner_mut(owner) {
            owner.swept = u32::from(swept);
        }
    }

    /// The slots that were visited under the primary at `address`, which serves them.
    pub(super) fn visited_under(&self, address: &Arc<str>) -> SlotSet {
        let owner = self.owners.iter().position(|owner| owner.address == *address);
        self.slots(|place| place.visits > 0 && place.owner.map(usize::from) == owner)
    }

    /// The slots that need a visit, or a sweep of another primary.
    pub(super) fn due(&self) -> SlotSet {
        let swept = self.swept_by_all();
        self.slots(|place| self.is_due(place, swept))
    }

    /// The slots that their owner at `address` was visited for often enough, and that wait for others.
    pub(super) fn owed(&self, address: &Arc<str>) -> SlotSet {
        let owner = self.owners.iter().position(|owner| owner.address == *address);
        let swept = self.swept_by_all();
        self.slots(|place| {
            place.wanted
                && place.visits >= self.needed
                && place.owner.map(usize::from) == owner
                && self.is_owed(place, swept)
        })
    }

    /// Takes in that, after they were visited, the owner of `slots` said that it gives nothing of them away:
    /// what hopped before would have to be with another owner by now.
    pub(super) fn settle(&mut self, slots: &SlotSet) {
        for (slot, place) in (0..).zip(&mut self.places) {
            place.settled |= place.visits > 0 && slots.contains(slot);
        }
    }

    /// Whether the primary at `address` has to be visited: as an owner, or because keys of a slot that was
    /// visited may be with it.
    pub(super) fn needs(&self, address: &Arc<str>) -> bool {
        let Some((index, owner)) = (0_u16..)
            .zip(&self.owners)
            .find(|(_, owner)| owner.address == *address)
        else {
            return false;
        };
        self.places.iter().any(|place| {
            let unvisited = place.wanted && place.visits < self.needed;
            (unvisited && place.owner == Some(index)) || (place.wanted && self.is_owed(place, owner.swept))
        })
    }

    /// Whether the primary at `address` has never been swept to the end.
    pub(super) fn is_new(&self, address: &Arc<str>) -> bool {
        self.owners
            .iter()
            .all(|owner| owner.address != *address || owner.swept == 0)
    }

    /// The last pass by which all that serve were swept at least once since.
    fn swept_by_all(&self) -> u32 {
        let serving = self.owners.iter().filter(|owner| owner.serves);
        serving.map(|owner| owner.swept).min().unwrap_or(0)
    }

    /// The slots that were visited at some time.
    pub(super) fn seen(&self) -> SlotSet {
        self.slots(|place| place.seen)
    }

    /// Whether keys of a slot that needs a visit may be somewhere else than with its owner.
    pub(super) fn is_restless(&self) -> bool {
        let swept = self.swept_by_all();
        self.places
            .iter()
            .any(|place| self.is_due(place, swept) && place.restless)
    }

    /// `swept` is the pass by which all that serve were swept.
    fn is_due(&self, place: &Place, swept: u32) -> bool {
        place.wanted && (place.visits < self.needed || self.is_owed(place, swept))
    }

    /// Whether a sweep in the pass `swept` is too early to have met what hopped past the visits. One that
    /// began after the first visit ended is late enough; without verification the same pass has to do.
    fn is_owed(&self, place: &Place, swept: u32) -> bool {
        let enough = place.first + u32::from(self.needed.saturating_sub(1));
        self.wide && place.visits > 0 && !place.settled && swept < enough
    }

    fn slots(&self, keep: impl Fn(&Place) -> bool) -> SlotSet {
        let mut slots = SlotSet::new();
        for (slot, place) in (0..).zip(&self.places) {
            if keep(place) {
                slots.insert(slot);
            }
        }
        slots
    }

    /// Takes in that the owner at `address` was visited for `due` in `pass`; `restless` are the slots for
    /// whose keys it pointed elsewhere. Whether that brought any slot further.
    pub(super) fn visited(
        &mut self,
        address: &Arc<str>,
        due: &SlotSet,
        restless: &SlotSet,
        pass: u32,
    ) -> bool {
        let owner = self.owner(address);
        let mut before = 0;
        if let Some(owner) = self.owner_mut(owner) {
            owner.error = None;
            before = std::mem::replace(&mut owner.swept, pass);
        }
        let mut progress = (0..)
            .zip(&self.places)
            .any(|(slot, place)| due.contains(slot) && place.first < pass && self.is_owed(place, before));
        for (slot, place) in (0..).zip(&mut self.places) {
            if place.owner != owner || !due.contains(slot) {
                continue;
            }
            place.seen = true;
            place.restless = restless.contains(slot);
            if place.restless {
                place.visits = 0;
                place.proven = 0;
                place.settled = false;
                continue;
            }
            if place.visits == 0 {
                place.first = pass;
            }
            progress |= place.visits < self.needed;
            place.visits = place.visits.saturating_add(1);
        }
        progress
    }

    /// Takes in that the owner at `address` could not be visited.
    pub(super) fn failed(&mut self, address: &Arc<str>, error: CacheError) {
        let owner = self.owner(address);
        if let Some(owner) = self.owner_mut(owner) {
            owner.error = Some(error);
        }
    }
}
