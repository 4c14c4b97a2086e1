//! The right to run a request.
//!
//! Not in here: the calls to the cache. The background task (`keeper.rs`) makes them, and the claim tells it how the
//! run ended.

use std::fmt;

use bytes::Bytes;
use cache_core::CacheError;
use tokio::sync::oneshot;

/// How a run ended, and where to send the result. A dropped claim sends nothing.
pub(super) enum End {
    Completed(Bytes, Reply),
    Released(Reply),
}

/// Receives what happened to the response. For a released key that is [`Completion::NotKept`].
pub(super) type Reply = oneshot::Sender<Result<Completion, CacheError>>;

/// What happened to the response of a completed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// It is stored: retries get it.
    Stored,
    /// It is too large to be kept. The fact that the request has run is stored, and retries learn that.
    NotKept,
    /// The claim had expired and another run has, or had, the key. What that run stored stays.
    Overtaken,
    /// The cache had failed before the run, so nothing was stored.
    Unprotected,
}

/// The right to run a request, until it is completed or released.
///
/// While it is held, it is extended in the background, for as long as
/// [`max_run`](super::IdempotencyConfigBuilder::max_run) allows.
///
/// # Dropping
///
/// Dropping a claim releases its key in the background, as [`release`](Claim::release) does. So an early return, a
/// panic or a cancelled handler lets a retry run at once. If the work may be done by then, the retry does it again.
/// To avoid that, run the work and [`complete`](Claim::complete) in a separate task, which goes on when the caller
/// leaves. The HTTP middleware does so.
///
/// A process that is killed releases nothing. Its claims expire after
/// [`claim_life`](super::IdempotencyConfigBuilder::claim_life).
#[must_use = "dropping a claim gives it back"]
pub struct Claim {
    /// Receives the end of the run. `None` if the run is not protected.
    keeper: Option<oneshot::Sender<End>>,
}

impl Claim {
    pub(super) const fn held(keeper: oneshot::Sender<End>) -> Self {
        Self { keeper: Some(keeper) }
    }

    pub(super) const fn unprotected() -> Self {
        Self { keeper: None }
    }

    /// Whether the key is held. It is not if the cache failed and
    /// [`OnFailure::RunUnprotected`](super::OnFailure::RunUnprotected) was chosen.
    #[must_use]
    pub const fn is_protected(&self) -> bool {
        self.keeper.is_some()
    }

    /// Stores the response for retries. Call it before the response is sent, so that a caller that has the response
    /// cannot cause a second run by a retry.
    ///
    /// # Errors
    ///
    /// The cache's. The response is then stored in the background, by tries for as long as a claim lasts. Until one
    /// succeeds, retries get "in progress".
    ///
    /// # Cancel safety
    ///
    /// Once polled, the response is stored whether or not the caller waits for it.
    pub async fn complete(self, response: impl Into<Bytes>) -> Result<Completion, CacheError> {
        let Some(keeper) = self.keeper else {
            return Ok(Completion::Unprotected);
        };
        let (reply, answer) = oneshot::channel();
        // If the background task is gone, its runtime has ended.
        let _sent = keeper.send(End::Completed(response.into(), reply));
        answer.await.unwrap_or(Err(CacheError::Closed))
    }

    /// Releases the key so that a retry runs. For a run that failed and left nothing behind.
    ///
    /// # Errors
    ///
    /// The cache's. The release is then tried again in the background. At the latest the claim expires.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping a claim releases it too.
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
