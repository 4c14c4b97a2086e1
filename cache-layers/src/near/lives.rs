//! How long what was read may be kept, and what that says of the tier.

use std::time::Duration;

use cache_core::{InvalidationSource, TrackingStatus};

/// How a near tier is kept true at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NearStatus {
    /// Every change is reported, and takes the copy away. What was read untracked all the same (from a
    /// replica, say) lives a short life.
    Tracked,
    /// Changes of the keys of some servers are not reported at the moment, because these are not connected to. Their
    /// keys are read far each time; copies of all other keys are kept true as when all is well.
    PartlyTracked,
    /// No change is reported: everything lives a short life only.
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

/// How long copies live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lives {
    /// Where every change is reported.
    pub(crate) tracked: Duration,
    /// Where it is not; zero is not kept.
    pub(crate) untracked: Duration,
}

impl Lives {
    /// How a tier with these lives over `source` is kept true.
    pub(crate) fn status(&self, source: Option<&dyn InvalidationSource>) -> NearStatus {
        let reason = match source.map(InvalidationSource::status) {
            Some(TrackingStatus::On) => return NearStatus::Tracked,
            Some(TrackingStatus::Partial) => return NearStatus::PartlyTracked,
            Some(TrackingStatus::Off(reason)) => reason,
            None => "the client below reports no changes".to_owned(),
            // Also what is not known yet.
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

    /// How long a copy may be kept that was read `tracked` or not, in this state; `None` is not at all.
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
