//! Recent denials, so that a caller far over the limit does not cost the server two commands per call.
//!
//! Not in here: the decision. It is made from a remembered use in the same way as from the server's reply.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};

use super::quota::Used;

/// More are not remembered. That only costs round trips.
const MOST: usize = 4_096;

/// The use, by the key of the window.
pub(super) struct Denials {
    memory: Duration,
    /// How many there are, so that no call takes the lock while nothing is denied.
    count: AtomicUsize,
    entries: Mutex<HashMap<String, (Used, Instant)>>,
}

impl Denials {
    pub(super) fn new(memory: Duration) -> Self {
        Self {
            memory,
            count: AtomicUsize::new(0),
            entries: Mutex::default(),
        }
    }

    /// The use of the window at `key` when a call was last denied, unless that is too long ago.
    pub(super) fn recall(&self, key: &str) -> Option<Used> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (used, until) = *entries.get(key)?;
        if clock::now() < until {
            return Some(used);
        }
        entries.remove(key);
        self.count.store(entries.len(), Ordering::Release);
        None
    }

    pub(super) fn remember(&self, key: &str, used: Used) {
        if self.memory.is_zero() {
            return;
        }
        let now = clock::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MOST {
            entries.retain(|_, (_, until)| now < *until);
        }
        if entries.len() < MOST {
            entries.insert(key.to_owned(), (used, now + self.memory));
        }
        self.count.store(entries.len(), Ordering::Release);
    }
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials")
            .field("memory", &self.memory)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
