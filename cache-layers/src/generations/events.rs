//! What the recipe reports about itself.
//!
//! Not in here: metrics. Whoever makes them listens.

use cache_core::CacheError;

/// Something that [`Generations`](super::Generations) did. No event names a namespace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GenerationsEvent {
    /// A call was answered from this process's memory.
    Known,
    /// A call was answered by the cache, in a read of its own or in one that it shared.
    Read,
    /// A namespace stepped to a new generation.
    Bumped,
    /// A namespace had no counter, and got one: all its keys are misses. So it is once for a new namespace; any other time
    /// the counter was lost (evicted, flushed, or in a failover).
    Begun,
    /// A call failed, because the cache did.
    Failed {
        /// What the cache answered.
        error: CacheError,
    },
}
