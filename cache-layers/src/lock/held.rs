//! A held lock: extended in the background, and trusted by the holder's own clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient as _, CacheError, clock};
use tokio::sync::oneshot;

use super::claim::{Claim, Taken};
use super::ear::Ear;
use super::error::{LockError, Loss};
use super::events::LockEvent;
use super::standing::Standing;
use crate::wakes::Wakes;

/// The fencing number of a lock. A later holder has a greater number.
///
/// Pass it to the resource with each change, and let the resource refuse a number smaller than one it has seen. That
/// is what protects the resource; see [what a lock does not promise](super#what-is-not).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(u64);

impl Fence {
    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lock that is held until it is [released](Held::release), dropped or lost.
///
/// Dropping it releases it in the background. If that fails, it expires with its lease.
#[derive(Debug)]
#[must_use = "dropped, the lock is released"]
pub struct Held {
    claim: Arc<Claim>,
    standing: Arc<Standing>,
    fence: Fence,
    /// Ends the background task, also when dropped.
    end: oneshot::Sender<oneshot::Sender<Result<bool, CacheError>>>,
}

impl Held {
    pub(super) fn new(claim: Arc<Claim>, taken: Taken, wakes: Arc<Wakes>) -> Self {
        let standing = Arc::new(Standing::until(taken.since + claim.config.relied_on()));
        let (end, ended) = oneshot::channel();
        tokio::spawn(keep(Arc::clone(&claim), Arc::clone(&standing), wakes, ended));
        Self {
            claim,
            standing,
            fence: Fence(taken.fence),
            end,
        }
    }

    /// Returns the fencing number.
    #[must_use]
    pub const fn fence(&self) -> Fence {
        self.fence
    }

    /// Whether the lock is held, as far as this process knows: by its own clock, and by the last report or reply. A
    /// lost lock is never held again.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.standing.now().is_ok()
    }

    /// How long the lock can be relied upon if it is not extended. Zero if it is lost.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.standing.now().map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(clock::now())
        })
    }

    /// Restarts the lease. Only needed without [`auto_extend`](super::LockConfigBuilder::auto_extend).
    ///
    /// # Errors
    ///
    /// [`LockError::Lost`] if the lock is lost. [`LockError::Cache`] if the cache failed; the lock is then held for
    /// as long as before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lease may have been restarted, but this process does not rely on it.
    pub async fn extend(&self) -> Result<(), LockError> {
        self.standing.now().map_err(LockError::Lost)?;
        extend(&self.claim, &self.standing).await?;
        self.standing.now().map(drop).map_err(LockError::Lost)
    }

    /// Waits until the lock is lost. Returns as soon as the loss is reported, and at the latest before the lease can
    /// have run out, even if the cache does not answer.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn lost(&self) -> Loss {
        self.standing.lost().await
    }

    /// Runs `work` while the lock is held. If the lock is lost, `work` is dropped.
    ///
    /// # Errors
    ///
    /// [`LockError::Lost`]. Also if `work` finished but the lock was lost by then, because another holder may have
    /// worked at the same time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work`.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, LockError> {
        let done = tokio::select! {
            biased;
            loss = self.lost() => return Err(LockError::Lost(loss)),
            done = work => done,
        };
        // Work that never yielded hid the loss until now.
        self.standing.now().map_err(LockError::Lost)?;
        Ok(done)
    }

    /// Releases the lock. Returns whether it was held until then, or may have been, if a reply was lost. A lock that
    /// belongs to another holder by now is left alone.
    ///
    /// # Errors
    ///
    /// As [`compare_and_delete`](cache_core::CacheClient::compare_and_delete). The lock then expires with its lease.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lock is released all the same.
    pub async fn release(self) -> Result<bool, CacheError> {
        let (reply, answer) = oneshot::channel();
        // The background task ends only with its runtime.
        let _gone = self.end.send(reply);
        answer.await.unwrap_or(Err(CacheError::Closed))
    }
}

/// Extends a held lock until it is released, dropped or lost, and watches for its loss.
async fn keep(
    claim: Arc<Claim>,
    standing: Arc<Standing>,
    wakes: Arc<Wakes>,
    mut end: oneshot::Receiver<oneshot::Sender<Result<bool, CacheError>>>,
) {
    let begun = clock::now();
    let ended = tokio::select! {
        biased;
        reply = &mut end => Ok(reply),
        loss = standing.lost() => Err(loss),
        never = extend_on_time(&claim, &standing) => match never {},
        never = listen(&claim, &standing, &wakes) => match never {},
    };
    let report = |loss: Option<Loss>| {
        let held = clock::now() - begun;
        claim.config.listener.tell(&match loss {
            Some(loss) => LockEvent::Lost { loss, held },
            None => LockEvent::Released { held },
        });
    };
    let is_reported = ended.is_err();
    let reply = match ended {
        Ok(reply) => reply,
        Err(loss) => {
            // At once, even if the holder goes on for a while.
            report(Some(loss));
            end.await
        }
    };
    // A lost lock is not released before the holder says that it is done. Until the lease runs out, no other holder
    // can acquire it.
    let loss = standing.now().err();
    let released = claim.release().await;
    if !is_reported {
        report(loss.or(matches!(released, Ok(false)).then_some(Loss::Gone)));
    }
    if let Ok(reply) = reply {
        let _nobody_waits = reply.send(released);
    }
}

/// The result of a future that never ends.
enum Never {}

async fn extend_on_time(claim: &Claim, standing: &Standing) -> Never {
    while claim.config.auto_extend && standing.now().is_ok() {
        tokio::time::sleep(claim.config.lease / 3).await;
        while let Err(LockError::Cache(_)) = extend(claim, standing).await
            && standing.now().is_ok()
        {
            // While the cache fails, ask often enough to notice soon when it is back.
            tokio::time::sleep(claim.config.lease / 30).await;
        }
    }
    std::future::pending().await
}

/// Looks at the lock whenever a change is reported.
async fn listen(claim: &Claim, standing: &Standing, wakes: &Arc<Wakes>) -> Never {
    if claim.client.invalidations().is_some() {
        let mut ear = Ear::on(wakes, &claim.lock_key);
        while standing.now().is_ok() {
            // A read makes the server report the next change. The value may be old if a replica or a near cache
            // answers. So only an extension decides that the lock is lost.
            let found = claim.client.get_entry(&claim.lock_key).await;
            if found.is_ok_and(|entry| entry.value == claim.value()) {
                ear.changed().await;
            } else {
                let _said_elsewhere = extend(claim, standing).await;
                tokio::time::sleep(claim.config.lease / 30).await;
            }
        }
    }
    std::future::pending().await
}

/// Extends a lock. Returns the cache's error if the result is not known.
async fn extend(claim: &Claim, standing: &Standing) -> Result<(), LockError> {
    let sent = clock::now();
    // The lock may be lost by the holder's clock while the cache does not answer.
    let extended = tokio::select! {
        biased;
        extended = claim.extend() => extended?,
        loss = standing.lost() => return Err(LockError::Lost(loss)),
    };
    if !extended {
        return Err(LockError::Lost(standing.lose(Loss::Gone)));
    }
    let until = sent + claim.config.relied_on();
    standing.extend(until).map_err(LockError::Lost)
}
