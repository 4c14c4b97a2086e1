//! What is known of one job: how it stands, its latest events, and what a run's own events mean for it.

use std::collections::HashMap;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use serde::{Deserialize, Serialize};

use super::event::Kept;
use super::job::{millis, pairs};
use super::request::{Repeatable, Spent};
use super::{Happened, Job, JobEvent, JobPrimary};
use crate::{CacheIdentity, Event, with_causes};

/// How often progress is told at most.
const EVERY: Duration = Duration::from_millis(250);

/// A job as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) job: Job,
    pub(super) repeatable: Option<Repeatable>,
    /// What it was confirmed by.
    #[serde(default)]
    pub(super) spent: Option<Spent>,
    /// The cache that it belongs to.
    #[serde(default)]
    pub(super) cache: Option<CacheIdentity>,
    /// How many processes have had it before this one.
    pub(super) process: u32,
    /// The event with which it ended.
    pub(super) end: Option<JobEvent>,
}

/// What is known of one job at this moment.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) record: Record,
    pub(super) kept: Kept,
    /// Whether there is a run in this process.
    pub(super) runs: bool,
    pub(super) since: Option<Instant>,
    pub(super) elapsed_before: u64,
    /// By primary: the keys that earlier passes looked at.
    looked_before: HashMap<String, u64>,
    told: Option<Instant>,
}

impl Book {
    pub(super) fn new(record: Record, events: usize) -> Self {
        Self {
            kept: Kept::new(events, record.process).with(record.end.clone()),
            elapsed_before: record.job.progress.elapsed_ms,
            record,
            runs: false,
            since: None,
            looked_before: HashMap::new(),
            told: None,
        }
    }

    pub(super) fn job(&self) -> Job {
        let mut job = self.record.job.clone();
        job.progress.elapsed_ms = millis(self.elapsed());
        job
    }

    pub(super) fn elapsed(&self) -> Duration {
        let here = self.since.map_or(Duration::ZERO, |since| clock::now() - since);
        Duration::from_millis(self.elapsed_before) + here
    }

    pub(super) fn ended(&self) -> Happened {
        let job = &self.record.job;
        Happened::Ended {
            state: job.state,
            matched: job.progress.matched,
            removed: job.progress.removed,
            error: job.error.clone(),
        }
    }

    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::Pass { number, primaries } => {
                for address in primaries {
                    let primary = self.primary(address);
                    let looked_at = primary.looked_at;
                    primary.done = false;
                    primary.error = None;
                    self.looked_before.insert(address.to_string(), looked_at);
                }
                self.record.job.progress.pass = *number;
                self.kept.push(Happened::Pass {
                    number: *number,
                    primaries: primaries.iter().map(ToString::to_string).collect(),
                });
            }
            Event::Size { primary, keys } => {
                // What it held before, not what it held before the latest pass.
                self.primary(primary).keys_before.get_or_insert(*keys);
            }
            Event::Page {
                primary,
                counts,
                looked_at,
            } => {
                let before = self.looked_before.get(&**primary).copied().unwrap_or_default();
                let primary = self.primary(primary);
                *primary = std::mem::take(primary)
                    .with(*counts)
                    .having_looked_at(before.saturating_add(*looked_at));
                self.count();
            }
            Event::Progress(progress) => {
                let shown = &mut self.record.job.progress;
                shown.pass = progress.pass;
                shown.slots = progress.slots;
                shown.slots_covered = progress.slots_covered;
                shown.remaining_ms = progress.remaining.map(millis);
                self.count();
                let now = clock::now();
                if self.told.is_none_or(|told| now - told >= EVERY) {
                    self.told = Some(now);
                    let job = self.job();
                    self.kept.push(Happened::Progress {
                        progress: job.progress,
                        primaries: job.primaries,
                    });
                }
            }
            Event::Swept { primary, error } => {
                let error = error.as_ref().map(with_causes);
                let known = self.primary(primary);
                known.done = error.is_none();
                known.error.clone_from(&error);
                self.kept.push(Happened::Swept {
                    primary: primary.to_string(),
                    error,
                });
            }
            Event::Moved { slots } => {
                self.record.job.slots_moved += slots.len();
                self.kept.push(Happened::Moved { slots: pairs(slots) });
            }
            Event::Waiting { pause, error } => {
                self.kept.push(Happened::Waiting {
                    pause_ms: millis(*pause),
                    error: error.as_ref().map(with_causes),
                });
            }
        }
    }

    fn primary(&mut self, address: &str) -> &mut JobPrimary {
        let primaries = &mut self.record.job.primaries;
        let index = primaries.iter().position(|known| known.address == address);
        let index = index.unwrap_or_else(|| {
            primaries.push(JobPrimary {
                address: address.to_owned(),
                ..JobPrimary::default()
            });
            primaries.len() - 1
        });
        &mut primaries[index]
    }

    fn count(&mut self) {
        let job = &mut self.record.job;
        job.progress.matched = job.primaries.iter().map(|primary| primary.matched).sum();
        job.progress.removed = job.primaries.iter().map(|primary| primary.removed).sum();
    }
}
