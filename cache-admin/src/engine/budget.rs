//! How many keys a run may still remove.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many keys a run may still remove; all primaries draw on it.
#[derive(Debug)]
pub(super) struct Budget(Option<AtomicU64>);

impl Budget {
    pub(super) fn new(keys: Option<u64>) -> Self {
        Self(keys.map(AtomicU64::new))
    }

    /// Whether there is a limit at all.
    pub(super) const fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// Takes at most `wanted`; how many it got.
    pub(super) fn take(&self, wanted: u64) -> u64 {
        let Some(left) = &self.0 else { return wanted };
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(wanted))
        });
        before.unwrap_or(0).min(wanted)
    }

    /// Gives back what was taken for keys that were not there.
    pub(super) fn give_back(&self, keys: u64) {
        if let Some(left) = &self.0 {
            left.fetch_add(keys, Ordering::Relaxed);
        }
    }

    /// What is left; `None` is without end.
    pub(super) fn left(&self) -> Option<u64> {
        self.0.as_ref().map(|left| left.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_given_than_there_is() {
        let budget = Budget::new(Some(10));
        assert_eq!((budget.take(7), budget.take(7), budget.take(7)), (7, 3, 0));
        budget.give_back(2);
        assert_eq!((budget.take(7), budget.left()), (2, Some(0)));
        assert_eq!(Budget::new(None).take(7), 7);
    }
}
