//! Which slots have been visited, and under which primary.
//!
//! A visit counts only for the primary that served the slot then: the keys of a slot that moved in the
//! meantime may have moved past the visit.

use std::sync::Arc;

use cache_core::CacheError;
use cache_core::slot::SLOTS;

use super::report::{Gap, GapReason};
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
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// Whether the run is about this slot at all.
    wanted: bool,
    /// The owner's index.
    owner: Option<u16>,
    /// Complete visits under this owner.
    visits: u8,
    /// Visited at some time, under whatever owner.
    seen: bool,
    /// The owner pointed elsewhere for keys of it when it was last visited.
    restless: bool,
}

#[derive(Debug)]
struct Owner {
    address: Arc<str>,
    error: Option<CacheError>,
}

impl Coverage {
    /// Nothing visited so far. `only` is the one slot that the run is about; `needed` the number of visits
    /// after which a slot is done.
    pub(super) fn new(clustered: bool, only: Option<u16>, needed: u8) -> Self {
        let count = if clustered { SLOTS } else { 1 };
        let places = (0..count)
            .map(|slot| Place {
                wanted: !clustered || only.is_none_or(|only| only == slot),
                ..Place::default()
            })
            .collect();
        Self {
            places,
            owners: Vec::new(),
            clustered,
            needed,
        }
    }

    /// Takes in who serves what now. Visits under another owner are void; these slots are the answer.
    pub(super) fn assign<'a>(
        &mut self,
        owners: impl IntoIterator<Item = (&'a Arc<str>, &'a SlotSet)>,
    ) -> SlotSet {
        let mut now = vec![None; self.places.len()];
        for (address, slots) in owners {
            let owner = self.owner(address);
            for slot in slots.iter() {
                if let Some(place) = now.get_mut(usize::from(slot)) {
                    *place = owner;
                }
            }
        }
        let mut moved = SlotSet::new();
        for ((slot, place), now) in (0..).zip(&mut self.places).zip(now) {
            if place.owner == now {
                continue;
            }
            if place.wanted && place.owner.is_some() {
                moved.insert(slot);
            }
            place.owner = now;
            place.visits = 0;
        }
        moved
    }

    fn owner(&mut self, address: &Arc<str>) -> Option<u16> {
        let known = self.owners.iter().position(|owner| owner.address == *address);
        let index = known.unwrap_or_else(|| {
            self.owners.push(Owner {
                address: Arc::clone(address),
                error: None,
            });
            self.owners.len() - 1
        });
        u16::try_from(index).ok()
    }

    /// The slots that need a visit.
    pub(super) fn due(&self) -> SlotSet {
        self.slots(|place| self.is_due(place))
    }

    /// The slots that were visited at some time.
    pub(super) fn seen(&self) -> SlotSet {
        self.slots(|place| place.seen)
    }

    /// Whether keys of a slot that needs a visit may be somewhere else than with its owner.
    pub(super) fn is_restless(&self) -> bool {
        self.places
            .iter()
            .any(|place| self.is_due(place) && place.restless)
    }

    fn is_due(&self, place: &Place) -> bool {
        place.wanted && place.visits < self.needed
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

    /// Takes in that the owner at `address` was visited for `due`; `restless` are the slots for whose keys
    /// it pointed elsewhere. Whether that brought any slot further.
    pub(super) fn visited(&mut self, address: &Arc<str>, due: &SlotSet, restless: &SlotSet) -> bool {
        let owner = self.owner(address);
        self.forget_error(owner);
        let mut progress = false;
        for (slot, place) in (0..).zip(&mut self.places) {
            if place.owner != owner || !due.contains(slot) {
                continue;
            }
            place.seen = true;
            place.restless = restless.contains(slot);
            if place.restless {
                place.visits = 0;
            } else {
                place.visits = place.visits.saturating_add(1);
                progress = true;
            }
        }
        progress
    }

    /// Takes in that the owner at `address` could not be visited.
    pub(super) fn failed(&mut self, address: &Arc<str>, error: CacheError) {
        if let Some(owner) = self
            .owner(address)
            .and_then(|owner| self.owners.get_mut(usize::from(owner)))
        {
            owner.error = Some(error);
        }
    }

    fn forget_error(&mut self, owner: Option<u16>) {
        if let Some(owner) = owner.and_then(|owner| self.owners.get_mut(usize::from(owner))) {
            owner.error = None;
        }
    }

    /// What needs a visit still, by owner and reason.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = (0_u16..)
            .zip(&self.owners)
            .map(|(index, owner)| Gap {
                primary: Some(Arc::clone(&owner.address)),
                slots: Some(self.slots(|place| self.is_due(place) && place.owner == Some(index))),
                reason: owner.error.clone().map_or(GapReason::Moving, GapReason::Failed),
            })
            .collect();
        gaps.push(Gap {
            primary: None,
            slots: Some(self.slots(|place| self.is_due(place) && place.owner.is_none())),
            reason: GapReason::Unserved,
        });
        gaps.retain(|gap| gap.slots.as_ref().is_some_and(|slots| !slots.is_empty()));
        if !self.clustered {
            for gap in &mut gaps {
                gap.slots = None;
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(range: std::ops::RangeInclusive<u16>) -> SlotSet {
        [range].into_iter().collect()
    }

    fn address(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    #[test]
    fn a_visit_under_another_owner_does_not_count() {
        let (a, b) = (address("a"), address("b"));
        let mut coverage = Coverage::new(true, None, 1);
        coverage.assign([(&a, &slots(0..=8_000)), (&b, &slots(8_001..=16_383))]);
        let due = coverage.due();
        assert!(coverage.visited(&a, &due, &SlotSet::new()));
        assert!(coverage.visited(&b, &due, &SlotSet::new()));
        assert!(coverage.due().is_empty());

        let moved = coverage.assign([(&a, &slots(0..=7_999)), (&b, &slots(8_000..=16_383))]);
        assert_eq!(moved.to_string(), "8000");
        assert_eq!(coverage.due().to_string(), "8000");
    }

    #[test]
    fn a_slot_that_nobody_serves_is_a_gap() {
        let a = address("a");
        let mut coverage = Coverage::new(true, None, 1);
        coverage.assign([(&a, &slots(0..=16_000))]);
        coverage.visited(&a, &coverage.due(), &SlotSet::new());
        let gaps = coverage.gaps();
        assert_eq!(gaps.len(), 1);
        assert!(matches!(gaps[0].reason, GapReason::Unserved));
        assert_eq!(gaps[0].slots.as_ref().unwrap().to_string(), "16001-16383");
    }

    #[test]
    fn a_slot_for_which_its_owner_points_elsewhere_is_not_done() {
        let a = address("a");
        let mut coverage = Coverage::new(true, Some(7), 1);
        coverage.assign([(&a, &SlotSet::all())]);
        assert!(!coverage.visited(&a, &coverage.due(), &slots(7..=7)));
        assert!(coverage.is_restless());
        assert_eq!(coverage.due().to_string(), "7");
        assert!(coverage.visited(&a, &coverage.due(), &SlotSet::new()));
        assert!(coverage.due().is_empty());
    }

    #[test]
    fn outside_of_a_cluster_another_address_voids_everything() {
        let (a, b) = (address("a"), address("b"));
        let mut coverage = Coverage::new(false, Some(7), 1);
        coverage.assign([(&a, &slots(0..=0))]);
        coverage.visited(&a, &coverage.due(), &SlotSet::new());
        assert!(coverage.due().is_empty());
        coverage.assign([(&b, &slots(0..=0))]);
        assert!(!coverage.due().is_empty());
        assert!(coverage.gaps()[0].slots.is_none());
    }
}
