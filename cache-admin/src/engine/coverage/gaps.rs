//! What a run could not vouch for, out of what it has visited.

use std::sync::Arc;

use cache_core::CacheError;

use super::{Coverage, Place};
use crate::engine::report::{Gap, GapReason};

impl Coverage {
    /// What needs a visit still, by owner and reason; `otherwise` where nothing is known to be wrong.
    pub(in crate::engine) fn gaps(&self, otherwise: &GapReason) -> Vec<Gap> {
        let or_else = |error: Option<CacheError>, reason: fn(CacheError) -> GapReason| {
            error.map_or_else(|| otherwise.clone(), reason)
        };
        let mut gaps: Vec<Gap> = (0_u16..)
            .zip(&self.owners)
            .map(|(index, owner)| Gap {
                primary: Some(Arc::clone(&owner.address)),
                slots: Some(self.slots(|place| self.is_unvisited(place) && place.owner == Some(index))),
                reason: or_else(owner.error.clone(), GapReason::Failed),
            })
            .collect();
        gaps.push(Gap {
            primary: None,
            slots: Some(self.slots(|place| self.is_unvisited(place) && place.owner.is_none())),
            reason: GapReason::Unserved,
        });
        for owner in self.owners.iter().filter(|owner| owner.serves) {
            let unproved = self.slots(|place| {
                place.wanted && place.visits >= self.needed && self.is_owed(place, owner.swept)
            });
            gaps.push(Gap {
                primary: Some(Arc::clone(&owner.address)),
                slots: Some(unproved),
                reason: or_else(owner.error.clone(), GapReason::Unproved),
            });
        }
        gaps.retain(|gap| gap.slots.as_ref().is_some_and(|slots| !slots.is_empty()));
        if !self.clustered {
            for gap in &mut gaps {
                gap.slots = None;
            }
        }
        gaps
    }

    const fn is_unvisited(&self, place: &Place) -> bool {
        place.wanted && place.visits < self.needed
    }
}
