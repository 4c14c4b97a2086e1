//! Reports changes of the embedded client to listeners.
//!
//! The call that made a change delivers the event, after the change is visible and before the call returns,
//! with no lock held. A listener that was subscribed when an entry was read receives every later change of
//! it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::{Invalidation, InvalidationListener, InvalidationSource, Subscription, TrackingStatus};

/// The [`InvalidationSource`] of the embedded client.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<Listeners>);

#[derive(Default)]
struct Listeners {
    /// The number of listeners, so that a change without listeners costs one load.
    count: AtomicUsize,
    list: RwLock<Vec<(u64, Arc<dyn InvalidationListener>)>>,
    next_id: AtomicU64,
    ended: AtomicBool,
}

impl Changes {
    /// Whether there is a listener. Call it with the lock of the changed entries held, or before an entry is
    /// read under that lock. Then a reader that relies on a listener and a writer that skips it cannot both
    /// be right.
    #[inline]
    pub(super) fn is_heard(&self) -> bool {
        self.0.count.load(Ordering::Acquire) > 0
    }

    /// Delivers an event. Call it with no lock held.
    pub(super) fn announce(&self, event: &Invalidation) {
        // Listeners are called on a copy of the list, because one of them may end its subscription.
        let list = self.0.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, listener) in list {
            listener.on_invalidation(event);
        }
    }

    /// Marks that nothing will be reported any more.
    pub(super) fn end(&self) {
        self.0.ended.store(true, Ordering::Release);
        self.announce(&Invalidation::ConnectionLost);
    }
}

impl InvalidationSource for Changes {
    fn subscribe(&self, listener: Arc<dyn InvalidationListener>) -> Subscription {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let mut list = self.0.list.write().unwrap_or_else(PoisonError::into_inner);
        list.push((id, listener));
        self.0.count.store(list.len(), Ordering::Release);
        drop(list);
        let listeners = Arc::clone(&self.0);
        Subscription::new(move || {
            let mut list = listeners.list.write().unwrap_or_else(PoisonError::into_inner);
            let at = list.iter().position(|(other, _)| *other == id);
            let ended = at.map(|at| list.remove(at));
            listeners.count.store(list.len(), Ordering::Release);
            drop(list);
            // Dropped only now: a listener may own another subscription, whose end takes the lock.
            drop(ended);
        })
    }

    fn status(&self) -> TrackingStatus {
        if self.0.ended.load(Ordering::Acquire) {
            TrackingStatus::Off("the client is closed".into())
        } else {
            TrackingStatus::On
        }
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes")
            .field("listeners", &self.0.count)
            .finish_non_exhaustive()
    }
}

/// The keys that one call changed, collected under locks and announced after them.
#[derive(Debug)]
pub(super) struct News<'a> {
    changes: &'a Changes,
    keys: Vec<String>,
}

impl<'a> News<'a> {
    pub(super) const fn of(changes: &'a Changes) -> Self {
        Self {
            changes,
            keys: Vec::new(),
        }
    }

    /// Records a changed key. Call it under the lock of its entry.
    #[inline]
    pub(super) fn note(&mut self, key: impl Into<String>) {
        if self.changes.is_heard() {
            self.keys.push(key.into());
        }
    }

    /// Delivers the recorded keys. Call it with no lock held.
    #[inline]
    pub(super) fn announce(self) {
        if !self.keys.is_empty() {
            self.changes.announce(&Invalidation::Keys(self.keys));
        }
    }
}
