//! The events that the recipe reports.
//!
//! Not in here: metrics. They are made by a listener.

use cache_core::CacheError;

/// An event of [`Generations`](super::Generations). No event names a namespace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GenerationsEvent {
    /// A call was answered from this process's memory.
    Known,
    /// A call was answered by the cache, in its own read or in a shared one.
    Read,
    /// A namespace moved to a new generation.
    Bumped,
    /// A namespace had no counter and got one, so all its keys are misses. This happens once for a new namespace. At
    /// any other time the counter was lost (evicted, flushed, or in a failover).
    Begun,
    /// A call failed because the cache did.
    Failed {
        /// The error of the cache.
        error: CacheError,
    },
}
