//! Delivers invalidations from connections to listeners, and keeps the tracking status.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use cache_core::{
    Invalidation, InvalidationListener, InvalidationSource, Place, Subscription, TrackingStatus,
};

use super::Tracking;

/// Delivers what all connections of a client report to all listeners.
pub(crate) struct Feed {
    tracking: Tracking,
    /// The scope of tracked reads by slot: part n belongs to slot n.
    slots: Place,
    listeners: ArcSwap<Vec<Listener>>,
    next: AtomicU64,
    statuses: Mutex<Statuses>,
    /// Whether the overall status is `On`, readable without a lock.
    is_on: AtomicBool,
    closed: AtomicBool,
}

#[derive(Clone)]
struct Listener {
    number: u64,
    listener: Arc<dyn InvalidationListener>,
}

/// The tracking status of each node.
#[derive(Default)]
struct Statuses {
    members: BTreeMap<u64, TrackingStatus>,
    /// The status that was logged last.
    last_logged: Option<TrackingStatus>,
}

impl Feed {
    pub(crate) fn new(tracking: Tracking) -> Arc<Self> {
        Arc::new(Self {
            tracking,
            slots: Place::new(),
            listeners: ArcSwap::default(),
            next: AtomicU64::new(0),
            statuses: Mutex::default(),
            is_on: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) const fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// Whether there is a listener.
    pub(crate) fn has_listeners(&self) -> bool {
        !self.listeners.load().is_empty()
    }

    /// Calls every listener. Does not wait or hold a lock, so that a listener may end subscriptions.
    pub(crate) fn deliver(&self, event: &Invalidation) {
        for Listener { listener, .. } in self.listeners.load().iter() {
            // A panic would close the reporting connection, which calls listeners again while it unwinds.
            if catch_unwind(AssertUnwindSafe(|| listener.on_invalidation(event))).is_err() {
                tracing::error!("a listener of invalidations panicked; what it keeps may be out of date");
            }
        }
    }

    /// Tells listeners to drop everything, if single keys cannot be named.
    pub(crate) fn invalidate_everything(&self) {
        self.deliver(&Invalidation::Everything);
    }

    /// The scope of tracked reads of `slot`.
    pub(crate) const fn slot(&self, slot: u16) -> Place {
        self.slots.part(slot)
    }

    /// Revokes tracked reads of these slots.
    pub(crate) fn revoke(&self, slots: impl IntoIterator<Item = u16>) {
        slots.into_iter().for_each(|slot| self.slot(slot).revoke());
        self.deliver(&Invalidation::Revoked);
    }

    /// Adds a node to the status.
    pub(crate) fn register_node(self: &Arc<Self>) -> NodeStatus {
        NodeStatus {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            feed: Arc::clone(self),
        }
    }

    /// Stops logging status changes, because the client is closing.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn statuses(&self) -> MutexGuard<'_, Statuses> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, number: u64) {
        self.listeners.rcu(|listeners| {
            let others = listeners.iter().filter(|listener| listener.number != number);
            others.cloned().collect::<Vec<_>>()
        });
    }
}

impl Statuses {
    /// The overall status.
    fn status(&self) -> TrackingStatus {
        let members = self.members.values();
        if let Some(refused) = members
            .clone()
            .find(|status| matches!(status, TrackingStatus::Off(_)))
        {
            return refused.clone();
        }
        let on = members.filter(|status| **status == TrackingStatus::On).count();
        match on {
            0 => TrackingStatus::Interrupted,
            all if all == self.members.len() => TrackingStatus::On,
            _ => TrackingStatus::Partial,
        }
    }

    /// Logs the status if it has changed.
    fn log_change(&mut self, has_listeners: bool) {
        let status = self.status();
        if self.last_logged.as_ref() == Some(&status) {
            return;
        }
        match &status {
            TrackingStatus::Off(reason) if has_listeners => {
                tracing::warn!(reason, "changes of keys are not reported: nothing is tracked");
            }
            TrackingStatus::Off(reason) => tracing::info!(reason, "changes of keys would not be reported"),
            // Before the first connection there was no tracking to interrupt.
            TrackingStatus::Interrupted if self.last_logged.is_none() => return,
            TrackingStatus::Interrupted => {
                tracing::info!("changes of keys are not reported until every primary is connected to again");
            }
            TrackingStatus::Partial => {
                tracing::info!(
                    "changes of some keys are not reported until every primary is connected to again"
                );
            }
            _ if self.last_logged.is_none() => tracing::debug!("changes of keys are reported"),
            _ => tracing::info!("changes of keys are reported again"),
        }
        self.last_logged = Some(status);
    }
}

/// Separate from [`Feed`], because a subscription must hold the feed.
#[derive(Debug)]
pub(crate) struct Source(pub(crate) Arc<Feed>);

impl InvalidationSource for Source {
    fn subscribe(&self, listener: Arc<dyn InvalidationListener>) -> Subscription {
        let feed = Arc::clone(&self.0);
        let number = feed.next.fetch_add(1, Ordering::Relaxed);
        let listener = Listener { number, listener };
        feed.listeners.rcu(|listeners| {
            let mut listeners = listeners.as_ref().clone();
            listeners.push(listener.clone());
            listeners
        });
        if let TrackingStatus::Off(reason) = self.status() {
            tracing::warn!(reason, "changes of keys are not reported: nothing is tracked");
        }
        Subscription::new(move || feed.end(number))
    }

    fn status(&self) -> TrackingStatus {
        if self.0.is_on.load(Ordering::SeqCst) {
            return TrackingStatus::On;
        }
        self.0.statuses().status()
    }
}

/// One node's part of the status; dropping it removes the part.
pub(crate) struct NodeStatus {
    number: u64,
    feed: Arc<Feed>,
}

impl NodeStatus {
    pub(crate) const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Sets the node's status; `None` if it does not count. A node that was never tracked cannot be
    /// interrupted.
    pub(crate) fn set(&self, status: Option<TrackingStatus>) {
        let mut statuses = self.feed.statuses();
        match status {
            Some(TrackingStatus::Interrupted) if !statuses.members.contains_key(&self.number) => {}
            Some(status) => drop(statuses.members.insert(self.number, status)),
            None => drop(statuses.members.remove(&self.number)),
        }
        let is_on = statuses.status() == TrackingStatus::On;
        self.feed.is_on.store(is_on, Ordering::SeqCst);
        if !self.feed.closed.load(Ordering::Relaxed) {
            statuses.log_change(self.feed.has_listeners());
        }
    }
}

impl Drop for NodeStatus {
    fn drop(&mut self) {
        self.set(None);
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("tracking", &self.tracking)
            .field("listeners", &self.listeners.load().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard() -> (Arc<Mutex<Vec<Invalidation>>>, Arc<dyn InvalidationListener>) {
        let heard: Arc<Mutex<Vec<_>>> = Arc::default();
        let listener = {
            let heard = Arc::clone(&heard);
            move |event: &Invalidation| heard.lock().unwrap().push(event.clone())
        };
        (heard, Arc::new(listener))
    }

    #[test]
    fn listeners_get_every_event_until_unsubscribed() {
        let feed = Feed::new(Tracking::OptIn);
        let source = Source(Arc::clone(&feed));
        let (first, listener) = heard();
        let ending = source.subscribe(listener);
        let (second, listener) = heard();
        let _stays = source.subscribe(listener);
        feed.invalidate_everything();
        drop(ending);
        assert!(feed.has_listeners());
        feed.deliver(&Invalidation::ConnectionLost);
        assert_eq!(*first.lock().unwrap(), [Invalidation::Everything]);
        assert_eq!(second.lock().unwrap().len(), 2);
    }

    #[test]
    fn listener_may_end_its_own_subscription() {
        let feed = Feed::new(Tracking::OptIn);
        let own: Arc<Mutex<Option<Subscription>>> = Arc::default();
        let calls = Arc::new(AtomicU64::new(0));
        let listener = {
            let (own, calls) = (Arc::clone(&own), Arc::clone(&calls));
            move |_: &Invalidation| {
                calls.fetch_add(1, Ordering::Relaxed);
                drop(own.lock().unwrap().take());
            }
        };
        *own.lock().unwrap() = Some(Source(Arc::clone(&feed)).subscribe(Arc::new(listener)));
        feed.invalidate_everything();
        feed.invalidate_everything();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(!feed.has_listeners());
    }

    #[test]
    fn panicking_listener_does_not_affect_others() {
        let feed = Feed::new(Tracking::OptIn);
        let source = Source(Arc::clone(&feed));
        let _bad = source.subscribe(Arc::new(|_: &Invalidation| panic!("on purpose")));
        let (others, listener) = heard();
        let _good = source.subscribe(listener);
        feed.invalidate_everything();
        assert_eq!(others.lock().unwrap().len(), 1);
    }

    #[test]
    fn status_says_whether_all_or_some_nodes_report() {
        let feed = Feed::new(Tracking::OptIn);
        let source = Source(Arc::clone(&feed));
        assert_eq!(source.status(), TrackingStatus::Interrupted);
        let (first, second) = (feed.register_node(), feed.register_node());
        first.set(Some(TrackingStatus::Interrupted));
        assert!(
            feed.statuses().members.is_empty(),
            "never tracked, so not interrupted"
        );
        first.set(Some(TrackingStatus::On));
        assert_eq!(source.status(), TrackingStatus::On);
        let off = TrackingStatus::Off("no".into());
        second.set(Some(off.clone()));
        first.set(Some(TrackingStatus::Interrupted));
        assert_eq!(source.status(), off);
        second.set(Some(TrackingStatus::On));
        assert_eq!(source.status(), TrackingStatus::Partial);
        drop(second);
        assert_eq!(source.status(), TrackingStatus::Interrupted);
        first.set(Some(TrackingStatus::On));
        assert_eq!(source.status(), TrackingStatus::On);
    }
}
