//! Wakes the waiters of a key when the backend reports that it changed: one listener for all keys of a recipe.
//!
//! Not in here: waiting without reports. Waiters then look again at intervals.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cache_core::{CacheClient, Invalidation, InvalidationSource, Subscription, TrackingStatus};
use tokio::sync::watch;

/// The watched keys of one recipe, and its listener on the client.
pub(crate) struct Wakes {
    client: Arc<dyn CacheClient>,
    watched: Arc<Watched>,
    /// Created with the first watch. Until then no one needs reports.
    listening: OnceLock<Option<Listening>>,
}

struct Listening {
    source: Arc<dyn InvalidationSource>,
    _subscription: Subscription,
}

#[derive(Debug, Default)]
struct Watched {
    /// The number of keys, so that a report without waiters costs one load.
    count: AtomicUsize,
    keys: Mutex<Keys>,
}

/// Each watched key, with its sender and the number of watches.
type Keys = HashMap<Arc<str>, (watch::Sender<()>, usize)>;

/// A watch over keys, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch<const N: usize> {
    watched: Arc<Watched>,
    keys: [Arc<str>; N],
    changes: [Changes; N],
}

/// The changes of one key since it is watched, or since the last one that was waited for.
#[derive(Debug)]
pub(crate) struct Changes(watch::Receiver<()>);

impl Wakes {
    pub(crate) fn new(client: Arc<dyn CacheClient>) -> Self {
        Self {
            client,
            watched: Arc::default(),
            listening: OnceLock::new(),
        }
    }

    /// Whether changes are reported at the moment.
    pub(crate) fn are_on(&self) -> bool {
        // If some servers do not report changes, reads from the others are still tracked, and their entries say so.
        self.listening().is_some_and(|listening| {
            matches!(
                listening.source.status(),
                TrackingStatus::On | TrackingStatus::Partial
            )
        })
    }

    /// Watches keys from now on. To notice a change, read the key after this.
    pub(crate) fn watch<const N: usize>(&self, keys: [&str; N]) -> Watch<N> {
        self.listening();
        let mut table = self.watched.keys();
        let keys = keys.map(Arc::<str>::from);
        let changes = keys.each_ref().map(|key| {
            let (sender, users) = table
                .entry(Arc::clone(key))
                .or_insert_with(|| (watch::Sender::new(()), 0));
            *users += 1;
            Changes(sender.subscribe())
        });
        self.watched.count.store(table.len(), Ordering::Release);
        drop(table);
        Watch {
            watched: Arc::clone(&self.watched),
            keys,
            changes,
        }
    }

    fn listening(&self) -> Option<&Listening> {
        let listen = || {
            let source = self.client.invalidations()?;
            let watched = Arc::clone(&self.watched);
            let subscription = source.subscribe(Arc::new(move |event: &Invalidation| watched.hear(event)));
            Some(Listening {
                source,
                _subscription: subscription,
            })
        };
        self.listening.get_or_init(listen).as_ref()
    }
}

impl<const N: usize> Watch<N> {
    /// The changes of each key, in the order of the call to [`Wakes::watch`].
    pub(crate) const fn changes(&mut self) -> &mut [Changes; N] {
        &mut self.changes
    }
}

impl Changes {
    /// Waits for a change since the last one that was waited for.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The table holds the sender for as long as there is a watch.
            std::future::pending::<()>().await;
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
                for (sender, _) in keys.iter().filter_map(|key| table.get(key.as_str())) {
                    sender.send_replace(());
                }
            }
            // After a flush, or a lost connection, every waiter has to look.
            _ => table.values().for_each(|(sender, _)| sender.send_replace(())),
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const N: usize> Drop for Watch<N> {
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
            .field("listens", &self.listening.get().is_some())
            .finish_non_exhaustive()
    }
}
