//! News of what changed in the backend, from whoever changed it.
//!
//! The seam between a client whose backend reports changes (client tracking) and what keeps copies of
//! values (a near tier). Events are delivered by calling a listener, in the order in which the
//! connection delivered them and before the reply that followed them on that connection is handed to
//! its caller. So a listener that marks a key before it reads it can never miss a change between the
//! reply and the moment it stores the copy.

use std::fmt;
use std::sync::Arc;

/// What changed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalidation {
    /// These keys were written, deleted, expired or evicted.
    Keys(Vec<String>),
    /// Everything may have changed (the backend was flushed, or cannot say what changed).
    Everything,
    /// A connection that reports changes is gone: from now on nothing that was read over it can be trusted, and
    /// nothing read before this may be kept. What was read with a [`Vouch`](crate::Vouch) can be trusted as long as
    /// that holds; the rest may have been read over it.
    ConnectionLost,
    /// Changes of some of what was read are not reported any more, since slots, or a node, have another part in the
    /// cluster. As after [`ConnectionLost`](Self::ConnectionLost), a [`Vouch`](crate::Vouch) says which.
    Revoked,
}

/// Takes [`Invalidation`]s as they arrive.
pub trait InvalidationListener: Send + Sync + 'static {
    /// Called for each event, in order, on the task that reads the connection: it must be quick and
    /// must not block.
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
    /// Changes of the keys of some servers are reported, those of others are not until they are connected to again.
    /// [`Entry::tracked`](crate::Entry::tracked) says which of it an entry is.
    Partial,
    /// The connection is being made anew; reads are not tracked until it is back.
    Interrupted,
    /// The backend does not report changes, for this reason.
    Off(String),
}

/// Where a client's [`Invalidation`]s can be heard. Layers wrap it to translate the keys on the way up.
pub trait InvalidationSource: fmt::Debug + Send + Sync + 'static {
    /// Calls `listener` for every event from now on, until the [`Subscription`] is dropped.
    ///
    /// An event that is being delivered at that moment, on another thread, may still reach the listener
    /// after the drop has returned. The drop waits for no listener, so a listener may end subscriptions,
    /// its own among them.
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
