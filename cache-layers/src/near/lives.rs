//! How long a value may be kept, and what that means for the status of the near cache.

use std::time::Duration;

use cache_core::{InvalidationSource, TrackingStatus};

/// How a near cache is invalidated at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NearStatus {
    /// Every change is reported, and removes the copy. A value that was read untracked all the same (from a replica,
    /// for example) has a short TTL.
    Tracked,
    /// Changes of the keys of some servers are not reported at the moment, because these servers are not connected.
    /// Their keys are read far each time. Copies of all other keys are invalidated as usual.
    PartlyTracked,
    /// No change is reported, so every copy has a short TTL.
    #[non_exhaustive]
    ShortLived {
        /// Why changes are not reported.
        reason: String,
    },
    /// Nothing is kept: every read is a far one.
    #[non_exhaustive]
    Bypassed {
        /// Why nothing is kept.
        reason: String,
    },
}

/// The TTLs of copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lives {
    /// If every change is reported.
    pub(crate) tracked: Duration,
    /// If changes are not reported. Zero means that nothing is kept.
    pub(crate) untracked: Duration,
}

impl Lives {
    /// How a near cache with these TTLs over `source` is invalidated.
    pub(crate) fn status(&self, source: Option<&dyn InvalidationSource>) -> NearStatus {
        let reason = match source.map(InvalidationSource::status) {
            Some(TrackingStatus::On) => return NearStatus::Tracked,
            Some(TrackingStatus::Partial) => return NearStatus::PartlyTracked,
            Some(TrackingStatus::Off(reason)) => reason,
            None => "the client below reports no changes".to_owned(),
            // Also for a status that is not known yet.
            Some(_) => {
                return NearStatus::Bypassed {
                    reason: "the connection that reports changes is being made anew".to_owned(),
                };
            }
        };
        if self.untracked.is_zero() {
            NearStatus::Bypassed { reason }
        } else {
            NearStatus::ShortLived { reason }
        }
    }

    /// How long a copy may be kept in this state, if it was read `tracked` or not. `None` means not at all.
    pub(crate) fn of(&self, tracked: bool, status: &NearStatus) -> Option<Duration> {
        let life = match status {
            NearStatus::Tracked | NearStatus::PartlyTracked if tracked => self.tracked,
            // It may belong to a server whose changes are not reported at the moment.
            NearStatus::PartlyTracked => Duration::ZERO,
            NearStatus::Tracked | NearStatus::ShortLived { .. } => self.untracked.min(self.tracked),
            NearStatus::Bypassed { .. } => Duration::ZERO,
        };
        (!life.is_zero()).then_some(life)
    }
}
