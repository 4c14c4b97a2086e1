//! The generations that this process has read, each kept for a short time.
//!
//! Not in here: reading them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Invalidation};

use crate::shared_task::SharedTask;

/// More namespaces are not kept at once. That only costs round trips.
const MOST: usize = 16_384;

/// The namespaces, by the key of their counter.
#[derive(Debug, Default)]
pub(super) struct Near(Mutex<HashMap<String, Arc<Space>>>);

/// One namespace.
#[derive(Debug, Default)]
pub(super) struct Space {
    copy: Mutex<Kept>,
    /// One read for all callers that ask at the same time.
    pub(super) reading: SharedTask<Result<u64, CacheError>>,
}

#[derive(Debug, Default)]
struct Kept {
    number: Option<(u64, Instant)>,
    /// How many changes of the number were reported.
    changes: u64,
}

impl Near {
    pub(super) fn space(&self, key: &str) -> Arc<Space> {
        let mut spaces = self.spaces();
        if let Some(space) = spaces.get(key) {
            return Arc::clone(space);
        }
        if spaces.len() >= MOST {
            spaces.retain(|_, space| space.number().is_some());
        }
        if spaces.len() >= MOST {
            spaces.clear();
        }
        let space = Arc::<Space>::default();
        spaces.insert(key.to_owned(), Arc::clone(&space));
        space
    }

    pub(super) fn hear(&self, event: &Invalidation) {
        let spaces = self.spaces();
        match event {
            Invalidation::Keys(keys) => {
                for space in keys.iter().filter_map(|key| spaces.get(key)) {
                    space.forget();
                }
            }
            // After a flush or a lost connection, everything may have changed.
            _ => spaces.values().for_each(|space| space.forget()),
        }
    }

    fn spaces(&self) -> MutexGuard<'_, HashMap<String, Arc<Space>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Space {
    /// The number, if it was read recently enough.
    pub(super) fn number(&self) -> Option<u64> {
        let (number, until) = self.kept().number?;
        (clock::now() < until).then_some(number)
    }

    pub(super) fn changes(&self) -> u64 {
        self.kept().changes
    }

    /// Keeps a number that was read, unless changes were reported after the count `changes`. Returns whether it was
    /// kept.
    pub(super) fn keep(&self, number: u64, until: Instant, changes: u64) -> bool {
        let mut kept = self.kept();
        let unchanged = kept.changes == changes;
        if unchanged {
            kept.number = Some((number, until));
        }
        unchanged
    }

    pub(super) fn forget(&self) {
        let mut kept = self.kept();
        kept.number = None;
        kept.changes += 1;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn more_namespaces_than_are_kept_push_out_the_old_ones() {
        let near = Near::default();
        let keep = |name: usize| {
            let until = clock::now() + Duration::from_secs(1);
            near.space(&name.to_string()).keep(7, until, 0)
        };
        assert!((0..MOST * 2 + 1).all(keep));
        assert!(near.spaces().len() <= MOST);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!((0..MOST / 2).all(keep));
        assert!((0..MOST / 2).all(|name| near.space(&name.to_string()).number() == Some(7)));
    }
}
