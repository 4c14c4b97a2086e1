//! The lease next to a value: which of all processes on the same cache loads it.
//!
//! It saves loads, and correctness does not depend on it: a value is stored only in place of the very entry that its
//! load saw, whichever process holds the lease. So if the cache cannot say who has the lease, the load goes on
//! without it.
//!
//! # Layout
//!
//! The lease of `KEY` is next to it under the word `lease`, in the same slot of a cluster (see `beside.rs`): at
//! `KEY:#lease` if the key has a hash tag, else at `KEY:#lease:#abc`. That is not a key of a
//! [`Keyspace`](cache_core::Keyspace). Its value is text: `1 loading ` or `1 failed ` and the 32 hex digits of its
//! owner, or `1 passing`.
//!
//! - "Failed" is left behind by an owner whose load failed. No process tries again before it expires.
//! - "Passing" is left behind after a load whose result could not be stored. Until it expires all processes load at
//!   once, and none waits for another.
//!
//! The word `hold` next to the key marks a failed refresh ahead of expiry: no process refreshes before it expires. A
//! load that callers wait for does not look at it.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Outcome, Ttl};

use super::budget::Budget;
use crate::beside::beside;

const LOADING: &str = "1 loading ";
const FAILED: &str = "1 failed ";
const PASSING: &str = "1 passing";
/// The word that marks a failed refresh next to the value.
const HOLD: &str = "hold";
/// The word of a lease next to its value.
pub(super) const WORD: &str = "lease";

/// One flight's claim on a lease.
#[derive(Debug)]
pub(super) struct Lease {
    key: String,
    owner: [u8; 16],
    life: Duration,
}

/// The result of an attempt to acquire a lease.
#[derive(Debug)]
pub(super) enum Taken {
    Held,
    /// Another process has it.
    Lost,
    /// The cache cannot say.
    Unknown(CacheError),
}

/// Who has a lease.
#[derive(Debug)]
pub(super) enum Holder {
    Nobody,
    /// A process that loads, unless it was killed. Holds what is left of the lease, and whether a change of it will
    /// be reported.
    Loading {
        left: Duration,
        tracked: bool,
    },
    /// No process, and none needs it: the loaded value cannot be stored.
    Passing,
    /// A process whose load failed. Holds how long no process tries.
    Failed(Duration),
}

impl Lease {
    pub(super) fn new(key: &str, owner: [u8; 16], life: Duration) -> Self {
        Self {
            key: lease_key(key),
            owner,
            life,
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Tries once, without waiting for another holder. After a lost reply it asks who has the lease.
    pub(super) async fn take(&self, client: &dyn CacheClient, budget: &mut Budget) -> Taken {
        let mine = self.text(LOADING);
        let mut unsure = false;
        // A request that was lost is sent once more: it is the same request.
        for _ in 0..2 {
            let took = client.set_if_absent(&self.key, mine.clone(), Ttl::After(self.life));
            match budget.spend_half(took).await {
                Ok(true) => return Taken::Held,
                Ok(false) if !unsure => return Taken::Lost,
                Ok(false) => {}
                Err(error) if error.outcome() == Outcome::Unknown => unsure = true,
                Err(error) => return Taken::Unknown(error),
            }
            match budget.spend_half(client.get(&self.key)).await {
                Ok(owner) if owner == mine => return Taken::Held,
                Ok(_) => return Taken::Lost,
                Err(CacheError::Miss) => {}
                Err(error) => return Taken::Unknown(error),
            }
        }
        // It was free, but could not be acquired twice. The caller looks again.
        Taken::Lost
    }

    /// Who has it now.
    pub(super) async fn holder(
        &self,
        client: &dyn CacheClient,
        budget: &mut Budget,
    ) -> Result<Holder, CacheError> {
        let entry = match budget.spend(client.get_entry(&self.key)).await {
            Ok(entry) => entry,
            Err(CacheError::Miss) => return Ok(Holder::Nobody),
            Err(error) => return Err(error),
        };
        // A lease without a TTL is not ours. It counts for as long as one of ours would last.
        let left = match entry.remaining {
            Ttl::After(left) => left,
            Ttl::Forever => self.life,
        };
        Ok(if entry.value.starts_with(FAILED.as_bytes()) {
            Holder::Failed(left)
        } else if entry.value.starts_with(PASSING.as_bytes()) {
            Holder::Passing
        } else {
            Holder::Loading {
                left,
                tracked: entry.tracked,
            }
        })
    }

    /// Renews it. Returns whether it is still, or again, ours.
    pub(super) async fn renew(
        &self,
        client: &dyn CacheClient,
        budget: &mut Budget,
    ) -> Result<bool, CacheError> {
        let mine = self.text(LOADING);
        let life = Ttl::After(self.life);
        let renewed = client.compare_and_set(&self.key, &mine, mine.clone(), life);
        if budget.spend(renewed).await? {
            return Ok(true);
        }
        // It expired. It is ours again unless another process was faster.
        budget.spend(client.set_if_absent(&self.key, mine, life)).await
    }

    /// Whether it is ours, and will be for half of its TTL. It is renewed only if it would not be, because each
    /// renewal is a change that wakes all waiters.
    pub(super) async fn confirm(
        &self,
        client: &dyn CacheClient,
        budget: &mut Budget,
    ) -> Result<bool, CacheError> {
        let long = |remaining| matches!(remaining, Ttl::After(left) if left >= self.life / 2);
        match budget.spend(client.get_entry(&self.key)).await {
            Ok(entry) if entry.value == self.text(LOADING) && long(entry.remaining) => Ok(true),
            Ok(_) | Err(CacheError::Miss) => self.renew(client, budget).await,
            Err(error) => Err(error),
        }
    }

    /// Releases it, if it is ours.
    pub(super) async fn release(
        &self,
        client: &dyn CacheClient,
        budget: &mut Budget,
    ) -> Result<bool, CacheError> {
        let mine = self.text(LOADING);
        budget.spend(client.compare_and_delete(&self.key, &mine)).await
    }

    /// Leaves it behind as a sign that a load failed, if it is ours.
    pub(super) async fn leave_failed(
        &self,
        client: &dyn CacheClient,
        budget: &mut Budget,
        hold: Duration,
    ) -> Result<bool, CacheError> {
        if hold.is_zero() {
            return self.release(client, budget).await;
        }
        let (mine, failed) = (self.text(LOADING), self.text(FAILED));
        budget
            .spend(client.compare_and_set(&self.key, &mine, failed, Ttl::After(hold)))
            .await
    }

    /// Leaves it behind, if it is ours, as a sign that no process need wait for it.
    pub(super) async fn leave_passing(
        &self,
        client: &dyn CacheClient,
        budget: &mut Budget,
        life: Duration,
    ) -> Result<bool, CacheError> {
        if life.is_zero() {
            return self.release(client, budget).await;
        }
        let mine = self.text(LOADING);
        budget
            .spend(client.compare_and_set(&self.key, &mine, PASSING.into(), Ttl::After(life)))
            .await
    }

    /// Extends the sign that no process need wait for it.
    pub(super) async fn keep_passing(
        &self,
        client: &dyn CacheClient,
        budget: &mut Budget,
        life: Duration,
    ) -> Result<bool, CacheError> {
        let kept = client.compare_and_set(&self.key, PASSING.as_bytes(), PASSING.into(), Ttl::After(life));
        budget.spend(kept).await
    }

    /// Removes the sign: from now on processes wait for one load again.
    pub(super) async fn end_passing(
        &self,
        client: &dyn CacheClient,
        budget: &mut Budget,
    ) -> Result<bool, CacheError> {
        budget
            .spend(client.compare_and_delete(&self.key, PASSING.as_bytes()))
            .await
    }

    fn text(&self, state: &str) -> Bytes {
        let mut text = String::with_capacity(state.len() + 32);
        text.push_str(state);
        for byte in self.owner {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        text.into()
    }
}

/// The key that marks a failed refresh of `key`.
pub(super) fn hold_key(key: &str) -> String {
    beside(key, HOLD)
}

/// The key of the lease of `key`.
pub(super) fn lease_key(key: &str) -> String {
    beside(key, WORD)
}

#[cfg(test)]
mod tests {
    use cache_core::{CacheClientExt, MemoryCache};

    use super::*;

    const LIFE: Duration = Duration::from_secs(10);

    fn budget() -> Budget {
        Budget::new(Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_text_that_names_its_owner() {
        let cache = MemoryCache::default();
        let lease = Lease::new("{user}:7", [0xA5; 16], LIFE);
        assert!(matches!(lease.take(&cache, &mut budget()).await, Taken::Held));
        let text = || cache.find_string("{user}:7:#lease");
        let owner = "a5".repeat(16);
        assert_eq!(text().await.unwrap(), Some(format!("1 loading {owner}")));
        assert!(lease.leave_failed(&cache, &mut budget(), LIFE).await.unwrap());
        assert_eq!(text().await.unwrap(), Some(format!("1 failed {owner}")));
        assert!(matches!(
            lease.holder(&cache, &mut budget()).await.unwrap(),
            Holder::Failed(LIFE)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_with_half_of_its_life_left_is_confirmed_and_else_renewed() {
        let cache = MemoryCache::default();
        let lease = Lease::new("k", [1; 16], LIFE);
        assert!(matches!(lease.take(&cache, &mut budget()).await, Taken::Held));
        let left = async || cache.ttl(lease.key()).await.unwrap();
        tokio::time::advance(LIFE / 2).await;
        assert!(lease.confirm(&cache, &mut budget()).await.unwrap());
        assert_eq!(left().await, Ttl::After(LIFE / 2), "nobody was woken by a change");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(lease.confirm(&cache, &mut budget()).await.unwrap());
        assert_eq!(left().await, Ttl::After(LIFE));
        tokio::time::advance(LIFE).await;
        assert!(
            lease.confirm(&cache, &mut budget()).await.unwrap(),
            "nobody has it"
        );
        assert_eq!(left().await, Ttl::After(LIFE));
    }

    #[tokio::test(start_paused = true)]
    async fn release_by_a_non_owner_does_nothing() {
        let cache = MemoryCache::default();
        let (mine, other) = (Lease::new("k", [1; 16], LIFE), Lease::new("k", [2; 16], LIFE));
        assert!(matches!(mine.take(&cache, &mut budget()).await, Taken::Held));
        assert!(matches!(other.take(&cache, &mut budget()).await, Taken::Lost));
        assert!(!other.release(&cache, &mut budget()).await.unwrap());
        assert!(!other.renew(&cache, &mut budget()).await.unwrap());
        assert!(!other.confirm(&cache, &mut budget()).await.unwrap());
        assert!(!other.leave_failed(&cache, &mut budget(), LIFE).await.unwrap());
        assert!(matches!(
            other.holder(&cache, &mut budget()).await.unwrap(),
            Holder::Loading {
                left: LIFE,
                tracked: false
            }
        ));
        assert!(mine.release(&cache, &mut budget()).await.unwrap());
        assert!(matches!(other.take(&cache, &mut budget()).await, Taken::Held));
    }
}
