//! What locks report about themselves.
//!
//! Not in here: metrics. Whoever makes them listens.

use std::time::Duration;

use cache_core::CacheError;

use super::error::Loss;

/// Something that a [`Lock`](super::Lock) did. No event names a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LockEvent {
    /// A caller got a lock.
    Acquired {
        /// How long it waited, round trips included.
        waited: Duration,
    },
    /// A caller did not get a lock, because others had it.
    Taken {
        /// How long it waited.
        waited: Duration,
    },
    /// A caller did not get a lock, because the cache failed.
    Failed {
        /// What the cache answered last.
        error: CacheError,
        /// How long it waited.
        waited: Duration,
    },
    /// A held lock was given back.
    Released {
        /// How long it was held.
        held: Duration,
    },
    /// A held lock was lost; work under it was cancelled.
    Lost {
        /// How.
        loss: Loss,
        /// How long it was held.
        held: Duration,
    },
}
