//! Keys that are not tried again for a while, because the last try failed and there is a value to return.
//!
//! For this process only. The lease holds what the fleet knows.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};

/// Keys, each with the time until which it is left alone.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    until: HashMap<String, Instant>,
    /// From how many entries on a search for expired ones is worthwhile.
    sweep_at: usize,
}

const FEW: usize = 64;

impl Holds {
    pub(super) fn hold(&self, key: &str, time: Duration) {
        if time.is_zero() {
            return;
        }
        let now = clock::now();
        let mut held = self.held();
        held.until.insert(key.to_owned(), now + time);
        if held.until.len() >= held.sweep_at.max(FEW) {
            held.until.retain(|_, until| now < *until);
            held.sweep_at = held.until.len() * 2;
        }
    }

    pub(super) fn is_held(&self, key: &str) -> bool {
        self.held()
            .until
            .get(key)
            .is_some_and(|until| clock::now() < *until)
    }

    pub(super) fn release(&self, key: &str) {
        self.held().until.remove(key);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hold_ends_by_itself_and_leaves_nothing_behind() {
        let holds = Holds::default();
        for key in 0..10_000 {
            holds.hold(&key.to_string(), Duration::from_secs(1));
            assert!(holds.is_held(&key.to_string()));
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(!holds.is_held("9000"));
        assert!(holds.held().until.len() < 2 * FEW, "{}", holds.held().until.len());
    }
}
