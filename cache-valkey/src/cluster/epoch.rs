//! When a change of the cluster's epoch has a survey repeated, and how often the epoch is asked for.
//!
//! Pure: the time is an argument. The epoch is the cluster's own count of its changes. It costs one node a short answer, so
//! it can be asked for often where the topology itself, which is long, is not.

use std::time::Duration;

use cache_core::clock::Instant;

/// How long after a new epoch was found the survey is repeated.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// Has the survey that found a new epoch repeated, once: nodes may hear of an epoch before they hear of what
/// it changed, and a redirection that was right a moment ago is believed more than a survey.
#[derive(Debug, Default)]
pub(super) struct EpochWatch {
    epoch: u64,
    /// Since when it is known, until it is confirmed.
    since: Option<Instant>,
}

impl EpochWatch {
    /// Whether the survey is to be repeated by now, `epoch` being what is known.
    pub(super) fn is_to_confirm(&mut self, epoch: u64, now: Instant) -> bool {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.since = Some(now);
        }
        let is_due = self.since.is_some_and(|since| now >= since + CONFIRMATION);
        if is_due {
            self.since = None;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use cache_core::clock;

    use super::*;

    #[test]
    fn a_new_epoch_is_surveyed_once_more_when_it_has_settled() {
        let mut watch = EpochWatch::default();
        let start = clock::now();
        assert!(!watch.is_to_confirm(5, start));
        assert!(!watch.is_to_confirm(5, start + CONFIRMATION / 2));
        assert!(!watch.is_to_confirm(6, start + CONFIRMATION), "counts anew");
        assert!(watch.is_to_confirm(6, start + 2 * CONFIRMATION));
        assert!(!watch.is_to_confirm(6, start + 9 * CONFIRMATION), "once");
    }
}
