//! A run: passes over the primaries until every slot was visited often enough under the primary that
//! serves it, or until the rest is out of reach for too long.
//!
//! One pass is in [`pass`], what primaries are asked about slots on the move in [`handover`], the end in
//! [`ending`].

mod ending;
mod handover;
mod pass;

use std::sync::Arc;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Unavailability};

use self::pass::Pass;
use super::checkpoint::{Checkpoint, SavedPrimary};
use super::coverage::{Coverage, Void};
use super::ledger::Page;
use super::pace::{Governor, Pace};
use super::report::GapReason;
use super::visit::{Errand, Stop, Tally};
use super::{Event, Options, Outcome, Report, Selection};
use crate::keys::{Layout, Shard};
use crate::{CacheIdentity, SlotSet};

/// Passes after which slots that still move from primary to primary are given up.
const MOST_PASSES: u32 = 32;

/// The pause before a pass that follows one that brought nothing further; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest of these.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Run {
    errand: Arc<Errand>,
    coverage: Coverage,
    patience: Duration,
    pace: Pace,
    page_size: u32,
    primaries: Vec<Primary>,
    /// What an earlier process counted on primaries that this one has not met.
    former: Vec<SavedPrimary>,
    passes: u32,
    /// Further ones that earlier processes have made.
    passes_before: u32,
    slots_moved: u32,
    /// From an earlier process.
    elapsed_before: Duration,
    uncounted: u64,
    started: Instant,
    /// The cache that it works on, as it was last seen.
    cache: Option<CacheIdentity>,
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
    governor: Arc<Governor>,
    elapsed: Duration,
    error: Option<CacheError>,
    stopped: bool,
}

impl Run {
    /// A run over what `layout` says, of which each slot is visited `visits` times; `earlier` is what another
    /// process has done of it.
    pub(super) fn new(
        errand: Errand,
        layout: Layout,
        visits: u8,
        options: &Options,
        earlier: Option<&Checkpoint>,
    ) -> Self {
        let slots = errand.plan.slots();
        let mut run = Self {
            coverage: Coverage::new(errand.clustered, slots.as_ref(), visits),
            errand: Arc::new(errand),
            patience: options.patience,
            pace: options.pace,
            page_size: options.page_size,
            primaries: Vec::new(),
            former: Vec::new(),
            passes: 0,
            passes_before: 0,
            slots_moved: 0,
            elapsed_before: Duration::ZERO,
            uncounted: 0,
            started: clock::now(),
            cache: layout.cache().cloned(),
        };
        // Of slots that hash tags pin, their owners tell whether others matter.
        if run.errand.clustered && run.errand.removes() && slots.is_none() {
            run.coverage.widen();
        }
        if let Some(earlier) = earlier {
            run.former.clone_from(&earlier.primaries);
        }
        run.take_in(layout);
        if let Some(earlier) = earlier {
            run.take_up(earlier);
        }
        run
    }

    /// Takes in what an earlier process has done.
    fn take_up(&mut self, earlier: &Checkpoint) {
        self.slots_moved = earlier.slots_moved;
        self.elapsed_before = earlier.elapsed;
        self.uncounted = earlier.uncounted;
        self.passes_before = earlier.passes.saturating_sub(1);
        // Whatever it was that it made last, it counts as the first.
        self.passes = u32::from(earlier.passes > 0);
        for saved in &earlier.primaries {
            let address = Arc::from(saved.address.as_str());
            let now = self.primaries.iter().find(|primary| primary.address == address);
            // With another epoch, slots may have been away in the meantime.
            let same = now.is_some_and(|primary| primary.shard.epoch() == saved.epoch);
            let visited = if same {
                saved.visited.clone()
            } else {
                SlotSet::new()
            };
            self.coverage.restore(&address, &visited, saved.swept);
        }
    }

    /// The report of a run that did not begin.
    pub(super) fn not_begun(selection: Selection, outcome: Outcome, started: Instant) -> Report {
        Report {
            selection,
            outcome,
            primaries: Vec::new(),
            passes: 0,
            slots_moved: 0,
            uncounted: 0,
            elapsed: clock::now() - started,
        }
    }

    pub(super) async fn finish(mut self) -> Report {
        self.note(&SlotSet::new());
        let mut outcome = self.passes().await;
        self.note(&SlotSet::new());
        self.errand.tell_progress(true);
        if let Some(saver) = &self.errand.saver
            && let Err(error) = saver.finish(|| self.errand.snapshot()).await
            && matches!(outcome, Outcome::Complete)
        {
            outcome = self.unconfirmed(error);
        }
        self.report(outcome).await
    }

    /// Writes down where the run stands, of which `due` is about to be visited.
    fn note(&self, due: &SlotSet) {
        let pages = self
            .primaries
            .iter()
            .filter(|primary| primary.visited || primary.serves)
            .map(|primary| Page {
                address: Arc::clone(&primary.address),
                tally: Arc::clone(&primary.tally),
                visited: self.coverage.visited_under(&primary.address),
                due: primary.slots.common(due),
                epoch: primary.shard.epoch(),
                swept: !self.coverage.is_new(&primary.address),
                elapsed: primary.elapsed,
            })
            .collect();
        self.errand.ledger.turn(self.passes, self.slots_moved, pages);
    }

    async fn passes(&mut self) -> Outcome {
        let mut pause = FIRST_PAUSE;
        let mut stuck_since: Option<Instant> = None;
        loop {
            if self.errand.control.is_paused() {
                // Rest is no failure to get on.
                stuck_since = None;
            }
            if self.errand.may_go_on().await.is_err() {
                return Outcome::Cancelled;
            }
            let (mut error, mut hopeful) = match self.pass().await {
                Pass::Cancelled => return Outcome::Cancelled,
                Pass::Limited => return self.incomplete(&GapReason::Limit),
                Pass::Progress => {
                    stuck_since = None;
                    (None, true)
                }
                Pass::Stuck { error, hopeful } => {
                    stuck_since.get_or_insert_with(clock::now);
                    (error, hopeful)
                }
            };
            let errand = Arc::clone(&self.errand);
            let layout = tokio::select! {
                layout = errand.keys.layout() => layout.and_then(|layout| self.known(layout)),
                () = errand.cancelled() => return Outcome::Cancelled,
            };
            let mut doubtful = false;
            match layout {
                Ok(layout) => {
                    if let Err(other) = self.stays_with(&layout) {
                        return self.unconfirmed(other);
                    }
                    doubtful = self.take_in(layout);
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
                    return self.incomplete(&GapReason::Moving);
                }
                // Slots are being handed over: no use to make all passes that there may be meanwhile.
                if doubtful && self.rest(pause).await.is_err() {
                    return Outcome::Cancelled;
                }
                pause = if doubtful {
                    LONGEST_PAUSE.min(pause * 2)
                } else {
                    FIRST_PAUSE
                };
                continue;
            };
            if !hopeful || self.passes >= MOST_PASSES || clock::now() - since + pause > self.patience {
                return match error {
                    Some(error) if self.coverage.due().is_empty() => self.unconfirmed(error),
                    _ => self.incomplete(&GapReason::Moving),
                };
            }
            self.errand.tell(|| Event::Waiting { pause, error });
            if self.rest(pause).await.is_err() {
                return Outcome::Cancelled;
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// `layout`, unless its servers no longer say which cache they are, as when none of them answers.
    fn known(&self, layout: Layout) -> Result<Layout, CacheError> {
        let is_known = |cache: Option<&CacheIdentity>| cache.is_some_and(CacheIdentity::is_known);
        if is_known(self.cache.as_ref()) && !is_known(layout.cache()) {
            return Err(CacheError::Unavailable {
                reason: Unavailability::NotReady,
                detail: "no primary says which cache it belongs to".into(),
                outcome: cache_core::Outcome::NotApplied,
                source: None,
            });
        }
        Ok(layout)
    }

    /// Fails if `layout` is that of another cache than the one on which the run began.
    fn stays_with(&mut self, layout: &Layout) -> Result<(), CacheError> {
        let Some(now) = layout.cache() else { return Ok(()) };
        if let Some(before) = &self.cache
            && before.is_known()
        {
            before.check(now)?;
        }
        if self.cache.as_ref() != Some(now) {
            self.cache = Some(now.clone());
            self.errand.ledger.set_cache(now.clone());
        }
        Ok(())
    }

    /// Takes in who serves what now. Whether that leaves visits in doubt for which it does not say that slots moved.
    fn take_in(&mut self, layout: Layout) -> bool {
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
                None => {
                    let primary = self.meet(shard, slots);
                    self.primaries.push(primary);
                }
            }
        }
        let serving = self.primaries.iter().filter(|primary| primary.serves);
        // What is counted or listed would come twice for all slots of an owner because of one that may have moved.
        let removes = self.errand.removes();
        let serving = serving.map(|primary| {
            let epoch = primary.shard.epoch().filter(|_| removes);
            (&primary.address, &primary.slots, epoch)
        });
        let Void { moved, doubtful } = self.coverage.assign(serving);
        if !moved.is_empty() {
            self.slots_moved += moved.len();
            self.errand.tell(|| Event::Moved { slots: moved });
        }
        doubtful
    }

    /// A primary that was not met before in this process.
    fn meet(&mut self, shard: Arc<dyn Shard>, slots: SlotSet) -> Primary {
        let known = self
            .former
            .iter()
            .position(|saved| saved.address == shard.address());
        let known = known.map(|index| self.former.swap_remove(index));
        Primary {
            address: Arc::from(shard.address()),
            shard,
            slots,
            serves: true,
            visited: known.is_some(),
            tally: Arc::new(
                known
                    .as_ref()
                    .map_or_else(Tally::default, |saved| Tally::of(saved.counts, saved.keys_before)),
            ),
            governor: Arc::new(Governor::new(self.pace, self.page_size)),
            elapsed: known.map_or(Duration::ZERO, |saved| saved.elapsed),
            error: None,
            stopped: false,
        }
    }

    async fn rest(&self, pause: Duration) -> Result<(), Stop> {
        tokio::select! {
            () = self.errand.cancelled() => Err(Stop::Cancelled(None)),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}
