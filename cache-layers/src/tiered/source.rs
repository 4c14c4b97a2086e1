//! What changed, told on to those above the tier: only after the tier itself has dropped it.
//!
//! Were they told by the far tier directly, one of them could drop its copy, read the tier's old one, and
//! keep that for good.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use cache_core::{Invalidation, InvalidationListener, InvalidationSource, Subscription, TrackingStatus};

use crate::near::Near;

/// The tier's copies, and who is told after them.
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
        // Called on a copy of the list: one of them may end its subscription.
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

/// The [`InvalidationSource`] of a tier. The tier hears of changes as long as it lives, or as this does.
#[derive(Debug)]
pub(super) struct Source {
    far: Arc<dyn InvalidationSource>,
    listeners: Arc<Listeners>,
    _subscription: Subscription,
}

impl Source {
    /// Listens to `far`, drops from `near` what it reports, and tells on.
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
            // Only now: a listener that goes may end a subscription of its own, which takes the lock.
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
