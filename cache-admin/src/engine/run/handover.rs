//! What primaries are asked about slots that are on the move.

use bytes::Bytes;

use super::Run;
use crate::SlotSet;
use crate::engine::probe::{probe_of, probes_of};

/// Keys that one call asks for, to learn whether their slots are being given away.
const PROBES: usize = 1_000;

impl Run {
    /// Whether this is a removal of keys of a few slots of a cluster.
    pub(super) fn pins_slots(&self) -> bool {
        self.errand.clustered && self.errand.removes() && self.errand.plan.pinned().is_some()
    }

    /// Whether any of the few slots that a removal is about is being given away key by key: its keys are then
    /// with two primaries. Asked with keys of those slots that do not exist; their owners point to the
    /// receiver. `None` where that could not be asked.
    pub(super) async fn is_given_away(&self) -> Option<bool> {
        if !self.pins_slots() {
            return Some(false);
        }
        let plain = self.errand.plan.selection().filter().is_open() && !self.errand.budget.is_limited();
        let mut given_away = Some(false);
        for owner in self.primaries.iter().filter(|primary| primary.serves) {
            let pinned = self.errand.plan.pinned().into_iter().flatten();
            let own: Vec<_> = pinned.filter(|(slot, _)| owner.slots.contains(*slot)).collect();
            if own.is_empty() {
                continue;
            }
            // The probe of a pattern without a tag is the one key that it matches, which may have to stay.
            let probes: Option<Vec<Bytes>> = own
                .iter()
                .map(|(_, pattern)| {
                    let probe = probe_of(pattern);
                    (plain || !pattern.matches(&probe)).then_some(probe)
                })
                .collect();
            // Where it cannot be asked, the visit itself will say why.
            let Some(probes) = probes else {
                given_away = None;
                continue;
            };
            let unlinked = owner.shard.unlink(&probes).await;
            owner.tally.add_removed(unlinked.removed);
            if !unlinked.moved.is_empty() {
                return Some(true);
            }
            if unlinked.failed.is_some() {
                given_away = None;
            }
        }
        given_away
    }

    /// Where primaries that could not be swept are all that slots wait for, asks the owners whether they
    /// give these slots away at all. Whether that brought any slot further.
    pub(super) async fn settle(&mut self) -> bool {
        let mut settled = SlotSet::new();
        for owner in self.primaries.iter().filter(|primary| primary.serves) {
            // One that fails has nothing to say; where nobody fails, a further pass sweeps the others.
            if owner.error.is_some() || self.primaries.iter().all(|primary| primary.error.is_none()) {
                continue;
            }
            let owed = self.coverage.owed(&owner.address);
            if owed.is_empty() {
                continue;
            }
            let probes = probes_of(self.errand.plan.prefix(), &owed);
            for probes in probes.chunks(PROBES) {
                let keys: Vec<_> = probes.iter().map(|(_, probe)| probe.clone()).collect();
                // What cannot be asked stays open, and the report says so.
                let unlinked = owner.shard.unlink(&keys).await;
                if unlinked.failed.is_some() {
                    break;
                }
                for (slot, probe) in probes {
                    if !unlinked.moved.contains(probe) {
                        settled.insert(*slot);
                    }
                }
            }
        }
        self.coverage.settle(&settled);
        !settled.is_empty()
    }
}
