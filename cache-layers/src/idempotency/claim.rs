//! The right to run a request, in the hands of who runs it.
//!
//! Not in here: what is done to the cache for it. That is the keeper's, which hears from a claim how the run
//! ended.

use std::fmt;

use bytes::Bytes;
use cache_core::CacheError;
use tokio::sync::oneshot;

/// How a run ended, and who wants to know what came of it. No end at all is a dropped claim.
pub(super) enum End {
    Completed(Bytes, Reply),
    Released(Reply),
}

/// Hears what became of the response; of a key that was given back, that nothing was kept.
pub(super) type Reply = oneshot::Sender<Result<Completion, CacheError>>;

/// What became of a completed run's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// It is stored: retries get it.
    Stored,
    /// It is too large to be kept. That the request has run is stored: retries are told so.
    NotKept,
    /// The claim had expired and another run has, or had, the key: what that one stored stays.
    Overtaken,
    /// The cache had failed before the run: nothing was stored.
    Unprotected,
}

/// The right to run a request, until it is completed or given back.
///
/// It is extended in the background while it is held, for as long as
/// [`max_run`](super::IdempotencyConfigBuilder::max_run) says.
///
/// # Dropping
///
/// A claim that is dropped gives its key back in the background, as [`release`](Claim::release) does: so an
/// early return, a panic or a cancelled handler lets a retry run at once. Where the work may be done by then,
/// that retry does it again: run the work and [`complete`](Claim::complete) in a task of their own, which no
/// caller's leaving cancels. The HTTP middleware does so.
///
/// A process that is killed gives nothing back. Its claims expire after
/// [`claim_life`](super::IdempotencyConfigBuilder::claim_life).
#[must_use = "dropping a claim gives it back"]
pub struct Claim {
    /// To whom the end is told; nobody where there is no protection.
    keeper: Option<oneshot::Sender<End>>,
}

impl Claim {
    pub(super) const fn held(keeper: oneshot::Sender<End>) -> Self {
        Self { keeper: Some(keeper) }
    }

    pub(super) const fn unprotected() -> Self {
        Self { keeper: None }
    }

    /// Whether the key is held. Not so where the cache failed and
    /// [`OnFailure::RunUnprotected`](super::OnFailure::RunUnprotected) was chosen.
    #[must_use]
    pub const fn is_protected(&self) -> bool {
        self.keeper.is_some()
    }

    /// Stores the response, for retries to get. Call it before the response is sent, so that no retry of one
    /// who has it runs.
    ///
    /// # Errors
    ///
    /// The cache's. Then it is tried again in the background for as long as a claim lives; until it succeeds,
    /// retries are told that the request is in progress.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the response will be stored, whether or not somebody waits for it.
    pub async fn complete(self, response: impl Into<Bytes>) -> Result<Completion, CacheError> {
        let Some(keeper) = self.keeper else {
            return Ok(Completion::Unprotected);
        };
        let (reply, answer) = oneshot::channel();
        // A keeper that is gone went with the runtime.
        let _sent = keeper.send(End::Completed(response.into(), reply));
        answer.await.unwrap_or(Err(CacheError::Closed))
    }

    /// Gives the key back, so that a retry runs: for a run that failed and left nothing behind.
    ///
    /// # Errors
    ///
    /// The cache's. Then it is tried again in the background; at the latest the claim expires.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping a claim gives it back, too.
    pub async fn release(self) -> Result<(), CacheError> {
        let Some(keeper) = self.keeper else {
            return Ok(());
        };
        let (reply, answer) = oneshot::channel();
        let _sent = keeper.send(End::Released(reply));
        answer.await.unwrap_or(Err(CacheError::Closed)).map(drop)
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("protected", &self.is_protected())
            .finish()
    }
}
