//! What one holder does to a lock in the cache.
//!
//! Each step is atomic and names the holder's token, so it is safe to repeat. If a reply is lost, the holder asks
//! again, and the token shows who has the lock. Not in here: waiting, and when to extend.
//!
//! # Acquiring
//!
//! 1. `set_if_absent` of the token: from here on the lock is ours.
//! 2. The fencing number, from the counter next to the lock. A holder so slow that its lease ran out gets a number
//!    too, and it may be greater than the number of the current holder.
//! 3. `compare_and_set` of the token by the token and the number. A number is only used if its holder's token is
//!    still stored. So of two holders the later one has the greater number, however slow either is, and
//!    independent of their clocks.

use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError, Outcome, Ttl};
use rand::Rng as _;

use super::config::LockConfig;
use crate::beside::{beside, check_room};

/// How often a request is sent if its reply is lost.
const TRIES: u32 = 3;
/// No counter that was made here is smaller: it would correspond to the year 2004.
const FLOOR: i64 = 1 << 40;
/// The words that name the lock and its counter next to the key.
const LOCK: &str = "lock";
const FENCE: &str = "fence";

/// A prospective holder: its token, and where the lock is.
pub(super) struct Claim {
    pub(super) client: Arc<dyn CacheClient>,
    pub(super) config: Arc<LockConfig>,
    pub(super) lock_key: String,
    fence_key: String,
    /// The lock's value before the number is known.
    bare: Bytes,
    /// The lock's value after that.
    sealed: OnceLock<Bytes>,
}

/// A lock that was acquired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) fence: u64,
    /// When the lease began, at the earliest.
    pub(super) since: Instant,
}

impl Claim {
    pub(super) fn new(
        client: &Arc<dyn CacheClient>,
        config: &Arc<LockConfig>,
        key: &str,
    ) -> Result<Self, CacheError> {
        check_room(key, FENCE.len())?;
        let mut token = String::from("1 ");
        for byte in rand::rng().random::<[u8; 16]>() {
            // Writing to a string cannot fail.
            let _infallible = write!(token, "{byte:02x}");
        }
        Ok(Self {
            client: Arc::clone(client),
            config: Arc::clone(config),
            lock_key: beside(key, LOCK),
            fence_key: beside(key, FENCE),
            bare: token.into(),
            sealed: OnceLock::new(),
        })
    }

    /// Tries to acquire the lock. Returns `None` if another holder has it.
    pub(super) async fn take(&self) -> Result<Option<Taken>, CacheError> {
        let mut unsure = false;
        for tries in (0..TRIES).rev() {
            let took = self
                .client
                .set_if_absent(&self.lock_key, self.bare.clone(), self.lease());
            match took.await {
                Ok(true) => return self.seal().await,
                // The value in the way may be our own, from the request whose reply was lost.
                Ok(false) if unsure => return self.seal().await,
                Ok(false) => return Ok(None),
                Err(error) if error.outcome() == Outcome::Unknown && tries > 0 => unsure = true,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn seal(&self) -> Result<Option<Taken>, CacheError> {
        let fence = self.next_fence().await?;
        let mut sealed = Vec::from(&self.bare[..]);
        sealed.extend_from_slice(format!(" {fence}").as_bytes());
        let sealed = self.sealed.get_or_init(|| sealed.into());
        let mut unsure = false;
        for tries in (0..TRIES).rev() {
            let since = clock::now();
            match self.replace(&self.bare, sealed).await {
                Ok(true) => return Ok(Some(Taken { fence, since })),
                Ok(false) if unsure => {
                    let ours = self.extend().await?;
                    return Ok(ours.then_some(Taken { fence, since }));
                }
                Ok(false) => return Ok(None),
                Err(error) if error.outcome() == Outcome::Unknown && tries > 0 => unsure = true,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Takes the next number. If a reply is lost, its number stays unused and leaves a gap.
    async fn next_fence(&self) -> Result<u64, CacheError> {
        let life = Ttl::After(self.config.fence_life);
        for tries in (0..TRIES * 2).rev() {
            let number = match self.client.incr_by(&self.fence_key, 1, life).await {
                Ok(number) => number,
                Err(error) if error.outcome() == Outcome::Unknown && tries > 0 => continue,
                Err(error) => return Err(error),
            };
            if number >= FLOOR {
                return Ok(number.unsigned_abs());
            }
            // The counter was absent. It starts at the time of day, which is greater than any earlier value.
            let millis = i64::try_from(self.config.clock.since_epoch().as_millis()).unwrap_or(FLOOR);
            let start = millis.max(FLOOR);
            let (found, begun) = (number.to_string(), Bytes::from(start.to_string()));
            let began = self
                .client
                .compare_and_set(&self.fence_key, found.as_bytes(), begun, life);
            match began.await {
                Ok(true) => return Ok(start.unsigned_abs()),
                Ok(false) => {}
                Err(error) if error.outcome() == Outcome::Unknown => {}
                Err(error) => return Err(error),
            }
        }
        Err(CacheError::Corrupt {
            detail: "the fencing counter of a lock changes as often as it is looked at".into(),
            source: None,
        })
    }

    /// Restarts the lease. Returns whether the lock is still ours.
    pub(super) async fn extend(&self) -> Result<bool, CacheError> {
        self.replace(self.value(), self.value()).await
    }

    /// Releases the lock. Returns whether it was still ours, or may have been.
    pub(super) async fn release(&self) -> Result<bool, CacheError> {
        let mut unsure = false;
        for tries in (0..TRIES).rev() {
            match self.client.compare_and_delete(&self.lock_key, self.value()).await {
                Ok(ours) => return Ok(ours || unsure),
                Err(error) if error.outcome() == Outcome::Unknown && tries > 0 => unsure = true,
                Err(error) => return Err(error),
            }
        }
        Ok(unsure)
    }

    /// Releases what a request may have acquired if its caller left before the reply.
    pub(super) async fn abandon(&self) {
        // If that fails too, the lease runs out.
        for value in [Some(&self.bare), self.sealed.get()].into_iter().flatten() {
            let _ = self.client.compare_and_delete(&self.lock_key, value).await;
        }
    }

    /// The lock's value while it is ours.
    pub(super) fn value(&self) -> &Bytes {
        self.sealed.get().unwrap_or(&self.bare)
    }

    async fn replace(&self, old: &Bytes, new: &Bytes) -> Result<bool, CacheError> {
        self.client
            .compare_and_set(&self.lock_key, old, new.clone(), self.lease())
            .await
    }

    fn lease(&self) -> Ttl {
        Ttl::After(self.config.lease)
    }
}

impl fmt::Debug for Claim {
    /// Never shows the token: anyone who has it can release the lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("lock_key", &self.lock_key)
            .finish_non_exhaustive()
    }
}

/// An attempt in progress. If it is dropped before it ends, it releases what it may have acquired.
#[derive(Debug)]
pub(super) struct Attempt(Option<Arc<Claim>>);

impl Attempt {
    pub(super) fn of(claim: &Arc<Claim>) -> Self {
        Self(Some(Arc::clone(claim)))
    }

    /// Records that the attempt has ended.
    pub(super) fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(claim) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { claim.abandon().await });
        }
    }
}
