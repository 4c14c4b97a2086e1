//! Tells listeners what changed in the embedded client.
//!
//! An event is delivered by the call that made the change, after the change can be seen and before that
//! call answers, with no lock held. A listener that was there when an entry was read hears of every
//! later change of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::{Invalidation, InvalidationListener, InvalidationSource, Subscription, TrackingStatus};

/// The [`InvalidationSource`] of the embedded client.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<Listeners>);

#[derive(Default)]
struct Listeners {
    /// How many there are, so that a change which nobody hears costs one load.
    count: AtomicUsize,
    list: RwLock<Vec<(u64, Arc<dyn InvalidationListener>)>>,
    next_id: AtomicU64,
    ended: AtomicBool,
}

impl Changes {
    /// Whether anybody listens. To be asked with the lock of the changed entries held, or before an entry
    /// is read under it: then the reader that counts on a listener and the writer that skips it cannot
    /// both be right.
    #[inline]
    pub(super) fn is_heard(&self) -> bool {
        self.0.count.load(Ordering::Acquire) > 0
    }

    /// Delivers an event. To be called with no lock held.
    pub(super) fn announce(&self, event: &Invalidation) {
        // Listeners are called on a copy of the list: one of them may end its subscription.
        let list = self.0.list.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, listener) in list {
            listener.on_invalidation(event);
        }
    }

    /// Says that nothing will be reported any more.
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
            // Only now: a listener that goes may end a subscription of its own, which takes the lock.
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

/// The keys that one call changed, collected under locks, to be announced after them.
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

    /// Notes a changed key; to be called under the lock of its entry.
    #[inline]
    pub(super) fn note(&mut self, key: impl Into<String>) {
        if self.changes.is_heard() {
            self.keys.push(key.into());
        }
    }

    /// Delivers what was noted; to be called with no lock held.
    #[inline]
    pub(super) fn announce(self) {
        if !self.keys.is_empty() {
            self.changes.announce(&Invalidation::Keys(self.keys));
        }
    }
}
