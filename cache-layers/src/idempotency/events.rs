//! The events that the recipe reports.
//!
//! Not in here: metrics. They are made by a listener.

use cache_core::CacheError;

use super::{Acquired, Completion};

/// An event of an [`Idempotency`](super::Idempotency). No event names a scope or a key, or holds a response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IdempotencyEvent {
    /// A request may run, and has claimed the key.
    Run,
    /// A request runs without protection because the cache failed:
    /// [`OnFailure::RunUnprotected`](super::OnFailure::RunUnprotected).
    Unprotected {
        /// The error of the cache.
        error: CacheError,
    },
    /// A request found another one with its key running.
    InProgress,
    /// A request got the response of an earlier one.
    Replayed,
    /// A request found that it has run, but its response was too large to be kept.
    NotReplayable,
    /// A request was refused because its key belongs to another request.
    Mismatch,
    /// A request was refused because the cache failed.
    Failed {
        /// The error of the cache.
        error: CacheError,
    },
    /// A run ended with a response.
    Completed {
        /// What happened to the response. Never [`Completion::Unprotected`].
        completion: Completion,
    },
    /// A key was released, so that a retry runs.
    Released,
    /// The outcome of a run could not be stored within the TTL of its claim. Retries got "in progress" until the
    /// claim expired. After that, one of them runs.
    NotStored {
        /// The last error of the cache.
        error: CacheError,
    },
}

impl IdempotencyEvent {
    pub(super) const fn of(acquired: &Acquired) -> Self {
        match acquired {
            Acquired::Run(_) => Self::Run,
            Acquired::InProgress { .. } => Self::InProgress,
            Acquired::Replay(_) => Self::Replayed,
            Acquired::NotReplayable => Self::NotReplayable,
            Acquired::Mismatch => Self::Mismatch,
        }
    }
}
