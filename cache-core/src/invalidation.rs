//! Reports of what changed in the backend, whichever client changed it.
//!
//! This is the interface between a client whose backend reports changes (client tracking) and a near cache
//! (L1), which keeps copies of values. Events are delivered by calling a listener, in the order in which the
//! connection received them, and before the caller gets the reply that followed them on that connection. So a
//! listener that marks a key before it reads the key cannot miss a change between the reply and the moment it
//! stores the copy.

use std::fmt;
use std::sync::Arc;

/// What changed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalidation {
    /// These keys were written, deleted, expired or evicted.
    Keys(Vec<String>),
    /// Everything may have changed: the backend was flushed, or cannot say what changed.
    Everything,
    /// A connection that reports changes is gone. Nothing read over it is reliable any longer, and nothing
    /// read before this event may be kept. An entry with a [`Vouch`](crate::Vouch) is reliable
    /// as long as that is valid; any other entry may have been read over the lost connection.
    ConnectionLost,
    /// Changes of some entries are no longer reported, because slots or a node changed their role in the
    /// cluster. As after [`ConnectionLost`](Self::ConnectionLost), a [`Vouch`](crate::Vouch)
    /// says which.
    Revoked,
}

/// Receives [`Invalidation`]s as they arrive.
pub trait InvalidationListener: Send + Sync + 'static {
    /// Called for each event, in order, on the task that reads the connection. It must be quick and must not
    /// block.
    fn on_invalidation(&self, event: &Invalidation);
}

impl<F: Fn(&Invalidation) + Send + Sync + 'static> InvalidationListener for F {
    fn on_invalidation(&self, event: &Invalidation) {
        self(event);
    }
}

/// Whether changes are being reported at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackingStatus {
    /// Changes of every tracked key are reported.
    On,
    /// Some servers report changes of their keys. The others do not until the client has reconnected to them.
    /// [`Entry::tracked`](crate::Entry::tracked) says which applies to an entry.
    Partial,
    /// The client is reconnecting; reads are not tracked until it is connected.
    Interrupted,
    /// The backend does not report changes, for this reason.
    Off(String),
}

/// A client's source of [`Invalidation`]s. Layers wrap it to translate the keys on the way up.
pub trait InvalidationSource: fmt::Debug + Send + Sync + 'static {
    /// Calls `listener` for every event from now on, until the [`Subscription`] is dropped.
    ///
    /// An event that another thread is delivering at that moment may reach the listener after the drop has
    /// returned. The drop waits for no listener, so a listener may end subscriptions, including its own.
    #[must_use = "dropping the subscription ends it"]
    fn subscribe(&self, listener: Arc<dyn InvalidationListener>) -> Subscription;

    /// Whether changes are being reported at the moment.
    fn status(&self) -> TrackingStatus;
}

/// Keeps a listener subscribed; dropping it ends the subscription.
#[must_use = "dropping the subscription ends it"]
pub struct Subscription(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Subscription {
    /// A subscription that calls `end` when it is dropped.
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn dropping_a_subscription_ends_it_once() {
        let ended = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&ended);
        drop(Subscription::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    }
}
