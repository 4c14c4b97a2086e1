//! What a run did: counts per primary, and an outcome that claims no more than was done.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;
use serde::{Deserialize, Serialize};

use super::Selection;
use crate::SlotSet;

/// What a run did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What was asked for.
    pub selection: Selection,
    /// How it ended.
    pub outcome: Outcome,
    /// Every primary that was visited, or that should have been, by address.
    pub primaries: Vec<PrimaryReport>,
    /// How many passes it took.
    pub passes: u32,
    /// How many slots changed their primary during the run and were visited again.
    pub slots_moved: u32,
    /// Keys that may have been removed at most besides those in the counts, because the process was killed
    /// before it could save how many they were. 0 where the run was not [resumed](super::Engine::resume).
    pub uncounted: u64,
    /// How long it took; of a run that was resumed all its processes together.
    pub elapsed: Duration,
}

impl Report {
    /// The counts of all primaries together.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.primaries
            .iter()
            .fold(Counts::default(), |total, primary| total.plus(primary.counts))
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Every slot was visited, under the primary that serves it at the end, as often as was asked for.
    Complete,
    /// Some of it was done; the rest is listed.
    Partial {
        /// What was not, or not surely, done.
        gaps: Vec<Gap>,
    },
    /// It was told to stop; what was done until then is in the counts.
    Cancelled,
    /// Nothing was done.
    Failed {
        /// Why.
        error: CacheError,
    },
}

impl Outcome {
    /// A short, stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial { .. } => "partial",
            Self::Cancelled => "cancelled",
            Self::Failed { .. } => "failed",
        }
    }
}

/// Slots that a run could not vouch for, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gap {
    /// The primary that serves them, where one does; for [`GapReason::Unproved`] the one that could not be
    /// swept.
    pub primary: Option<Arc<str>>,
    /// The slots; `None` outside of a cluster, where it is every key.
    pub slots: Option<SlotSet>,
    /// Why.
    pub reason: GapReason,
}

/// Why a run cannot vouch for some slots.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GapReason {
    /// Their primary did not answer, or refused.
    Failed(CacheError),
    /// They were visited under their own primary, but keys that were on their way to this other one may be
    /// left there: it did not answer, or refused.
    Unproved(CacheError),
    /// No primary serves them.
    Unserved,
    /// They kept moving from primary to primary.
    Moving,
    /// As many keys were removed as [`max_keys`](super::Options::with_max_keys) allows.
    Limit,
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Unproved(error) => write!(f, "keys on their way there may be left: {error}"),
            Self::Unserved => f.write_str("no primary serves these slots"),
            Self::Moving => f.write_str("these slots are on the move"),
            Self::Limit => f.write_str("the limit of keys was reached"),
        }
    }
}

/// What a run did on one primary.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PrimaryReport {
    /// Its address.
    pub address: Arc<str>,
    /// What was counted there.
    pub counts: Counts,
    /// How many keys it held before; `None` where it did not say.
    pub keys_before: Option<u64>,
    /// How many keys it held afterwards; `None` where it did not say.
    pub keys_after: Option<u64>,
    /// How long the run worked on it, all passes together.
    pub elapsed: Duration,
    /// The last error there, where the last visit ended with one.
    pub error: Option<CacheError>,
    /// Whether the last visit was cut short, by [`Control`](super::Control) or a limit of keys. With an error besides, a removal
    /// was under way of which nobody knows the end: up to a page of keys may be gone in addition.
    pub stopped: bool,
}

/// What was counted, on one primary or on all.
///
/// `matched` is always `removed + gone + orphans`, except in a run that removes nothing, where
/// only `matched` and `orphans` count, of which neither contains the other. A key is counted where it was
/// listed, once its removal was answered: what could not be removed is in no count, and a [`Gap`] says where
/// that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Counts {
    /// Pages asked for.
    pub pages: u64,
    /// Keys listed that match and pass the filters. A server may list a key twice while its tables grow or shrink.
    pub matched: u64,
    /// Keys removed, as the servers answered.
    pub removed: u64,
    /// Keys that were gone when their turn came: expired, removed by others, or listed twice. Where a
    /// removal had to be repeated because its reply was lost, those of the first try are here too.
    pub gone: u64,
    /// Keys that a primary lists but that its cluster does not find: left-overs of a slot that it no
    /// longer serves. No client can reach them.
    pub orphans: u64,
    /// Keys for which the primary pointed elsewhere; they were followed, and count in the above.
    pub moved: u64,
    /// Keys that a pass met in slots that had been visited before: written since, or missed; they count
    /// in the above.
    pub late: u64,
}

impl Counts {
    /// The sum of two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            pages: self.pages.saturating_add(other.pages),
            matched: self.matched.saturating_add(other.matched),
            removed: self.removed.saturating_add(other.removed),
            gone: self.gone.saturating_add(other.gone),
            orphans: self.orphans.saturating_add(other.orphans),
            moved: self.moved.saturating_add(other.moved),
            late: self.late.saturating_add(other.late),
        }
    }
}
