//! Passes reports of changes on to listeners above the near cache, after it has dropped the copies itself.
//!
//! If the remote cache told a listener directly, the listener could drop its own copy, read the near cache's old one,
//! and keep that for good.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use cache_core::{Invalidation, InvalidationListener, InvalidationSource, Subscription, TrackingStatus};

use crate::near::Near;

/// The near cache's copies, and the listeners that are told after them.
#[derive(Debug)]
pub(super) struct Changes {
    near: Arc<Near<Option<Bytes>>>,
    listeners: Arc<Listeners>,
}

#[derive(Default)]
struct Listeners {
    list: RwLock<Vec<(u64, Arc<dyn InvalidationListener>)>>,
    next_id: AtomicU64,
}

impl InvalidationListener for Changes {
    fn on_invalidation(&self, event: &Invalidation) {
        self.near.apply(event);
        // Called on a copy of the list, because a listener may end its subscription.
        let list = self
            .listeners
            .list
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (_, listener) in list {
            listener.on_invalidation(event);
        }
    }
}

/// The [`InvalidationSource`] of a near cache. The near cache gets reports as long as it or this exists.
#[derive(Debug)]
pub(super) struct Source {
    far: Arc<dyn InvalidationSource>,
    listeners: Arc<Listeners>,
    _subscription: Subscription,
}

impl Source {
    /// Listens to `far`, drops from `near` what it reports, and passes the report on.
    pub(super) fn over(far: Arc<dyn InvalidationSource>, near: &Arc<Near<Option<Bytes>>>) -> Self {
        let listeners = Arc::<Listeners>::default();
        let subscription = far.subscribe(Arc::new(Changes {
            near: Arc::clone(near),
            listeners: Arc::clone(&listeners),
        }));
        Self {
            far,
            listeners,
            _subscription: subscription,
        }
    }
}

impl InvalidationSource for Source {
    fn subscribe(&self, listener: Arc<dyn InvalidationListener>) -> Subscription {
        let id = self.listeners.next_id.fetch_add(1, Ordering::Relaxed);
        let mut list = self
            .listeners
            .list
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        list.push((id, listener));
        drop(list);
        let listeners = Arc::clone(&self.listeners);
        Subscription::new(move || {
            let mut list = listeners.list.write().unwrap_or_else(PoisonError::into_inner);
            let at = list.iter().position(|(other, _)| *other == id);
            let ended = at.map(|at| list.remove(at));
            drop(list);
            // Dropped only now: dropping a listener may end another subscription, which takes the lock.
            drop(ended);
        })
    }

    fn status(&self) -> TrackingStatus {
        self.far.status()
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listeners")
    }
}
