//! A lock that is held: kept in the background, relied upon by the holder's own clock.

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

/// The fencing number of a lock: whoever holds the lock later has a greater one.
///
/// Hand it to the resource with each change, and let the resource refuse a smaller one than it has seen. This
/// is what protects the resource; see [what a lock promises](super#what-is-not).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(u64);

impl Fence {
    /// The number.
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

/// A lock that is held, until it is [released](Held::release), dropped or lost.
///
/// Dropped, it is released in the background; where that fails, it expires with its lease.
#[derive(Debug)]
#[must_use = "dropped, the lock is released"]
pub struct Held {
    claim: Arc<Claim>,
    standing: Arc<Standing>,
    fence: Fence,
    /// Ends the keeper, also by being dropped.
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

    /// Its fencing number.
    #[must_use]
    pub const fn fence(&self) -> Fence {
        self.fence
    }

    /// Whether it is held, as far as can be known: by this process's clock, and by what was last heard. Once it
    /// is lost it is not held again.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.standing.now().is_ok()
    }

    /// How long it can be relied upon if it is not extended; zero where it is lost.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.standing.now().map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(clock::now())
        })
    }

    /// Lets the lease begin anew. Only needed without
    /// [`auto_extend`](super::LockConfigBuilder::auto_extend).
    ///
    /// # Errors
    ///
    /// [`LockError::Lost`]; [`LockError::Cache`] where the cache failed, and the lock is held as long as it
    /// was before.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the lease may have begun anew without this process relying on it.
    pub async fn extend(&self) -> Result<(), LockError> {
        self.standing.now().map_err(LockError::Lost)?;
        extend(&self.claim, &self.standing).await?;
        self.standing.now().map(drop).map_err(LockError::Lost)
    }

    /// Waits until the lock is lost: as soon as that is heard, and at the latest before the lease can have run
    /// out, whatever the cache does.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn lost(&self) -> Loss {
        self.standing.lost().await
    }

    /// Runs `work` while the lock is held. Where it is lost, `work` is dropped.
    ///
    /// # Errors
    ///
    /// [`LockError::Lost`], also where `work` came to its end and the lock was lost by then, so that what it
    /// did may have met with what another holder did.
    ///
    /// # Cancel safety
    ///
    /// Dropped, `work` is dropped.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, LockError> {
        let done = tokio::select! {
            biased;
            loss = self.lost() => return Err(LockError::Lost(loss)),
            done = work => done,
        };
        // Work that did not yield kept everybody from noticing.
        self.standing.now().map_err(LockError::Lost)?;
        Ok(done)
    }

    /// Gives the lock back; whether it was held until then, or may have been where a reply was lost. A lock that
    /// is somebody else's by now is left alone.
    ///
    /// # Errors
    ///
    /// As [`compare_and_delete`](cache_core::CacheClient::compare_and_delete); the lock then expires with its
    /// lease.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the lock is released all the same.
    pub async fn release(self) -> Result<bool, CacheError> {
        let (reply, answer) = oneshot::channel();
        // The keeper lives as long as its runtime.
        let _gone = self.end.send(reply);
        answer.await.unwrap_or(Err(CacheError::Closed))
    }
}

/// Extends a held lock until it is given back, dropped or lost, and listens for its loss.
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
    let lost = |loss, held| claim.config.listener.tell(&LockEvent::Lost { loss, held });
    let is_reported = ended.is_err();
    let (reply, loss) = match ended {
        Ok(reply) => (reply, standing.now().err()),
        Err(loss) => {
            // Reported at once, also where the holder goes on for a while.
            lost(loss, clock::now() - begun);
            (end.await, None)
        }
    };
    // What is lost is not given back before the holder says that it is done: until the lease runs out
    // nobody else can have it.
    let held = clock::now() - begun;
    let released = claim.release().await;
    if !is_reported {
        match loss.or(matches!(released, Ok(false)).then_some(Loss::Gone)) {
            Some(loss) => lost(loss, held),
            None => claim.config.listener.tell(&LockEvent::Released { held }),
        }
    }
    if let Ok(reply) = reply {
        let _nobody_waits = reply.send(released);
    }
}

/// What does not end.
enum Never {}

async fn extend_on_time(claim: &Claim, standing: &Standing) -> Never {
    while claim.config.auto_extend && standing.now().is_ok() {
        tokio::time::sleep(claim.config.lease / 3).await;
        while let Err(LockError::Cache(_)) = extend(claim, standing).await
            && standing.now().is_ok()
        {
            // A cache that fails is asked often enough to catch it when it is back.
            tokio::time::sleep(claim.config.lease / 30).await;
        }
    }
    std::future::pending().await
}

/// Looks where the lock was changed, by whomever.
async fn listen(claim: &Claim, standing: &Standing, wakes: &Arc<Wakes>) -> Never {
    if claim.client.invalidations().is_some() {
        let mut ear = Ear::on(wakes, &claim.lock_key);
        while standing.now().is_ok() {
            // To read is what makes the next change heard. What is read may be old, where a replica or a
            // near tier answers: that the lock is lost is only said by who would extend it.
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

/// Extends a lock; an error of the cache where that is not known.
async fn extend(claim: &Claim, standing: &Standing) -> Result<(), LockError> {
    let sent = clock::now();
    // By the holder's clock the lock may be lost while the cache is silent.
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
