//! One pass: visits to all primaries that hold what is due, at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{CacheError, clock};
use tokio::task::JoinSet;

use super::Run;
use crate::SlotSet;
use crate::engine::Event;
use crate::engine::visit::{Stop, Visit};

/// How a pass went.
pub(super) enum Pass {
    /// At least one slot came further.
    Progress,
    /// None did; the last error, and whether waiting may help.
    Stuck {
        error: Option<CacheError>,
        hopeful: bool,
    },
    /// No further key may be removed.
    Limited,
    Cancelled,
}

/// A visit that has ended: to whom, the slots on the move, how it went, how long it took.
type Visited = (usize, SlotSet, Result<(), Stop>, Duration);

impl Run {
    /// Visits, all at once, the primaries that hold what is due.
    pub(super) async fn pass(&mut self) -> Pass {
        if self.errand.is_cancelled() {
            return Pass::Cancelled;
        }
        let due = Arc::new(self.coverage.due());
        if due.is_empty() {
            // All that is left is to hear from the servers that nothing has moved since.
            return Pass::Stuck {
                error: None,
                hopeful: true,
            };
        }
        let seen = Arc::new(self.coverage.seen());
        let errand = Arc::clone(&self.errand);
        let given_away = tokio::select! {
            given_away = self.is_given_away() => given_away,
            () = errand.cancelled() => return Pass::Cancelled,
        };
        // At first everybody is asked at once; later on, whoever has not answered yet.
        let newly_wide = given_away == Some(true) && !self.coverage.is_wide();
        if given_away != Some(false) && self.pins_slots() {
            self.coverage.widen();
        }
        let everyone = self.coverage.is_restless() || newly_wide;
        let chosen: Vec<usize> = (0..self.primaries.len())
            .filter(|index| {
                let primary = &self.primaries[*index];
                primary.serves && (everyone || self.coverage.needs(&primary.address))
            })
            .collect();
        self.passes += 1;
        self.note(&due);
        self.errand.tell(|| Event::Pass {
            number: self.passes,
            primaries: chosen
                .iter()
                .map(|index| Arc::clone(&self.primaries[*index].address))
                .collect(),
        });
        // Dropping the set, when the run is dropped, ends the visits.
        let mut visits = JoinSet::new();
        for index in chosen {
            let visit = self.visit(index, &due, &seen);
            let began = clock::now();
            visits.spawn(async move {
                let result = visit.run().await;
                (index, visit.into_restless(), result, clock::now() - began)
            });
        }
        let pass = self.collect(visits, &due).await;
        if matches!(pass, Pass::Cancelled | Pass::Limited) {
            return pass;
        }
        tokio::select! {
            settled = self.settle() => if settled { Pass::Progress } else { pass },
            () = errand.cancelled() => Pass::Cancelled,
        }
    }

    fn visit(&mut self, index: usize, due: &Arc<SlotSet>, seen: &Arc<SlotSet>) -> Visit {
        let primary = &mut self.primaries[index];
        primary.visited = true;
        // Until its visit ends.
        primary.stopped = true;
        Visit {
            errand: Arc::clone(&self.errand),
            shard: Arc::clone(&primary.shard),
            address: Arc::clone(&primary.address),
            own: primary.slots.clone(),
            due: Arc::clone(due),
            seen: Arc::clone(seen),
            tally: Arc::clone(&primary.tally),
            governor: Arc::clone(&primary.governor),
            is_first: self.coverage.is_new(&primary.address),
            restless: Mutex::default(),
        }
    }

    async fn collect(&mut self, mut visits: JoinSet<Visited>, due: &SlotSet) -> Pass {
        let mut restless = SlotSet::new();
        let mut done = Vec::new();
        let mut last_error = None;
        let mut hopeful = true;
        let (mut cancelled, mut limited) = (false, false);
        while let Some(joined) = visits.join_next().await {
            let (index, moving, result, elapsed) = match joined {
                Ok(visited) => visited,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            restless.extend(moving.ranges());
            let primary = &mut self.primaries[index];
            primary.elapsed += elapsed;
            primary.error = None;
            primary.stopped = false;
            match result {
                Ok(()) => done.push(index),
                Err(Stop::Cancelled(error)) => {
                    cancelled = true;
                    primary.stopped = true;
                    primary.error = error;
                }
                Err(Stop::Limited) => {
                    limited = true;
                    primary.stopped = true;
                }
                // A walk that does not go slot by slot cannot be out of order.
                Err(Stop::Disordered) => {}
                Err(Stop::Failed(error)) => {
                    hopeful &= error.is_transient();
                    primary.error = Some(error.clone());
                    self.coverage.failed(&primary.address, error.clone());
                    last_error = Some(error);
                }
            }
            if !cancelled {
                self.errand.tell(|| Event::Swept {
                    primary: Arc::clone(&primary.address),
                    error: primary.error.clone(),
                });
            }
        }
        let mut progress = false;
        for index in done {
            progress |= self
                .coverage
                .visited(&self.primaries[index].address, due, &restless, self.passes);
        }
        if cancelled {
            Pass::Cancelled
        } else if limited && self.errand.budget.left() == Some(0) {
            Pass::Limited
        } else if progress || limited {
            Pass::Progress
        } else {
            Pass::Stuck {
                error: last_error,
                hopeful,
            }
        }
    }
}
