//! A distributed lock: one holder at a time across all processes on one cache.
//!
//! In here: [`Lock`] and what it promises. What a holder does in the cache is in `claim.rs`; what it knows by its own
//! clock is in `standing.rs`. Not in here: other layers. A lock works on top of any client.
//!
//! # What is promised
//!
//! - **One holder**, as long as the cache keeps what it confirmed. A lock is acquired, extended and released
//!   atomically, by a random token that only its holder has. A process without the token cannot extend or release it.
//! - **A lost lock cancels the work.** [`Lock::run`] drops the work's future when the lock is deleted or belongs to
//!   another holder: as soon as the client reports the change, or at the next extension if the client reports no
//!   changes. The latest moment, by the holder's own clock, is [a margin](LockConfigBuilder::margin) before the lease
//!   can have run out at the server, whether or not the cache answers.
//! - **A fencing number that grows.** Of two holders the later one has the greater number, however long either was
//!   stopped, and independent of their clocks.
//! - **A lost reply is not a lost lock.** A caller that does not know whether a request was carried out asks by its
//!   token.
//! - **A caller that leaves blocks no one.** A dropped call releases what it may have acquired. A killed holder keeps
//!   others waiting for at most the lease.
//! - **First come, first served** within a process. The exception is a caller that is not polled when its turn comes:
//!   the others do not wait for it. If that caller has acquired the lock by then, the lock expires with the lease.
//!   Between processes there is no order.
//!
//! # What is not
//!
//! **No lock with a lease can promise that two holders never work at once**, and neither does this one. A holder can
//! be stopped between looking at the clock and changing the resource: by a paused virtual machine, a blocking call or
//! a page fault. It then changes the resource while another holder has the lock. A server that replicates
//! asynchronously may lose a confirmed lock at a failover. An eviction or a flush may lose it too. What protects the
//! resource is the [`Fence`]: the resource has to refuse a number smaller than one it has seen. See Martin Kleppmann,
//! ["How to do distributed locking"](https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html). If
//! the resource cannot check the number, use a lock to save work, not to keep data correct.
//!
//! Redlock is not used. A majority of independent servers does not help against a holder that was stopped, and gives
//! no fencing number.
//!
//! The counter of fencing numbers is as safe as the cache. If an eviction or a flush loses it, it starts again at the
//! time of day in milliseconds, as it did the first time. That is greater than all earlier numbers if the lock was
//! acquired less than a thousand times a second on average, and if clocks differ by less than the counter's age. A
//! failover that loses the last numbers may hand them out again.
//!
//! On some systems the monotonic clock does not count time during which the machine sleeps.
//!
//! # In the cache
//!
//! Two entries next to the key, in the key's slot of a cluster:
//!
//! - `KEY:#lock` holds the text `1 ` and 32 hex digits of the holder's token, then a space and the fencing number.
//! - `KEY:#fence` holds the counter.
//!
//! If the key has no hash tag, both names end in `:#` and three letters or digits that depend on the key. A pattern
//! that covers the key and ends in `*` covers both.
//!
//! Acquiring a free lock costs three round trips (token, number, both). Finding that it is taken costs one.
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

/// Locks, each named by a key. See the [module](self) for what is promised.
///
/// Cheap to clone. Clones share their state.
#[derive(Clone, Debug)]
pub struct Lock {
    client: Arc<dyn CacheClient>,
    config: Arc<LockConfig>,
    turns: Arc<Turns>,
    wakes: Arc<Wakes>,
}

impl Lock {
    /// Creates locks that are stored through `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: LockConfig) -> Self {
        Self {
            wakes: Arc::new(Wakes::new(Arc::clone(&client))),
            client,
            config: Arc::new(config),
            turns: Arc::default(),
        }
    }

    /// Returns the client that the locks use.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.client
    }

    /// Acquires the lock of `key` if it is free. Returns `None` if another holder has it.
    ///
    /// # Errors
    ///
    /// As [`set_if_absent`](CacheClient::set_if_absent). A lock that may have been acquired is released, or expires.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, a lock that may have been acquired is released, or expires.
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

    /// Acquires the lock of `key`. Waits for it for at most `wait`, all round trips included.
    ///
    /// # Behaviour
    ///
    /// The client wakes the waiting caller if it reports changes. Otherwise the caller looks again at
    /// [intervals](LockConfigBuilder::poll). A cache that fails for a while does not end the wait.
    ///
    /// # Errors
    ///
    /// [`LockError::Taken`] if others held the lock. [`LockError::Cache`] if the cache failed last, or for an invalid
    /// `key`.
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

    /// Runs `work` under the lock of `key`, then releases the lock. Waits for the lock for at most `wait`.
    ///
    /// If the lock is lost during the run, `work` is dropped at its next `await`. `work` gets the fencing number, to
    /// pass on with each change it makes.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), and [`LockError::Lost`] if the lock was lost before the work was done. If the
    /// lock cannot be released because the cache fails, that is not an error: the lock expires.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `work`, and the lock is released in the background.
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

    /// Tries once to acquire the lock.
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

    /// Waits until another try makes sense.
    async fn wait_for_change(&self, lock_key: &str, ear: &mut Ear) {
        let poll = self.config.poll.mul_f64(rand::rng().random_range(0.5..1.5));
        let entry = match self.client.get_entry(lock_key).await {
            Ok(entry) => entry,
            // The lock is free by now, or a lagging replica says so.
            Err(CacheError::Miss) => return tokio::time::sleep(SHORT).await,
            Err(_) => return tokio::time::sleep(poll).await,
        };
        let left = match entry.remaining {
            Ttl::After(left) => left,
            Ttl::Forever => self.config.lease,
        };
        // The lock is free when its TTL is over, whether or not that is reported.
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

/// How long to wait if the lock seems to be free and was not.
const SHORT: Duration = Duration::from_millis(1);
