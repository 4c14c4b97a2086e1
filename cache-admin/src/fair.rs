//! Places that several share so that none of them takes them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many names are remembered before those that hold nothing are forgotten.
const REMEMBERED: usize = 64;

/// A number of places, of which each name holds some at most.
#[derive(Debug)]
pub(crate) struct Fair {
    all: Arc<Semaphore>,
    each: usize,
    own: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Fair {
    /// `all` places, of which one name holds `each` at most; both are 1 at least.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all.max(1))),
            each: each.max(1),
            own: Mutex::default(),
        }
    }

    /// Waits for a place for `name`. Those who wait for their own name keep nobody else waiting.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn take(&self, name: &str) -> Option<Place> {
        // Neither semaphore is ever closed.
        let own = self.own(name).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { _own: own, _all: all })
    }

    /// A place for `name`, if one is free.
    #[cfg(any(test, feature = "http"))]
    pub(crate) fn try_take(&self, name: &str) -> Option<Place> {
        let own = self.own(name).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _own: own, _all: all })
    }

    fn own(&self, name: &str) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = own.get(name).and_then(Weak::upgrade) {
            return known;
        }
        if own.len() >= REMEMBERED {
            own.retain(|_, known| known.strong_count() > 0);
        }
        let new = Arc::new(Semaphore::new(self.each));
        own.insert(name.to_owned(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn one_name_leaves_places_to_others() {
        let fair = Fair::new(4, 3);
        let held: Vec<Place> = (0..3).filter_map(|_| fair.try_take("a")).collect();
        assert_eq!(held.len(), 3);
        assert!(fair.try_take("a").is_none());
        assert!(fair.take("a").now_or_never().is_none());
        let other = fair.try_take("b");
        assert!(other.is_some() && fair.try_take("c").is_none());
        drop(held);
        assert!(fair.take("a").now_or_never().flatten().is_some());
    }

    #[test]
    fn names_that_hold_nothing_are_forgotten() {
        let fair = Fair::new(1, 1);
        for number in 0..10 * REMEMBERED {
            drop(fair.try_take(&number.to_string()));
        }
        assert!(fair.own.lock().unwrap().len() <= REMEMBERED);
    }
}
