//! A job as it is shown: what it does for whom, how far it is, and what it did.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{JobFilter, JobId, JobOptions, Mode, Timestamp, Who};
use crate::engine::Checkpoint;
use crate::{
    Counts, Gap, GapReason, Outcome, PrimaryReport, Report, Selection, SlotSet, escaped, with_causes,
};

/// A job at one moment.
///
/// Patterns and keys are text as [`escaped`] makes it, without what the service puts before every key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Job {
    /// Its name.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// It was told to stop and has not yet ended.
    pub stopping: bool,
    /// What it does.
    pub mode: Mode,
    /// The patterns of its keys.
    pub patterns: Vec<String>,
    /// What else has to be true of them.
    pub filter: JobFilter,
    /// How it goes about its work.
    pub options: JobOptions,
    /// The cache that it belongs to, in words; it runs on no other one. Empty if an older version wrote it.
    #[serde(default)]
    pub cache: String,
    /// Who started it.
    pub actor: Who,
    /// When it was asked for.
    #[cfg_attr(feature = "http", schema(value_type = String, format = DateTime))]
    pub created: Timestamp,
    /// When it began.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>, format = DateTime))]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>, format = DateTime))]
    pub ended: Option<Timestamp>,
    /// How far it is.
    pub progress: JobProgress,
    /// What it did on each primary.
    pub primaries: Vec<JobPrimary>,
    /// What it cannot vouch for, where it is `partial`.
    pub gaps: Vec<JobGap>,
    /// Some of the keys, drawn at random, of a dry run.
    pub sample: Vec<String>,
    /// How many slots changed their primary and were visited again.
    pub slots_moved: u32,
    /// Keys that may have been removed at most besides those in the counts, because a process was killed.
    pub uncounted: u64,
    /// Why the store does not have the latest of it, so that a restart undoes that; null if it has all of it.
    #[serde(default)]
    pub unstored: Option<String>,
    /// Why it `failed`, or what else went wrong at its end.
    pub error: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// It is at work.
    Running,
    /// It rests until it is resumed.
    Paused,
    /// The process that ran it has ended; it can be resumed.
    Interrupted,
    /// All was done.
    Complete,
    /// Some was done; the rest is in the gaps.
    Partial,
    /// It was told to stop.
    Cancelled,
    /// Nothing was done.
    Failed,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct JobProgress {
    /// The pass over the primaries, from 1.
    pub pass: u32,
    /// The slots that it is about; 1 outside of a cluster.
    pub slots: u32,
    /// Those that were visited at least once.
    pub slots_covered: u32,
    /// Keys that matched, on all primaries.
    pub matched: u64,
    /// Keys removed, on all primaries.
    pub removed: u64,
    /// About how many milliseconds it still takes, where that is known.
    pub remaining_ms: Option<u64>,
    /// For how many milliseconds it has worked, in all its processes.
    pub elapsed_ms: u64,
}

/// What a job did on one primary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct JobPrimary {
    /// Its address.
    pub address: String,
    /// How many keys it held before, where it said so.
    pub keys_before: Option<u64>,
    /// How many keys it held afterwards, where it said so.
    pub keys_after: Option<u64>,
    /// About how many keys were looked at on it, over all passes; never fewer than `matched`.
    pub looked_at: u64,
    /// Whether this pass is done with it.
    pub done: bool,
    /// Keys that matched.
    pub matched: u64,
    /// Keys removed.
    pub removed: u64,
    /// Keys that were gone when their turn came.
    pub gone: u64,
    /// Keys that it lists and that its cluster does not find.
    pub orphans: u64,
    /// Keys that were followed to another primary.
    pub moved: u64,
    /// Keys that were met in slots visited before.
    pub late: u64,
    /// Pages asked for.
    pub pages: u64,
    /// For how many milliseconds it was worked on.
    pub elapsed_ms: u64,
    /// Why it could not be finished.
    pub error: Option<String>,
    /// Whether the last visit was cut short.
    pub stopped: bool,
}

/// Slots that a job cannot vouch for, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct JobGap {
    /// The primary that serves them, or that could not be swept.
    pub primary: Option<String>,
    /// The slots as pairs of first and last; nothing outside of a cluster.
    pub slots: Option<Vec<[u16; 2]>>,
    /// `failed`, `unproved`, `unserved`, `moving` or `limit`.
    pub kind: String,
    /// Why, in words.
    pub reason: String,
}

impl Job {
    /// One that was just asked for.
    pub(super) fn new(
        id: JobId,
        (selection, mode, options, actor): (&Selection, Mode, JobOptions, Who),
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            state: JobState::Queued,
            stopping: false,
            mode,
            patterns: selection
                .patterns()
                .iter()
                .map(|pattern| escaped(pattern.as_bytes()))
                .collect(),
            filter: JobFilter::of(selection),
            options,
            cache: String::new(),
            actor,
            created: now,
            started: None,
            ended: None,
            progress: JobProgress::default(),
            primaries: Vec::new(),
            gaps: Vec::new(),
            sample: Vec::new(),
            slots_moved: 0,
            uncounted: 0,
            unstored: None,
            error: None,
        }
    }

    /// Takes in what a run did.
    pub(super) fn take_in(&mut self, report: &Report) {
        let before = std::mem::take(&mut self.primaries);
        let looked_at = |primary: &JobPrimary| {
            let known = before.iter().find(|known| known.address == primary.address);
            known.map_or(0, |known| known.looked_at)
        };
        let primaries = report.primaries.iter().map(|report| {
            let primary = JobPrimary::of(report);
            let looked_at = looked_at(&primary);
            primary.having_looked_at(looked_at)
        });
        self.primaries = primaries.collect();
        let total = report.total();
        self.progress.matched = total.matched;
        self.progress.removed = total.removed;
        self.progress.pass = report.passes;
        self.progress.remaining_ms = None;
        self.progress.elapsed_ms = millis(report.elapsed);
        self.slots_moved = report.slots_moved;
        self.uncounted = report.uncounted;
        match &report.outcome {
            Outcome::Partial { gaps } => self.gaps = gaps.iter().map(JobGap::of).collect(),
            Outcome::Failed { error } => self.error = Some(with_causes(error)),
            Outcome::Complete | Outcome::Cancelled => {}
        }
    }

    /// Takes in what was saved last of a run whose process is gone.
    pub(super) fn recover(&mut self, checkpoint: &Checkpoint) {
        let saved = checkpoint
            .primaries()
            .map(|(address, counts, keys_before, elapsed)| JobPrimary {
                address: address.to_owned(),
                keys_before,
                elapsed_ms: millis(elapsed),
                ..JobPrimary::default().with(counts).having_looked_at(0)
            });
        self.primaries = saved.collect();
        let total = checkpoint.counts();
        self.progress.matched = total.matched;
        self.progress.removed = total.removed;
        self.progress.remaining_ms = None;
        self.progress.elapsed_ms = millis(checkpoint.elapsed());
        self.uncounted = checkpoint.uncounted();
    }
}

impl JobState {
    /// Whether it is over for good.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(
            self,
            Self::Complete | Self::Partial | Self::Cancelled | Self::Failed
        )
    }

    /// Whether it is at work or may go on by itself or on a word: a removal in such a state keeps others from
    /// its keys.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Paused)
    }

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Interrupted => "interrupted",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Every state there is.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Interrupted,
        Self::Complete,
        Self::Partial,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The state of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl JobPrimary {
    pub(super) fn of(report: &PrimaryReport) -> Self {
        Self {
            address: report.address.to_string(),
            keys_before: report.keys_before,
            keys_after: report.keys_after,
            elapsed_ms: millis(report.elapsed),
            error: report.error.as_ref().map(with_causes),
            stopped: report.stopped,
            done: report.error.is_none() && !report.stopped,
            ..Self::default().with(report.counts)
        }
    }

    /// The same with so many keys looked at, or as many as matched: a key that matches was looked at.
    pub(super) fn having_looked_at(mut self, keys: u64) -> Self {
        self.looked_at = keys.max(self.matched);
        self
    }

    /// The same with these counts.
    pub(super) fn with(mut self, counts: Counts) -> Self {
        self.matched = counts.matched;
        self.removed = counts.removed;
        self.gone = counts.gone;
        self.orphans = counts.orphans;
        self.moved = counts.moved;
        self.late = counts.late;
        self.pages = counts.pages;
        self
    }
}

impl JobGap {
    fn of(gap: &Gap) -> Self {
        let (kind, reason) = match &gap.reason {
            GapReason::Failed(error) => ("failed", with_causes(error)),
            GapReason::Unproved(error) => {
                let reason = format!("keys on their way there may be left: {}", with_causes(error));
                ("unproved", reason)
            }
            GapReason::Unserved => ("unserved", gap.reason.to_string()),
            GapReason::Moving => ("moving", gap.reason.to_string()),
            GapReason::Limit => ("limit", gap.reason.to_string()),
        };
        Self {
            primary: gap.primary.as_deref().map(str::to_owned),
            slots: gap.slots.as_ref().map(pairs),
            kind: kind.to_owned(),
            reason,
        }
    }
}

/// The ranges of slots as pairs of first and last.
pub(super) fn pairs(slots: &SlotSet) -> Vec<[u16; 2]> {
    let ranges = slots.ranges();
    ranges
        .iter()
        .map(|range| [*range.start(), *range.end()])
        .collect()
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
