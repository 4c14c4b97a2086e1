//! A cache in front of whatever is slow or dear: one load per key, for one process or for a whole fleet.
//!
//! In here: [`ReadThrough`] and what it promises. The way of a call is in `call.rs`, that of a load in
//! `journey.rs`. Not in here: other layers. A read-through stands on top of any client.
//!
//! # The way of a call
//!
//! 1. A load of the key that is under way in this process is joined.
//! 2. The cache is read. A fresh value is the answer; where it is ripe, one background refresh begins.
//! 3. Otherwise a flight begins, in a task of its own: far read, lease, far read again, load, store.
//!    The caller, and those who come meanwhile, wait for it. Who stops waiting harms nobody.
//!
//! # What is promised
//!
//! - **One load.** Per key and process always, but for one that an invalidation has overtaken; per key and
//!   fleet with [`Coordination::Fleet`], as long as the cache works. Where the cache fails, values are
//!   loaded without it.
//! - **The newest wins.** A loaded value replaces exactly the entry that its load saw, or nothing. What is
//!   set or deleted meanwhile, here or elsewhere, by this type or by a bare client, stays as it is.
//! - **The cache costs no more than its deadline**: [`cache_deadline`](ReadThroughConfigBuilder::cache_deadline)
//!   for all operations before a load. Storing costs callers nothing, they have their answer by then.
//! - **Stale is bounded**: by [`stale_limit`](ReadThroughConfigBuilder::stale_limit), and each
//!   [`Answer`] says whether it is stale.
//! - **Errors are not cached**, but after one nobody in the fleet tries again for
//!   [`failure_hold`](ReadThroughConfigBuilder::failure_hold).
//!
//! # What is not
//!
//! A caller may join a load that began before the caller changed the truth behind it. Say so with
//! [`invalidate`](ReadThrough::invalidate) or [`put`](ReadThrough::put) of the same `ReadThrough`: then no
//! later call joins it. A load of another process that such a call overtakes is not stored, but its own
//! callers get it.
//!
//! # In the cache
//!
//! Under the key stands an [envelope](self#envelope); while a missing value is loaded, a sign that says so.
//! Beside it, at `KEY:#lease`, the lease. A pattern that covers the key and ends in `*` covers both.
//!
//! ## Envelope
//!
#![doc = include_str!("envelope.md")]
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use cache_core::MemoryCache;
//! use cache_layers::{Loaded, ReadThrough, ReadThroughConfig};
//!
//! # async fn mint(user: &str) -> Result<(String, Duration), std::io::Error> {
//! #     Ok((format!("token of {user}"), Duration::from_secs(3_600)))
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let config = ReadThroughConfig::builder()
//!     .stale_limit(Duration::from_secs(600))
//!     .build()?;
//! let tokens = ReadThrough::new(Arc::new(MemoryCache::default()), config);
//!
//! let answer = tokens
//!     .get_or_load("token:7", || async {
//!         let (token, life) = mint("7").await?;
//!         Ok::<_, std::io::Error>(Loaded::new(token).living(life))
//!     })
//!     .await?;
//! assert_eq!(answer.value.unwrap(), "token of 7");
//! assert_eq!(tokens.stats().loads, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod budget;
mod call;
mod claim;
mod clock;
mod config;
mod core;
mod envelope;
mod error;
mod events;
mod flights;
mod found;
mod holds;
mod journey;
mod lease;
mod loaded;
mod many;
mod prepare;
mod source;
mod waits;
mod wakes;

use std::error::Error;
use std::sync::Arc;

use cache_core::{CacheClient, CacheError, MAX_KEY_LEN, check_key};

pub use self::clock::{SystemClock, WallClock};
pub use self::config::{Abandoned, Coordination, ReadThroughConfig, ReadThroughConfigBuilder, RefreshAhead};
pub use self::error::{LoadFailure, ReadError};
pub use self::events::{LoadOutcome, ReadThroughEvent, ReadThroughListener, ReadThroughStats};
pub use self::loaded::{Answer, Freshness, Loaded};

use self::call::Look;
use self::core::Core;
use self::source::Source;

/// Answers from a cache, and loads what is not in it, once. See the [module](self) for what is promised.
///
/// Cheap to clone; clones are the same read-through. Several of them over one cache, in one process or in
/// many, agree with each other as long as they use the same keys for the same things.
#[derive(Clone, Debug)]
pub struct ReadThrough {
    core: Arc<Core>,
}

impl ReadThrough {
    /// A read-through on top of `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: ReadThroughConfig) -> Self {
        Self {
            core: Core::new(client, config),
        }
    }

    /// The client that it stands on.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.core.client
    }

    /// How often what happened.
    #[must_use]
    pub fn stats(&self) -> ReadThroughStats {
        self.core.counters.snapshot()
    }

    /// The value of `key`, from the cache or from `load`.
    ///
    /// # Behaviour
    ///
    /// `load` runs at most once, in a task of its own, and not at all where the value is fresh or another
    /// caller or process loads it. It may ask this or another `ReadThrough` for other keys; that it waits for
    /// its own is found out at once, unless it does so in a task that it spawned: then the hard timeout
    /// ends it.
    ///
    /// # Errors
    ///
    /// See [`ReadError`]. A failing cache is no error. With a stale value within the limit there is none
    /// but [`ReadError::Input`] and [`ReadError::Reentered`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the call harms nobody: others who wait are served, and whether the load goes on when
    /// nobody waits is up to [`Abandoned`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn get_or_load<F, Fut, E>(&self, key: &str, load: F) -> Result<Answer, ReadError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        check(key)?;
        let patience = self.patience();
        if let Some(seat) = self.core.flights.join_load(key)
            && let Some(result) = self.join(seat, None, patience).await
        {
            return result;
        }
        let mut budget = self.core.budget();
        let look = self.look(key, &mut budget).await;
        if let Look::Answer(answer) = look {
            return Ok(answer);
        }
        let source = Source::One(Box::new(|| {
            Box::pin(async { load().await.map_err(ReadError::load) })
        }));
        match look {
            Look::Answer(answer) => Ok(answer),
            Look::Ripe(answer, value) => {
                self.refresh(key, value, source);
                Ok(answer)
            }
            Look::Need(stale) => self.fetch(key, source, stale, budget, patience).await,
        }
    }

    /// Stores a value that the caller knows, whatever is there. It wins over loads that are under way.
    ///
    /// # Errors
    ///
    /// As [`set`](CacheClient::set); a value over the limit is [`CacheError::InvalidInput`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the value may or may not have been stored.
    pub async fn put(&self, key: &str, value: Loaded) -> Result<(), CacheError> {
        check(key)?;
        let core = &self.core;
        let created_ms = clock::millis(core.config.clock.since_epoch());
        let size = value.value.as_ref().map_or(0, |value| value.len());
        if size > core.config.max_payload {
            return Err(CacheError::InvalidInput {
                argument: "value",
                reason: format!(
                    "{size} bytes long; at most {} are stored",
                    core.config.max_payload
                )
                .into(),
            });
        }
        let Some((entry, life)) = core.entry(key, &value, created_ms) else {
            return self.invalidate(&[key]).await;
        };
        self.forget(key);
        core.client.set(key, entry, life).await
    }

    /// Deletes values. Loads that are under way anywhere are not stored, and later calls do not join them.
    ///
    /// # Errors
    ///
    /// As [`del`](CacheClient::del); then some of the values may still be there.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the values may or may not have been deleted.
    pub async fn invalidate(&self, keys: &[&str]) -> Result<(), CacheError> {
        keys.iter().try_for_each(|key| check(key))?;
        keys.iter().for_each(|key| self.forget(key));
        // With their leases: what failed before says nothing about what comes now.
        let leases: Vec<String> = keys.iter().map(|key| lease::lease_key(key)).collect();
        let all: Vec<&str> = keys
            .iter()
            .copied()
            .chain(leases.iter().map(String::as_str))
            .collect();
        self.core.client.del(&all).await?;
        Ok(())
    }

    /// Returns when no load is under way, and all that were loaded have been stored: for an orderly end of
    /// the process.
    ///
    /// # Cancel safety
    ///
    /// Safe; it only waits.
    pub async fn settled(&self) {
        self.core.flights.settled().await;
    }

    /// What this process knows about a key is over.
    fn forget(&self, key: &str) {
        self.core.flights.detach(key);
        self.core.load_holds.release(key);
        self.core.refresh_holds.release(key);
    }
}

/// A key that leaves room for its lease's.
fn check(key: &str) -> Result<(), CacheError> {
    check_key(key)?;
    let most = MAX_KEY_LEN - lease::SUFFIX.len();
    if key.len() > most {
        return Err(CacheError::InvalidInput {
            argument: "key",
            reason: format!("{} bytes long; here a key has at most {most}", key.len()).into(),
        });
    }
    Ok(())
}
