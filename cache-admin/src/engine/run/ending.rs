//! How a run ends: its outcome, and its report.

use cache_core::{CacheError, clock};
use futures::future;

use super::Run;
use crate::SlotSet;
use crate::engine::report::{Gap, GapReason};
use crate::engine::{Outcome, PrimaryReport, Report};

impl Run {
    /// Everything was visited, but nobody says whether it has moved since.
    pub(super) fn unconfirmed(&self, error: CacheError) -> Outcome {
        let slots = self.errand.clustered.then(SlotSet::all);
        Outcome::Partial {
            gaps: vec![Gap {
                primary: None,
                slots,
                reason: GapReason::Failed(error),
            }],
        }
    }

    /// What was not done, for the reason `otherwise` where nothing is known to be wrong.
    pub(super) fn incomplete(&self, otherwise: &GapReason) -> Outcome {
        let gaps = self.coverage.gaps(otherwise);
        let nothing_done = self.coverage.seen().is_empty()
            && self
                .primaries
                .iter()
                .all(|primary| primary.tally.counts().removed == 0);
        let error = gaps.iter().find_map(|gap| match &gap.reason {
            GapReason::Failed(error) | GapReason::Unproved(error) => Some(error.clone()),
            _ => None,
        });
        match error {
            Some(error) if nothing_done => Outcome::Failed { error },
            _ => Outcome::Partial { gaps },
        }
    }

    pub(super) async fn report(self, outcome: Outcome) -> Report {
        // One that never mattered is not part of the story.
        let visited = self.primaries.into_iter().filter(|primary| primary.visited);
        let mut primaries: Vec<_> = visited.collect();
        let errand = &self.errand;
        let sizes = primaries.iter().map(|primary| async move {
            let answers = errand.removes() && primary.error.is_none() && !errand.is_cancelled();
            if !answers {
                return None;
            }
            tokio::select! {
                keys = primary.shard.key_count() => keys.ok(),
                () = errand.cancelled() => None,
            }
        });
        let sizes = future::join_all(sizes).await;
        let mut primaries: Vec<_> = primaries
            .drain(..)
            .zip(sizes)
            .map(|(primary, keys_after)| PrimaryReport {
                counts: primary.tally.counts(),
                keys_before: primary.tally.keys_before(),
                address: primary.address,
                keys_after,
                elapsed: primary.elapsed,
                error: primary.error,
                stopped: primary.stopped,
            })
            .collect();
        primaries.extend(self.former.into_iter().map(|saved| PrimaryReport {
            address: saved.address.into(),
            counts: saved.counts,
            keys_before: saved.keys_before,
            keys_after: None,
            elapsed: saved.elapsed,
            error: None,
            stopped: false,
        }));
        primaries.sort_by(|one, two| one.address.cmp(&two.address));
        Report {
            selection: self.errand.plan.selection().clone(),
            outcome,
            primaries,
            passes: self.passes + self.passes_before,
            slots_moved: self.slots_moved,
            uncounted: self.uncounted,
            elapsed: self.elapsed_before + (clock::now() - self.started),
        }
    }
}
