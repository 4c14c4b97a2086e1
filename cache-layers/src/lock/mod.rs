//! One at a time, in a whole fleet.
//!
//! In here: [`Lock`] and what it promises. What is done in the cache is in `claim.rs`, what a holder knows by its
//! own clock in `standing.rs`. Not in here: other layers. A lock stands on top of any client.
//!
//! # What is promised
//!
//! - **One holder**, as far as the cache keeps what it said: a lock is taken, extended and given back
//!   atomically, by a random token that only its holder has. Who does not hold it cannot extend or release it.
//! - **A lost lock cancels the work.** [`Lock::run`] drops the work's future as soon as the lock is deleted or
//!   somebody else's, where the client reports changes, or at the next extension where it does not; and at the
//!   latest, by the holder's own clock, [a margin](LockConfigBuilder::margin) before the lease can have run
//!   out at the server, whether or not the cache answers.
//! - **A fencing number that grows**: of two holders the later one has the greater number, however long either
//!   was stopped, and whatever the clocks say.
//! - **A lost reply is no lost lock.** Who does not know whether a request was carried out asks by its token.
//! - **Who leaves strands nobody**: a call that is dropped gives back what it may have taken. A holder that is
//!   killed keeps others waiting for the lease at most.
//! - **First come, first served** within a process, but for a caller that is not polled when its turn comes: nobody
//!   waits for that one. What it may have taken in the cache by then expires with the lease. Between processes
//!   whoever is first.
//!
//! # What is not
//!
//! **No lock with a lease can promise that two never work at once**, and neither does this one. A holder that is
//! stopped (by a paused virtual machine, a blocking call, a page fault) between looking at the clock and
//! changing the resource changes it when somebody else holds the lock. And a server that replicates
//! asynchronously may, at a failover, lose a lock that it confirmed; so may an eviction or a flush. What
//! protects the resource is the [`Fence`]: the resource has to refuse a number that is smaller than one that it
//! has seen. See Martin Kleppmann, ["How to do distributed
//! locking"](https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html). Where the resource cannot
//! do that, take a lock as a way to save work, not as what keeps data right.
//!
//! Redlock is not used: a majority of independent servers does not help against a holder that was stopped, and
//! gives no fencing number.
//!
//! The counter of fencing numbers is as safe as the cache. Lost by an eviction or a flush, it begins anew at
//! the time of day in milliseconds, as it did the first time: greater than all numbers before, as long as the
//! lock was taken less than a thousand times a second on average and clocks differ by less than the counter
//! lived. A failover that loses the last numbers may hand them out again.
//!
//! Time at which the machine sleeps is not counted by its monotonic clock on all systems.
//!
//! # In the cache
//!
//! Beside the key, in the key's slot of a cluster: at `KEY:#lock` the text `1 ` and 32 hex digits of the holder's
//! token, then a space and the fencing number; at `KEY:#fence` the counter. Behind both names of a key without a
//! hash tag follow `:#` and three letters or digits that depend on the key. A pattern that covers the key and ends
//! in `*` covers both.
//!
//! To take a lock costs three round trips (token, number, both), to find it taken one.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use cache_core::MemoryCache;
//! use cache_layers::{Lock, LockConfig, LockError};
//!
//! # async fn write_report(fence: u64) -> u32 { 42 }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let lock = Lock::new(Arc::new(MemoryCache::default()), LockConfig::default());
//!
//! let wait = Duration::from_secs(5);
//! let pages = lock
//!     .run("billing:v1:report", wait, |fence| write_report(fence.get()))
//!     .await?;
//! assert_eq!(pages, 42);
//!
//! // By hand, for work that is not one future:
//! let held = lock.acquire("billing:v1:report", wait).await?;
//! assert!(lock.try_acquire("billing:v1:report").await?.is_none());
//! assert!(held.is_held());
//! held.release().await?;
//! # Ok::<(), LockError>(())
//! # }).unwrap();
//! ```

mod claim;
mod config;
mod ear;
mod error;
mod events;
mod held;
mod standing;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError, Ttl};
use rand::Rng as _;

pub use self::config::{LockConfig, LockConfigBuilder};
pub use self::error::{LockError, Loss};
pub use self::events::LockEvent;
pub use self::held::{Fence, Held};

use self::claim::{Attempt, Claim};
use self::ear::Ear;
use self::turns::Turns;
use crate::wakes::Wakes;

/// Locks, each by the name of a key. See the [module](self) for what is promised.
///
/// Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Lock {
    client: Arc<dyn CacheClient>,
    config: Arc<LockConfig>,
    turns: Arc<Turns>,
    wakes: Arc<Wakes>,
}

impl Lock {
    /// Locks that are kept by `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: LockConfig) -> Self {
        Self {
            wakes: Arc::new(Wakes::new(Arc::clone(&client))),
            client,
            config: Arc::new(config),
            turns: Arc::default(),
        }
    }

    /// The client that they stand on.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.client
    }

    /// Takes the lock of `key` if it is free; `None` where somebody has it.
    ///
    /// # Errors
    ///
    /// As [`set_if_absent`](CacheClient::set_if_absent). What may have been taken is given back, or expires.
    ///
    /// # Cancel safety
    ///
    /// Dropped, what may have been taken is given back, or expires.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn try_acquire(&self, key: &str) -> Result<Option<Held>, CacheError> {
        let begun = clock::now();
        let tried = self.attempt(key).await;
        self.tell(begun, &tried);
        tried
    }

    /// Takes the lock of `key`, and waits for it for `wait` at most, all round trips included.
    ///
    /// # Behaviour
    ///
    /// Who waits is woken by the client where that reports changes, and looks again every now and then where it
    /// does not. A cache that fails for a while is waited for, too.
    ///
    /// # Errors
    ///
    /// [`LockError::Taken`] where others had it; [`LockError::Cache`] where the cache failed last, or for a
    /// `key` that cannot be one.
    ///
    /// # Cancel safety
    ///
    /// As [`try_acquire`](Self::try_acquire).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn acquire(&self, key: &str, wait: Duration) -> Result<Held, LockError> {
        let begun = clock::now();
        let mut trouble = None;
        let waiting = self.acquire_in_turn(key, &mut trouble);
        let acquired = match tokio::time::timeout(wait, waiting).await {
            Ok(held) => held.map(Some),
            Err(_) => trouble.map_or(Ok(None), Err),
        };
        self.tell(begun, &acquired);
        acquired?.ok_or(LockError::Taken { waited: wait })
    }

    /// Does `work` under the lock of `key`, for which it waits for `wait` at most, and gives the lock back.
    ///
    /// Where the lock is lost meanwhile, `work` is dropped at its next `await`. It gets the fencing number, for
    /// whatever it changes.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); [`LockError::Lost`] where the lock was lost before the work was done. A
    /// lock that cannot be given back since the cache fails is no error: it expires.
    ///
    /// # Cancel safety
    ///
    /// Dropped, `work` is dropped and the lock is given back in the background.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn run<F, Fut>(&self, key: &str, wait: Duration, work: F) -> Result<Fut::Output, LockError>
    where
        F: FnOnce(Fence) -> Fut,
        Fut: Future,
    {
        let held = self.acquire(key, wait).await?;
        let done = held.guard(work(held.fence())).await;
        let released = held.release().await;
        match (done, released) {
            (Ok(_), Ok(false)) => Err(LockError::Lost(Loss::Gone)),
            (done, _) => done,
        }
    }

    /// One try to take the lock.
    async fn attempt(&self, key: &str) -> Result<Option<Held>, CacheError> {
        let claim = Arc::new(Claim::new(&self.client, &self.config, key)?);
        let attempt = Attempt::of(&claim);
        let taken = claim.take().await?;
        attempt.ended();
        Ok(taken.map(|taken| Held::new(claim, taken, Arc::clone(&self.wakes))))
    }

    /// Reports how a caller's request for a lock ended.
    fn tell(&self, begun: Instant, acquired: &Result<Option<Held>, CacheError>) {
        let waited = clock::now() - begun;
        self.config.listener.tell(&match acquired {
            Ok(Some(_)) => LockEvent::Acquired { waited },
            Ok(None) => LockEvent::Taken { waited },
            // The cache was not asked.
            Err(CacheError::InvalidInput { .. }) => return,
            Err(error) => LockEvent::Failed {
                error: error.clone(),
                waited,
            },
        });
    }

    async fn acquire_in_turn(&self, key: &str, trouble: &mut Option<CacheError>) -> Result<Held, CacheError> {
        let lock_key = Claim::new(&self.client, &self.config, key)?.lock_key;
        let turn = self.turns.take(key).await;
        let mut ear = Ear::on(&self.wakes, &lock_key);
        let acquiring = async {
            loop {
                match self.attempt(key).await {
                    Ok(Some(held)) => return Ok(held),
                    Ok(None) => *trouble = None,
                    Err(error) if error.is_transient() => *trouble = Some(error),
                    Err(error) => return Err(error),
                }
                self.wait_for_change(&lock_key, &mut ear).await;
            }
        };
        turn.during(acquiring).await
    }

    /// Waits until it makes sense to try again.
    async fn wait_for_change(&self, lock_key: &str, ear: &mut Ear) {
        let poll = self.config.poll.mul_f64(rand::rng().random_range(0.5..1.5));
        let entry = match self.client.get_entry(lock_key).await {
            Ok(entry) => entry,
            // Free, by now; or a replica that lags behind says so.
            Err(CacheError::Miss) => return tokio::time::sleep(SHORT).await,
            Err(_) => return tokio::time::sleep(poll).await,
        };
        let left = match entry.remaining {
            Ttl::After(left) => left,
            Ttl::Forever => self.config.lease,
        };
        // It is free once its time is up, whether or not that is reported.
        let end = tokio::time::sleep_until(clock::now() + left);
        if entry.tracked && ear.hears() {
            tokio::select! {
                () = ear.changed() => {}
                () = end => {}
            }
        } else {
            tokio::select! {
                () = tokio::time::sleep(poll) => {}
                () = end => {}
            }
        }
    }
}

/// How long to wait for a lock that seems to be free and was not.
const SHORT: Duration = Duration::from_millis(1);
