//! What a run tells while it goes on.

use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;

use super::Counts;
use crate::SlotSet;

/// Something that happened during a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A pass over the primaries begins. The first visits all that may hold matching keys; the second
    /// verifies; further ones visit what moved or could not be reached.
    Pass {
        /// Counted from 1.
        number: u32,
        /// The primaries that it visits.
        primaries: Vec<Arc<str>>,
    },
    /// A primary told how many keys it holds, before its first page.
    Size {
        /// The primary.
        primary: Arc<str>,
        /// How many keys it holds.
        keys: u64,
    },
    /// A page of a primary's keys is done.
    Page {
        /// The primary.
        primary: Arc<str>,
        /// Everything counted there so far, in all passes.
        counts: Counts,
        /// About how many of the primary's keys this pass has looked at so far.
        looked_at: u64,
    },
    /// How far the run is as a whole; told a few times a second, and at the end.
    Progress(Progress),
    /// A primary is done for this pass.
    Swept {
        /// The primary.
        primary: Arc<str>,
        /// Why it could not be finished, if so.
        error: Option<CacheError>,
    },
    /// Slots have another primary than the one under which they were visited; they are visited again.
    Moved {
        /// These slots.
        slots: SlotSet,
    },
    /// Nothing could be done for the rest; it is tried again after a while.
    Waiting {
        /// How long until then.
        pause: Duration,
        /// What is wrong, where that is known.
        error: Option<CacheError>,
    },
}

/// How far a run is as a whole.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// The pass, counted from 1.
    pub pass: u32,
    /// The slots that the run is about; 1 outside of a cluster.
    pub slots: u32,
    /// Those of them that were visited at least once under the primary that serves them. Servers that do not
    /// walk slot by slot add all of theirs at the end.
    pub slots_covered: u32,
    /// Keys removed, on all primaries.
    pub removed: u64,
    /// About how long it still takes, if nothing moves; `None` where that is not known yet.
    pub remaining: Option<Duration>,
}

/// Whoever wants to hear of a run's [`Event`]s.
///
/// Called from the run's own tasks, often and in the middle of the work: return quickly. Any
/// `Fn(&Event)` is one.
pub trait Observer: Send + Sync + 'static {
    /// Hears of one event.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}
