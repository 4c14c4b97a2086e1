//! Decides when a new cluster epoch triggers another discovery.
//!
//! Pure: the time is an argument. The epoch counts the cluster's changes. Asking for it is cheap, so it can
//! be asked for far more often than the topology.

use std::time::Duration;

use cache_core::clock::Instant;

/// How long after a new epoch the discovery is repeated.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// Repeats the discovery that found a new epoch, once. Nodes may learn an epoch before they learn what it
/// changed, and a redirection that was right a moment ago takes precedence over a discovery.
#[derive(Debug, Default)]
pub(super) struct EpochWatch {
    epoch: u64,
    /// When it was first seen, until it is confirmed.
    since: Option<Instant>,
}

impl EpochWatch {
    /// Whether to repeat the discovery now; `epoch` is the known epoch.
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
    fn new_epoch_is_confirmed_by_one_more_discovery() {
        let mut watch = EpochWatch::default();
        let start = clock::now();
        assert!(!watch.is_to_confirm(5, start));
        assert!(!watch.is_to_confirm(5, start + CONFIRMATION / 2));
        assert!(!watch.is_to_confirm(6, start + CONFIRMATION), "counts anew");
        assert!(watch.is_to_confirm(6, start + 2 * CONFIRMATION));
        assert!(!watch.is_to_confirm(6, start + 9 * CONFIRMATION), "once");
    }
}
