//! Why a lock is not held.

use std::time::Duration;

use cache_core::CacheError;

/// Why a lock was not acquired, or why the work under it did not finish.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Others held the lock all the time.
    #[error("the lock was not free within {}", humantime::format_duration(*.waited))]
    Taken {
        /// How long the caller waited.
        waited: Duration,
    },

    /// The lock was lost while it was held, and the work under it was cancelled.
    #[error("the lock was lost: {0}")]
    Lost(Loss),

    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// How a lock was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// It could not be extended in time.
    #[error("it was not extended in time")]
    Expired,
    /// The cache says that it belongs to another holder or is absent: it was deleted, evicted, or acquired by another
    /// holder after the lease ran out.
    #[error("it is not ours any more")]
    Gone,
}
