//! A cache in front of slow or expensive sources: one load per key, for one process or for a fleet.
//!
//! In here: [`ReadThrough`] and what it promises, and [`TypedReadThrough`], which does the same for decoded values
//! that are kept near. A call is in `call.rs`, a load in `journey.rs`. Not in here: other layers. A read-through
//! works on top of any client.
//!
//! # How a call proceeds
//!
//! 1. If a load of the key is in progress in this process, the call joins it.
//! 2. Otherwise the cache is read. A fresh value is the answer. If its refresh is due, one background refresh starts.
//! 3. Without a fresh value a flight starts in a separate task: far read, lease, far read again, load, store. The
//!    caller waits for it, and so do callers that come later. A caller that stops waiting harms no other.
//!
//! # What is promised
//!
//! - **One load.** Per key and process always, except for a load that an invalidation has overtaken. Per key and
//!   fleet with [`Coordination::Fleet`], as long as the cache works. If the cache fails, values are loaded without
//!   it.
//! - **The newest wins.** A loaded value replaces exactly the entry that its load saw, or nothing. If the entry is
//!   set or deleted during the load, here or elsewhere, by this type or by a bare client, that change stays.
//! - **The cache costs no more than its deadline**: [`cache_deadline`](ReadThroughConfigBuilder::cache_deadline) for
//!   all operations before a load. Storing costs callers the encoding but no round trip: they have their answer while
//!   the request is on its way.
//! - **Stale is bounded** by [`stale_limit`](ReadThroughConfigBuilder::stale_limit), and each [`Answer`] says whether
//!   it is stale.
//! - **Errors are not cached**, but after one no process of the fleet tries again for
//!   [`failure_hold`](ReadThroughConfigBuilder::failure_hold). A loader can change that with a [`LoadError`]. A
//!   failed refresh ahead of expiry holds back refreshes, but no load that callers wait for.
//! - **No queue for values that may not be stored.** After such a load the other processes of the fleet load at once
//!   and in parallel, for [`hit_for_miss`](ReadThroughConfigBuilder::hit_for_miss).
//!
//! # What is not
//!
//! A caller may join a load that began before the caller changed the source of the value. To prevent that, call
//! [`invalidate`](ReadThrough::invalidate) or [`put`](ReadThrough::put) of the same `ReadThrough`: then no later call
//! joins the load. A load of another process that such a call overtakes is not stored, but its own callers get its
//! value.
//!
//! # Across processes
//!
//! The process that loads holds a lease, and the others wait. The cache's report that the value or the lease has
//! changed wakes them, after about as long as two calls of the cache take. If the cache reports no changes, or none
//! of what they read, they look again after 5 ms, and then less and less often, in the end every 250 ms.
//!
//! # In the cache
//!
//! The key holds an [envelope](self#envelope). While a missing value is loaded, it holds a placeholder.
//!
//! The lease is next to the key, in the same slot of a cluster. Its key is `KEY:#lease` if the key has a hash tag,
//! else `KEY:#lease:#abc` with three letters or digits that depend on the key. A pattern that covers the key and ends
//! in `*` covers both.
//!
//! So a key depends on one primary only. If that one fails, its values are loaded without the cache. All other keys
//! are read, loaded and stored as before, also those of the same [`get_or_load_many`](ReadThrough::get_or_load_many).
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

/// Answers from a cache, and loads what is missing, once. See the [module](self) for what is promised.
///
/// Cheap to clone. Clones are the same read-through. Several read-throughs over one cache, in one process or in many,
/// work together if they use the same keys for the same things.
#[derive(Clone, Debug)]
pub struct ReadThrough {
    core: Arc<Core<Bytes>>,
}

impl ReadThrough {
    /// Creates a read-through on top of `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: ReadThroughConfig) -> Self {
        Self {
            core: Core::new(client, config, Box::new(Plain), None),
        }
    }

    /// Returns the client that stores the entries.
    #[must_use]
    pub fn client(&self) -> &Arc<dyn CacheClient> {
        &self.core.client
    }

    /// Returns the counters of events.
    #[must_use]
    pub fn stats(&self) -> ReadThroughStats {
        self.core.counters.snapshot()
    }

    /// Returns the value of `key`, from the cache or from `load`.
    ///
    /// # Behaviour
    ///
    /// `load` runs at most once, in a separate task. It does not run if the value is fresh or another caller or
    /// process loads it. It may ask this or another `ReadThrough` for other keys. If it waits for its own key, that
    /// is detected at once. If it does so in a task that it spawned, only the hard timeout ends it.
    ///
    /// # Errors
    ///
    /// See [`ReadError`]. A failing cache is no error. With a stale value within the limit the only errors are
    /// [`ReadError::Input`] and [`ReadError::Reentered`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the call harms no other caller: the other waiters get their answer. [`Abandoned`] decides whether the
    /// load goes on without waiters.
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

    /// Returns the values of many keys, each from the cache or from `load`, in the order of `keys`.
    ///
    /// # Behaviour
    ///
    /// `load` gets the missing keys, each once, in their order. It returns one result per key in that order, or one
    /// error for all of them. It is called once for the missing keys. It is called again only for keys that another
    /// process was to load and did not, and for refreshes in the background. Keys that another caller or process
    /// loads are not loaded here; the call waits for them.
    ///
    /// If a part of the cache fails, only its own keys are affected: they are loaded without the cache. The other
    /// keys are answered from the cache, or loaded and stored. The first read takes at most half of the cache
    /// deadline. So a part that does not answer leaves the other half to the other keys.
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

    /// Stores a value that the caller knows, and replaces any entry. It wins over loads in progress.
    ///
    /// # Errors
    ///
    /// As [`set`](CacheClient::set). A value over the limit is [`CacheError::InvalidInput`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the value may or may not have been stored.
    pub async fn put(&self, key: &str, value: Loaded) -> Result<(), CacheError> {
        self.core.put(key, &value).await
    }

    /// Deletes values. Loads in progress anywhere are not stored, and later calls do not join them.
    ///
    /// # Errors
    ///
    /// As [`del`](CacheClient::del). After an error some of the values may still be stored.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the values may or may not have been deleted.
    pub async fn invalidate(&self, keys: &[&str]) -> Result<(), CacheError> {
        self.core.invalidate(keys).await
    }

    /// Returns when no load is in progress and all loaded values have been stored. For an orderly end of the process.
    ///
    /// # Cancel safety
    ///
    /// Safe: it only waits.
    pub async fn settled(&self) {
        self.core.flights.settled().await;
    }
}
