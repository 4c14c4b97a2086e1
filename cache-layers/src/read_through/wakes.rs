//! Wakes those who wait for a change of a key, when the backend reports it.
//!
//! Not in here: what they do where it does not. They look again after a while by themselves.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache_core::{CacheClient, Invalidation, InvalidationSource, Subscription, TrackingStatus};
use tokio::sync::Notify;

/// The watched keys of one read-through, and the ear on its client.
pub(super) struct Wakes {
    watched: Arc<Watched>,
    source: Option<Arc<dyn InvalidationSource>>,
    _subscription: Option<Subscription>,
}

#[derive(Debug, Default)]
struct Watched {
    /// How many there are, so that news that nobody waits for costs one load.
    count: AtomicUsize,
    keys: Mutex<Keys>,
}

/// Each watched key, with whom to wake and how many watch.
type Keys = HashMap<Arc<str>, (Arc<Notify>, usize)>;

/// A watch over a value and its lease, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    watched: Arc<Watched>,
    keys: [Arc<str>; 2],
    pub(super) changed: [Arc<Notify>; 2],
}

impl Wakes {
    pub(super) fn new(client: &dyn CacheClient) -> Self {
        let watched = Arc::new(Watched::default());
        let source = client.invalidations();
        let listener = Arc::clone(&watched);
        let subscription = source
            .as_ref()
            .map(|source| source.subscribe(Arc::new(move |event: &Invalidation| listener.hear(event))));
        Self {
            watched,
            source,
            _subscription: subscription,
        }
    }

    /// Whether a change will be heard of at the moment.
    pub(super) fn are_on(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.status() == TrackingStatus::On)
    }

    /// Watches two keys from now on. What is to be noticed has to be read after this.
    pub(super) fn watch(&self, keys: [&str; 2]) -> Watch {
        let mut table = self.watched.keys();
        let keys = keys.map(Arc::<str>::from);
        let changed = keys.each_ref().map(|key| {
            let (notify, users) = table.entry(Arc::clone(key)).or_default();
            *users += 1;
            Arc::clone(notify)
        });
        self.watched.count.store(table.len(), Ordering::Release);
        drop(table);
        Watch {
            watched: Arc::clone(&self.watched),
            keys,
            changed,
        }
    }
}

impl Watched {
    fn hear(&self, event: &Invalidation) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let table = self.keys();
        match event {
            Invalidation::Keys(keys) => {
                for (notify, _) in keys.iter().filter_map(|key| table.get(key.as_str())) {
                    notify.notify_waiters();
                }
            }
            // After a flush, or a lost connection, everybody has to look.
            _ => table.values().for_each(|(notify, _)| notify.notify_waiters()),
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut table = self.watched.keys();
        for key in &self.keys {
            if let Some((_, users)) = table.get_mut(key) {
                *users -= 1;
                if *users == 0 {
                    table.remove(key);
                }
            }
        }
        self.watched.count.store(table.len(), Ordering::Release);
    }
}

impl fmt::Debug for Wakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakes")
            .field("watched", &self.watched.count)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
