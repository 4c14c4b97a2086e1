//! The events that locks report.
//!
//! Not in here: metrics. They are made by a listener.

use std::time::Duration;

use cache_core::CacheError;

use super::error::Loss;

/// An event of a [`Lock`](super::Lock). No event names a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LockEvent {
    /// A caller acquired a lock.
    Acquired {
        /// How long it waited, round trips included.
        waited: Duration,
    },
    /// A caller did not get a lock because others had it.
    Taken {
        /// How long it waited.
        waited: Duration,
    },
    /// A caller did not get a lock because the cache failed.
    Failed {
        /// The last error of the cache.
        error: CacheError,
        /// How long it waited.
        waited: Duration,
    },
    /// A held lock was released.
    Released {
        /// How long it was held.
        held: Duration,
    },
    /// A held lock was lost, and the work under it was cancelled.
    Lost {
        /// How it was lost.
        loss: Loss,
        /// How long it was held.
        held: Duration,
    },
}
