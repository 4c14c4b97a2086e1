//! A cache in front of whatever is slow or dear: one load per key, for one process or for a whole fleet.
//!
//! In here: [`ReadThrough`] and what it promises, and [`TypedReadThrough`], the same of decoded values that are
//! kept near. The way of a call is in `call.rs`, that of a load in `journey.rs`. Not in here: other layers. A
//! read-through stands on top of any client.
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
//!   for all operations before a load. Storing costs callers the encoding and no round trip: they have their
//!   answer while the request is on its way.
//! - **Stale is bounded**: by [`stale_limit`](ReadThroughConfigBuilder::stale_limit), and each
//!   [`Answer`] says whether it is stale.
//! - **Errors are not cached**, but after one nobody in the fleet tries again for
//!   [`failure_hold`](ReadThroughConfigBuilder::failure_hold). A loader that knows better says so by a
//!   [`LoadError`]. A refresh ahead of expiry that fails holds back refreshes, and no load that callers wait for.
//! - **What may not be stored is not waited for.** After such a load the others in the fleet load at once and side by
//!   side, for [`hit_for_miss`](ReadThroughConfigBuilder::hit_for_miss).
//!
//! # What is not
//!
//! A caller may join a load that began before the caller changed the truth behind it. Say so with
//! [`invalidate`](ReadThrough::invalidate) or [`put`](ReadThrough::put) of the same `ReadThrough`: then no
//! later call joins it. A load of another process that such a call overtakes is not stored, but its own
//! callers get it.
//!
//! # Across processes
//!
//! Who loads has a lease; the others wait, and are woken by the cache's own report that the value, or the lease,
//! has changed: after about as long as two calls of the cache take. Where the cache reports no changes, or
//! none of what they read, they look again after 5 ms, and then less and less often, every 250 ms in the end.
//!
//! # In the cache
//!
//! Under the key stands an [envelope](self#envelope); while a missing value is loaded, a sign that says so.
//! Beside it, in the same slot of a cluster, the lease: at `KEY:#lease` if the key has a hash tag, else at
//! `KEY:#lease:#abc` with three letters or digits that depend on the key. A pattern that covers the key and ends in
//! `*` covers both.
//!
//! So a key depends on one primary only. Where that one fails, its values are loaded without the cache; all other
//! keys are read, loaded and stored as before, also those of the same
//! [`get_or_load_many`](ReadThrough::get_or_load_many).
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
mod codec;
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
mod load_error;
mod loaded;
mod many;
mod near;
mod prepare;
mod source;
mod typed;
mod waits;

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::{CacheClient, CacheError};

pub use self::clock::{SystemClock, WallClock};
pub use self::codec::{Codec, Json};
pub use self::config::{Abandoned, Coordination, ReadThroughConfig, ReadThroughConfigBuilder, RefreshAhead};
pub use self::envelope::{EnvelopeHead, EnvelopeKind};
pub use self::error::{LoadFailure, ReadError};
pub use self::events::{LoadOutcome, ReadThroughEvent, ReadThroughStats};
pub use self::load_error::LoadError;
pub use self::loaded::{Answer, Freshness, Loaded};
pub use self::typed::TypedReadThrough;
pub use crate::near::{NearConfig, NearConfigBuilder, NearStats, NearStatus};

use self::codec::Plain;
use self::core::Core;

/// Answers from a cache, and loads what is not in it, once. See the [module](self) for what is promised.
///
/// Cheap to clone; clones are the same read-through. Several of them over one cache, in one process or in
/// many, agree with each other as long as they use the same keys for the same things.
#[derive(Clone, Debug)]
pub struct ReadThrough {
    core: Arc<Core<Bytes>>,
}

impl ReadThrough {
    /// A read-through on top of `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: ReadThroughConfig) -> Self {
        Self {
            core: Core::new(client, config, Box::new(Plain), None),
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
        self.core
            .get_or_load(key, || Box::pin(async { load().await.map_err(ReadError::load) }))
            .await
    }

    /// The values of many keys, each from the cache or from `load`, in the order of `keys`.
    ///
    /// # Behaviour
    ///
    /// `load` is given the keys that are missing, each once, in their order, and answers one result per
    /// key in that order; an error for all of them otherwise. It is called once for what is missing, and
    /// again only for what another process was to load and did not, and for refreshes in the background.
    /// Keys that another caller or process loads are waited for, not loaded.
    ///
    /// A part of the cache that fails affects its own keys only: they are loaded without the cache. The other keys are
    /// answered from the cache, or loaded and stored. The first read takes half of the cache deadline at most, so that a
    /// part that does not answer leaves the other keys the other half.
    ///
    /// # Errors
    ///
    /// Each key has its own result: a key whose load failed does not hide the others.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_load`](ReadThrough::get_or_load).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io;
    /// use std::sync::Arc;
    /// use cache_core::MemoryCache;
    /// use cache_layers::{Loaded, ReadThrough, ReadThroughConfig};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let plans = ReadThrough::new(Arc::new(MemoryCache::default()), ReadThroughConfig::default());
    /// plans.put("plan:1", Loaded::new("free")).await?;
    ///
    /// let answers = plans
    ///     .get_or_load_many(&["plan:1", "plan:2", "plan:3"], |missing| async move {
    ///         assert_eq!(missing, ["plan:2", "plan:3"]);
    ///         Ok::<_, io::Error>(vec![Ok(Loaded::new("team")), Err(io::Error::other("no such plan"))])
    ///     })
    ///     .await;
    /// assert_eq!(answers[0].as_ref().unwrap().value.as_deref(), Some(&b"free"[..]));
    /// assert_eq!(answers[1].as_ref().unwrap().value.as_deref(), Some(&b"team"[..]));
    /// assert!(answers[2].is_err());
    /// # Ok::<(), cache_core::CacheError>(())
    /// # }).unwrap();
    /// ```
    pub async fn get_or_load_many<F, Fut, E>(&self, keys: &[&str], load: F) -> Vec<Result<Answer, ReadError>>
    where
        F: Fn(Vec<String>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Result<Loaded, E>>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let load = move |missing| many::answers(load(missing), std::convert::identity);
        self.core.get_or_load_many(keys, Arc::new(load)).await
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
        self.core.put(key, &value).await
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
        self.core.invalidate(keys).await
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
}
