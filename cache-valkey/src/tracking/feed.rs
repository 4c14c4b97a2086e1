//! Where listeners hear what connections report, and where it is known whether they do.

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

/// What all connections of one client report, to all listeners.
pub(crate) struct Feed {
    tracking: Tracking,
    /// What hangs on slots: its parts are numbered like them.
    slots: Place,
    listeners: ArcSwap<Vec<Listener>>,
    next: AtomicU64,
    book: Mutex<Book>,
    /// What the book says, for those who ask at every read.
    is_on: AtomicBool,
    closed: AtomicBool,
}

#[derive(Clone)]
struct Listener {
    number: u64,
    listener: Arc<dyn InvalidationListener>,
}

/// What servers have to say of their tracking.
#[derive(Default)]
struct Book {
    members: BTreeMap<u64, TrackingStatus>,
    /// What was logged last.
    told: Option<TrackingStatus>,
}

impl Feed {
    pub(crate) fn new(tracking: Tracking) -> Arc<Self> {
        Arc::new(Self {
            tracking,
            slots: Place::new(),
            listeners: ArcSwap::default(),
            next: AtomicU64::new(0),
            book: Mutex::default(),
            is_on: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) const fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// Whether anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        !self.listeners.load().is_empty()
    }

    /// Calls every listener. It waits for nothing and holds no lock, so that a listener may end
    /// subscriptions.
    pub(crate) fn deliver(&self, event: &Invalidation) {
        for Listener { listener, .. } in self.listeners.load().iter() {
            // A panic would end the connection that reports, and with that be called again, while it unwinds.
            if catch_unwind(AssertUnwindSafe(|| listener.on_invalidation(event))).is_err() {
                tracing::error!("a listener of invalidations panicked; what it keeps may be out of date");
            }
        }
    }

    /// Calls listeners, for what can no longer be told key by key.
    pub(crate) fn everything(&self) {
        self.deliver(&Invalidation::Everything);
    }

    /// What hangs on `slot`.
    pub(crate) const fn slot(&self, slot: u16) -> Place {
        self.slots.part(slot)
    }

    /// Gives up what was read of these slots.
    pub(crate) fn revoke(&self, slots: impl IntoIterator<Item = u16>) {
        slots.into_iter().for_each(|slot| self.slot(slot).revoke());
        self.deliver(&Invalidation::Revoked);
    }

    /// A place for one server's say in the status.
    pub(crate) fn member(self: &Arc<Self>) -> Member {
        Member {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            feed: Arc::clone(self),
        }
    }

    /// From now on the end of tracking is nothing to tell.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, number: u64) {
        self.listeners.rcu(|listeners| {
            let others = listeners.iter().filter(|listener| listener.number != number);
            others.cloned().collect::<Vec<_>>()
        });
    }
}

impl Book {
    /// The status of the whole.
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

    /// Logs the status where it is news.
    fn tell(&mut self, is_heard: bool) {
        let status = self.status();
        if self.told.as_ref() == Some(&status) {
            return;
        }
        match &status {
            TrackingStatus::Off(reason) if is_heard => {
                tracing::warn!(reason, "changes of keys are not reported: nothing is tracked");
            }
            TrackingStatus::Off(reason) => tracing::info!(reason, "changes of keys would not be reported"),
            // Before the first connection there is nothing to interrupt.
            TrackingStatus::Interrupted if self.told.is_none() => return,
            TrackingStatus::Interrupted => {
                tracing::info!("changes of keys are not reported until every primary is connected to again");
            }
            TrackingStatus::Partial => {
                tracing::info!(
                    "changes of some keys are not reported until every primary is connected to again"
                );
            }
            _ if self.told.is_none() => tracing::debug!("changes of keys are reported"),
            _ => tracing::info!("changes of keys are reported again"),
        }
        self.told = Some(status);
    }
}

/// Outside of [`Feed`], because a subscription has to hold on to it.
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
        self.0.book().status()
    }
}

/// One server's say in the status; dropping it takes it back.
pub(crate) struct Member {
    number: u64,
    feed: Arc<Feed>,
}

impl Member {
    pub(crate) const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Says how it is. A server that was never tracked has nothing that could be interrupted, and none is one
    /// that is no primary.
    pub(crate) fn say(&self, status: Option<TrackingStatus>) {
        let mut book = self.feed.book();
        match status {
            Some(TrackingStatus::Interrupted) if !book.members.contains_key(&self.number) => {}
            Some(status) => drop(book.members.insert(self.number, status)),
            None => drop(book.members.remove(&self.number)),
        }
        let is_on = book.status() == TrackingStatus::On;
        self.feed.is_on.store(is_on, Ordering::SeqCst);
        if !self.feed.closed.load(Ordering::Relaxed) {
            book.tell(self.feed.is_heard());
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.say(None);
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
    fn every_listener_hears_every_event_until_its_subscription_ends() {
        let feed = Feed::new(Tracking::OptIn);
        let source = Source(Arc::clone(&feed));
        let (first, listener) = heard();
        let ending = source.subscribe(listener);
        let (second, listener) = heard();
        let _stays = source.subscribe(listener);
        feed.everything();
        drop(ending);
        assert!(feed.is_heard());
        feed.deliver(&Invalidation::ConnectionLost);
        assert_eq!(*first.lock().unwrap(), [Invalidation::Everything]);
        assert_eq!(second.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_listener_may_end_its_own_subscription() {
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
        feed.everything();
        feed.everything();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(!feed.is_heard());
    }

    #[test]
    fn a_listener_that_panics_spares_the_others() {
        let feed = Feed::new(Tracking::OptIn);
        let source = Source(Arc::clone(&feed));
        let _bad = source.subscribe(Arc::new(|_: &Invalidation| panic!("on purpose")));
        let (others, listener) = heard();
        let _good = source.subscribe(listener);
        feed.everything();
        assert_eq!(others.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_status_says_whether_all_or_some_servers_report() {
        let feed = Feed::new(Tracking::OptIn);
        let source = Source(Arc::clone(&feed));
        assert_eq!(source.status(), TrackingStatus::Interrupted);
        let (first, second) = (feed.member(), feed.member());
        first.say(Some(TrackingStatus::Interrupted));
        assert!(
            feed.book().members.is_empty(),
            "never tracked, so not interrupted"
        );
        first.say(Some(TrackingStatus::On));
        assert_eq!(source.status(), TrackingStatus::On);
        let off = TrackingStatus::Off("no".into());
        second.say(Some(off.clone()));
        first.say(Some(TrackingStatus::Interrupted));
        assert_eq!(source.status(), off);
        second.say(Some(TrackingStatus::On));
        assert_eq!(source.status(), TrackingStatus::Partial);
        drop(second);
        assert_eq!(source.status(), TrackingStatus::Interrupted);
        first.say(Some(TrackingStatus::On));
        assert_eq!(source.status(), TrackingStatus::On);
    }
}
