//! What a job tells while it goes on, numbered, so that a listener can go on where it left off.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{JobPrimary, JobProgress, JobState, Timestamp};

/// Something that happened to a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct JobEvent {
    /// Its number: each is greater than the one before, by 1 within one process.
    pub sequence: u64,
    /// When it happened.
    #[cfg_attr(feature = "http", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// What it is.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub enum Happened {
    /// It waits for its turn.
    Queued,
    /// It is at work.
    Started {
        /// Whether another process has done a part of it.
        resumed: bool,
    },
    /// A pass over the primaries begins.
    Pass {
        /// From 1; the second verifies, further ones visit what moved or could not be reached.
        number: u32,
        /// The primaries that it visits.
        primaries: Vec<String>,
    },
    /// How far it is; told a few times a second.
    Progress {
        /// As a whole.
        progress: JobProgress,
        /// On each primary.
        primaries: Vec<JobPrimary>,
    },
    /// A primary is done for this pass.
    Swept {
        /// Its address.
        primary: String,
        /// Why it could not be finished, if so.
        error: Option<String>,
    },
    /// Slots have another primary than before; they are visited again.
    Moved {
        /// The slots, as pairs of first and last.
        slots: Vec<[u16; 2]>,
    },
    /// Nothing can be done for the rest at the moment; it is tried again.
    Waiting {
        /// In how many milliseconds.
        pause_ms: u64,
        /// What is wrong, where that is known.
        error: Option<String>,
    },
    /// It was told to rest.
    Paused,
    /// It was told to go on.
    Resumed,
    /// It was told to stop.
    Stopping,
    /// It is over, or over in this process: no further event follows before it is resumed.
    Ended {
        /// How.
        state: JobState,
        /// Keys that matched.
        matched: u64,
        /// Keys removed.
        removed: u64,
        /// Why it failed, if so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "http", schema(nullable = false))]
        error: Option<String>,
    },
}

impl Happened {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Started { .. } => "started",
            Self::Pass { .. } => "pass",
            Self::Progress { .. } => "progress",
            Self::Swept { .. } => "swept",
            Self::Moved { .. } => "moved",
            Self::Waiting { .. } => "waiting",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Stopping => "stopping",
            Self::Ended { .. } => "ended",
        }
    }
}

/// The events of a process have numbers of their own: above those of all processes before.
const PER_PROCESS: u64 = 1_000_000_000;

/// The latest events of one job.
#[derive(Debug)]
pub(super) struct Kept {
    most: usize,
    events: VecDeque<JobEvent>,
    last: u64,
}

impl Kept {
    /// At most `most` events, of the process with this number, from 0.
    pub(super) fn new(most: usize, process: u32) -> Self {
        Self {
            most: most.max(1),
            events: VecDeque::new(),
            last: u64::from(process) * PER_PROCESS,
        }
    }

    /// With one from before, after which it goes on.
    pub(super) fn with(mut self, event: Option<JobEvent>) -> Self {
        if let Some(event) = event {
            self.last = self.last.max(event.sequence);
            self.events.push_back(event);
        }
        self
    }

    /// The number of the latest.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn push(&mut self, what: Happened) -> &JobEvent {
        if self.events.len() >= self.most {
            self.events.pop_front();
        }
        self.last += 1;
        let event = JobEvent {
            sequence: self.last,
            at: Timestamp::now(),
            what,
        };
        self.events.push_back(event);
        &self.events[self.events.len() - 1]
    }

    /// The first of those that are kept after number `after`.
    pub(super) fn after(&self, after: u64) -> Option<&JobEvent> {
        let index = self.events.partition_point(|event| event.sequence <= after);
        self.events.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_numbers_go_on() {
        let mut kept = Kept::new(3, 0);
        for _ in 0..5 {
            kept.push(Happened::Paused);
        }
        let next = |kept: &Kept, after| kept.after(after).map(|event| event.sequence);
        assert_eq!(
            (next(&kept, 0), next(&kept, 3), next(&kept, 5)),
            (Some(3), Some(4), None)
        );
        let later = Kept::new(3, 1);
        assert!(later.last() > kept.last());
    }

    #[test]
    fn an_event_is_one_flat_object_and_is_read_back() {
        let mut kept = Kept::new(1, 0);
        let event = kept.push(Happened::Pass {
            number: 1,
            primaries: vec!["a:1".to_owned()],
        });
        let value = serde_json::to_value(event).unwrap();
        assert_eq!((&value["type"], &value["sequence"]), (&"pass".into(), &1.into()));
        let read: JobEvent = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), value);
    }
}
