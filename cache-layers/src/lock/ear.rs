//! Hears of changes of one lock, when the client reports them.

use std::sync::Arc;

use cache_core::{CacheClient, Invalidation, InvalidationSource, Subscription, TrackingStatus};
use tokio::sync::Notify;

/// An ear on one key, until it is dropped. What is to be noticed has to be read after it was made.
#[derive(Debug)]
pub(super) struct Ear {
    source: Arc<dyn InvalidationSource>,
    changed: Arc<Notify>,
    _subscription: Subscription,
}

impl Ear {
    pub(super) fn on(client: &dyn CacheClient, key: &str) -> Option<Self> {
        let source = client.invalidations()?;
        let changed = Arc::<Notify>::default();
        let (notify, key) = (Arc::clone(&changed), key.to_owned());
        let subscription = source.subscribe(Arc::new(move |event: &Invalidation| match event {
            Invalidation::Keys(keys) if !keys.contains(&key) => {}
            // After a flush, or a lost connection, one has to look, too.
            _ => notify.notify_one(),
        }));
        Some(Self {
            source,
            changed,
            _subscription: subscription,
        })
    }

    /// Whether a change will be heard of at the moment.
    pub(super) fn hears(&self) -> bool {
        self.source.status() == TrackingStatus::On
    }

    /// Waits for a change since the last one that was waited for.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
