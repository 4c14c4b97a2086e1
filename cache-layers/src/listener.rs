//! How layers and recipes report what they do.
//!
//! Each has one type of event, and takes one [`Listener`] for it in its configuration. Not in here: metrics. They are
//! one possible listener ([`CacheMetrics::listener`](crate::CacheMetrics::listener)).

use std::fmt::{self, Debug};
use std::sync::Arc;

/// Receives the events of type `E` of a layer or a recipe.
///
/// No event names a key or holds a value.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use cache_core::MemoryCache;
/// use cache_layers::lock::{Lock, LockConfig, LockEvent};
/// use cache_layers::Listener;
///
/// #[derive(Debug, Default)]
/// struct LostLocks(AtomicU64);
///
/// impl Listener<LockEvent> for LostLocks {
///     fn on_event(&self, event: &LockEvent) {
///         if let LockEvent::Lost { .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let config = LockConfig::builder().listener(Arc::new(LostLocks::default())).build()?;
/// let locks = Lock::new(Arc::new(MemoryCache::default()), config);
/// # let _ = locks;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
pub trait Listener<E>: Debug + Send + Sync + 'static {
    /// Called on the task on which the event happens, with no lock held. It must be quick and must not block. Events
    /// that happen at the same time on several threads may arrive in any order.
    fn on_event(&self, event: &E);
}

/// The listener of a configuration, if there is one.
pub(crate) struct MaybeListener<E>(Option<Arc<dyn Listener<E>>>);

impl<E: 'static> MaybeListener<E> {
    pub(crate) fn of(listener: Arc<dyn Listener<E>>) -> Self {
        Self(Some(listener))
    }

    pub(crate) fn tell(&self, event: &E) {
        if let Some(listener) = &self.0 {
            listener.on_event(event);
        }
    }
}

impl<E> Default for MaybeListener<E> {
    fn default() -> Self {
        Self(None)
    }
}

impl<E> Clone for MaybeListener<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Debug for MaybeListener<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
