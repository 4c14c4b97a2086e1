//! What the recipe reports about itself.
//!
//! Not in here: metrics. Whoever makes them listens.

use cache_core::CacheError;

use super::{Acquired, Completion};

/// Something that an [`Idempotency`](super::Idempotency) did. No event names a scope or a key, or holds a response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IdempotencyEvent {
    /// A request is to run, and has the key.
    Run,
    /// A request is to run without protection, because the cache failed:
    /// [`OnFailure::RunUnprotected`](super::OnFailure::RunUnprotected).
    Unprotected {
        /// What the cache answered.
        error: CacheError,
    },
    /// A request was told that another one with its key is running.
    InProgress,
    /// A request got the response of an earlier one.
    Replayed,
    /// A request was told that it has run, and that its response was too large to be kept.
    NotReplayable,
    /// A request was refused: its key stands for another request.
    Mismatch,
    /// A request was refused, because the cache failed.
    Failed {
        /// What the cache answered.
        error: CacheError,
    },
    /// A run ended with a response.
    Completed {
        /// What became of the response; never [`Completion::Unprotected`].
        completion: Completion,
    },
    /// A key was given back, so that a retry runs.
    Released,
    /// The end of a run could not be stored within the life of its claim. Retries were told that the request is in progress
    /// until the claim expired; after that, one of them runs.
    NotStored {
        /// What the cache answered last.
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
