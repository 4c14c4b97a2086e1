//! A run: passes over the primaries until every slot was visited often enough under the primary that
//! serves it, or until the rest is out of reach for too long.

use std::sync::Arc;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Pattern};
use futures::future;
use tokio::task::JoinSet;

use super::coverage::Coverage;
use super::probe::{probe_of, probes_of};
use super::report::{Gap, GapReason};
use super::visit::{Errand, Stop, Tally, Visit};
use super::{Event, Outcome, PrimaryReport, Report};
use crate::SlotSet;
use crate::keys::{Layout, Shard};

/// Passes after which slots that still move from primary to primary are given up.
const MOST_PASSES: u32 = 32;

/// The pause before a pass that follows one that brought nothing further; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Keys that one call asks for, to learn whether their slots are being given away.
const PROBES: usize = 1_000;

/// The longest of these.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Run {
    errand: Arc<Errand>,
    coverage: Coverage,
    patience: Duration,
    primaries: Vec<Primary>,
    passes: u32,
    slots_moved: u32,
    started: Instant,
}

/// A primary as the run knows it.
struct Primary {
    address: Arc<str>,
    shard: Arc<dyn Shard>,
    slots: SlotSet,
    /// Whether it is one at present.
    serves: bool,
    visited: bool,
    tally: Arc<Tally>,
    elapsed: Duration,
    error: Option<CacheError>,
    stopped: bool,
}

/// How a pass went.
enum Pass {
    /// At least one slot came further.
    Progress,
    /// None did; the last error, and whether waiting may help.
    Stuck {
        error: Option<CacheError>,
        hopeful: bool,
    },
    Cancelled,
}

impl Run {
    /// A run over what `layout` says, of which each slot is visited `visits` times.
    pub(super) fn new(errand: Errand, layout: Layout, visits: u8, patience: Duration) -> Self {
        let mut run = Self {
            coverage: Coverage::new(errand.clustered, errand.pattern.slot(), visits),
            errand: Arc::new(errand),
            patience,
            primaries: Vec::new(),
            passes: 0,
            slots_moved: 0,
            started: clock::now(),
        };
        // Of a slot that a hash tag pins, its owner tells whether others matter.
        if run.errand.clustered && run.errand.removes() && run.errand.pattern.slot().is_none() {
            run.coverage.widen();
        }
        run.take_in(layout);
        run
    }

    /// The report of a run that did not begin.
    pub(super) fn not_begun(pattern: Pattern, outcome: Outcome, started: Instant) -> Report {
        Report {
            pattern,
            outcome,
            primaries: Vec::new(),
            passes: 0,
            slots_moved: 0,
            elapsed: clock::now() - started,
        }
    }

    pub(super) async fn finish(mut self) -> Report {
        let outcome = self.passes().await;
        self.report(outcome).await
    }

    async fn passes(&mut self) -> Outcome {
        let mut pause = FIRST_PAUSE;
        let mut stuck_since: Option<Instant> = None;
        loop {
            let (mut error, mut hopeful) = match self.pass().await {
                Pass::Cancelled => return Outcome::Cancelled,
                Pass::Progress => {
                    stuck_since = None;
                    pause = FIRST_PAUSE;
                    (None, true)
                }
                Pass::Stuck { error, hopeful } => {
                    stuck_since.get_or_insert_with(clock::now);
                    (error, hopeful)
                }
            };
            let errand = Arc::clone(&self.errand);
            let layout = tokio::select! {
                layout = errand.keys.layout() => layout,
                () = errand.cancelled() => return Outcome::Cancelled,
            };
            match layout {
                Ok(layout) => {
                    self.take_in(layout);
                    if self.coverage.due().is_empty() {
                        return Outcome::Complete;
                    }
                }
                Err(unknown) => {
                    hopeful &= unknown.is_transient();
                    stuck_since.get_or_insert_with(clock::now);
                    if self.coverage.due().is_empty() && !hopeful {
                        return self.unconfirmed(unknown);
                    }
                    error = Some(unknown);
                }
            }
            let Some(since) = stuck_since else {
                if self.passes >= MOST_PASSES {
                    return self.incomplete();
                }
                continue;
            };
            if !hopeful || self.passes >= MOST_PASSES || clock::now() - since + pause > self.patience {
                return match error {
                    Some(error) if self.coverage.due().is_empty() => self.unconfirmed(error),
                    _ => self.incomplete(),
                };
            }
            self.errand.tell(|| Event::Waiting { pause, error });
            if self.rest(pause).await.is_err() {
                return Outcome::Cancelled;
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Takes in who serves what now.
    fn take_in(&mut self, layout: Layout) {
        let now: Vec<(Arc<dyn Shard>, SlotSet)> = match layout {
            Layout::Whole(shard) => vec![(shard, [0..=0].into_iter().collect())],
            Layout::Slots(shards) => shards,
        };
        for primary in &mut self.primaries {
            primary.serves = false;
        }
        for (shard, slots) in now {
            match self
                .primaries
                .iter_mut()
                .find(|primary| *primary.address == *shard.address())
            {
                Some(primary) => {
                    primary.shard = shard;
                    primary.slots = slots;
                    primary.serves = true;
                }
                None => self.primaries.push(Primary {
                    address: Arc::from(shard.address()),
                    shard,
                    slots,
                    serves: true,
                    visited: false,
                    tally: Arc::default(),
                    elapsed: Duration::ZERO,
                    error: None,
                    stopped: false,
                }),
            }
        }
        let serving = self.primaries.iter().filter(|primary| primary.serves);
        let moved = self
            .coverage
            .assign(serving.map(|primary| (&primary.address, &primary.slots)));
        if !moved.is_empty() {
            self.slots_moved += moved.len();
            self.errand.tell(|| Event::Moved { slots: moved });
        }
    }

    /// Visits, all at once, the primaries that hold what is due.
    async fn pass(&mut self) -> Pass {
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
        if given_away != Some(false) && self.pins_a_slot() {
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
            let mut visit = self.visit(index, &due, &seen);
            let began = clock::now();
            visits.spawn(async move {
                let result = visit.run().await;
                (index, visit.restless, result, clock::now() - began)
            });
        }
        let pass = self.collect(visits, &due).await;
        if matches!(pass, Pass::Cancelled) {
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
            is_first: self.coverage.is_new(&primary.address),
            restless: SlotSet::new(),
        }
    }

    async fn collect(&mut self, mut visits: JoinSet<Visited>, due: &SlotSet) -> Pass {
        let mut restless = SlotSet::new();
        let mut done = Vec::new();
        let mut last_error = None;
        let mut hopeful = true;
        let mut cancelled = false;
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
        } else if progress {
            Pass::Progress
        } else {
            Pass::Stuck {
                error: last_error,
                hopeful,
            }
        }
    }

    /// Whether this is a removal of keys of one slot of a cluster.
    fn pins_a_slot(&self) -> bool {
        self.errand.clustered && self.errand.removes() && self.errand.pattern.slot().is_some()
    }

    /// Whether the one slot that a removal is about is being given away key by key: its keys are then with
    /// two primaries. Asked with a key of that slot that does not exist; its owner points to the receiver.
    /// `None` where that could not be asked.
    async fn is_given_away(&self) -> Option<bool> {
        let slot = self.errand.pattern.slot().filter(|_| self.pins_a_slot());
        let Some(slot) = slot else { return Some(false) };
        let owner = self
            .primaries
            .iter()
            .find(|primary| primary.serves && primary.slots.contains(slot));
        let Some(owner) = owner else { return Some(false) };
        let probe = probe_of(&self.errand.pattern);
        // Where it cannot be asked, the visit itself will say why.
        let unlinked = owner.shard.unlink(&[probe]).await.ok()?;
        owner.tally.add_removed(unlinked.removed);
        Some(!unlinked.moved.is_empty())
    }

    /// Where primaries that could not be swept are all that slots wait for, asks the owners whether they
    /// give these slots away at all. Whether that brought any slot further.
    async fn settle(&mut self) -> bool {
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
            let probes = probes_of(&self.errand.pattern, &owed);
            for probes in probes.chunks(PROBES) {
                let keys: Vec<_> = probes.iter().map(|(_, probe)| probe.clone()).collect();
                // What cannot be asked stays open, and the report says so.
                let Ok(unlinked) = owner.shard.unlink(&keys).await else {
                    break;
                };
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

    async fn rest(&self, pause: Duration) -> Result<(), Stop> {
        tokio::select! {
            () = self.errand.cancelled() => Err(Stop::Cancelled(None)),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Everything was visited, but nobody says whether it has moved since.
    fn unconfirmed(&self, error: CacheError) -> Outcome {
        let slots = self.errand.clustered.then(SlotSet::all);
        Outcome::Partial {
            gaps: vec![Gap {
                primary: None,
                slots,
                reason: GapReason::Failed(error),
            }],
        }
    }

    fn incomplete(&self) -> Outcome {
        let gaps = self.coverage.gaps();
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

    async fn report(self, outcome: Outcome) -> Report {
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
        primaries.sort_by(|one, two| one.address.cmp(&two.address));
        Report {
            pattern: self.errand.pattern.clone(),
            outcome,
            primaries,
            passes: self.passes,
            slots_moved: self.slots_moved,
            elapsed: clock::now() - self.started,
        }
    }
}

type Visited = (usize, SlotSet, Result<(), Stop>, Duration);
