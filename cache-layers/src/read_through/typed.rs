//! The read-through of decoded values: an `Arc<T>`, decoded once and kept near.
//!
//! Not in here: any other behaviour. The code is the same as for bytes, with an `Arc<T>` in their place.
//! `crate::near` invalidates the copies.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use cache_core::{CacheClient, CacheError};

use super::codec::{Codec, Shared};
use super::config::ReadThroughConfig;
use super::core::Core;
use super::error::ReadError;
use super::events::ReadThroughStats;
use super::loaded::{Answer, Loaded};
use super::many::answers;
use super::near::NearTier;
use crate::near::{NearConfig, NearSource, NearStats, NearStatus};

/// A [`ReadThrough`](super::ReadThrough) of values of type `T`, with its own near cache.
///
/// Each entry is decoded once per process. A hit is a look-up and the clone of an `Arc`.
///
/// Everything that [`ReadThrough`](super::ReadThrough) promises holds: freshness and refresh-ahead by the entry's own
/// times, stale values, negative answers, one load. In addition:
///
/// - **A copy is as current as in the near cache of a client.** The cache's report of a change removes it, and a read
///   that the report overtakes is not kept. A lost connection empties the near cache. If changes are not reported, a
///   copy is kept for [`untracked_life`](crate::near::NearConfigBuilder::untracked_life).
///   [`near_status`](Self::near_status) says which of the two holds.
/// - **Own [`put`](Self::put)s, [`invalidate`](Self::invalidate)s and loads are seen at once** in either case. Those
///   of another read-through count as those of another process, even in the same process.
/// - **An entry that cannot be decoded is treated as foreign**: the value is loaded and replaces it. It is never
///   deleted beforehand.
///
/// This replaces a near cache of bytes. A near cache below it, as `CACHE_L1_MAX_BYTES` creates, keeps no copy of what
/// this one reads, and goes on serving callers that use its client directly.
/// [`get_or_load_many`](Self::get_or_load_many) reads keys that are not near key by key, all at once, because only
/// such reads can be kept.
///
/// Cheap to clone. Clones are the same read-through.
///
/// ```
/// use std::sync::Arc;
/// use cache_core::MemoryCache;
/// use cache_layers::read_through::{Json, NearConfig, TypedReadThrough};
/// use cache_layers::{Loaded, ReadThroughConfig};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Plan { name: String, seats: u32 }
///
/// # async fn query(id: u32) -> Result<Plan, std::io::Error> { Ok(Plan { name: format!("plan {id}"), seats: 12 }) }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let client = Arc::new(MemoryCache::default());
/// let plans: TypedReadThrough<Plan> =
///     TypedReadThrough::new(client, Json, ReadThroughConfig::default(), NearConfig::default());
///
/// let load = || async { Ok::<_, std::io::Error>(Loaded::of(query(7).await?)) };
/// let answer = plans.get_or_load("plan:7", load).await?;
/// let plan: Arc<Plan> = answer.value.unwrap();
/// assert_eq!((&*plan.name, plan.seats), ("plan 7", 12));
/// # Ok::<(), cache_layers::read_through::ReadError>(())
/// # }).unwrap();
/// ```
pub struct TypedReadThrough<T: Send + Sync + 'static> {
    core: Arc<Core<Arc<T>>>,
    near: Arc<NearTier<Arc<T>>>,
}

impl<T: Send + Sync + 'static> TypedReadThrough<T> {
    /// Creates a read-through on top of `client`, whose values are stored by `codec`.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "made once, from a configuration that is not needed any more"
    )]
    pub fn new(
        client: Arc<dyn CacheClient>,
        codec: impl Codec<T>,
        config: ReadThroughConfig,
        near: NearConfig,
    ) -> Self {
        let near = Arc::new(NearTier::new(&client, &near));
        Self {
            core: Core::new(client, config, Box::new(Shared(codec)), Some(Arc::clone(&near))),
            near,
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

    /// How copies are invalidated at the moment.
    #[must_use]
    pub fn near_status(&self) -> NearStatus {
        self.near.status()
    }

    /// What the near cache did and what it holds.
    #[must_use]
    pub fn near_stats(&self) -> NearStats {
        self.near.near.stats()
    }

    pub(crate) fn near_source(&self) -> Arc<dyn NearSource> {
        Arc::clone(&self.near) as Arc<dyn NearSource>
    }

    /// Returns the value of `key`: near, from the cache, or from `load`.
    ///
    /// # Behaviour
    ///
    /// As [`ReadThrough::get_or_load`](super::ReadThrough::get_or_load). A loaded value that the codec cannot encode
    /// is returned and counted, but not stored.
    ///
    /// # Errors
    ///
    /// As [`ReadThrough::get_or_load`](super::ReadThrough::get_or_load).
    ///
    /// # Cancel safety
    ///
    /// As [`ReadThrough::get_or_load`](super::ReadThrough::get_or_load).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn get_or_load<F, Fut, E>(&self, key: &str, load: F) -> Result<Answer<Arc<T>>, ReadError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let load = || {
            let loading = async { load().await.map(|loaded| loaded.map(Arc::new)) };
            Box::pin(async { loading.await.map_err(ReadError::load) }) as _
        };
        self.core.get_or_load(key, load).await
    }

    /// Returns the values of many keys, each near, from the cache or from `load`, in the order of `keys`.
    ///
    /// # Behaviour
    ///
    /// As [`ReadThrough::get_or_load_many`](super::ReadThrough::get_or_load_many).
    ///
    /// # Errors
    ///
    /// Each key has its own result: a key whose load failed does not hide the others.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_load`](Self::get_or_load).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn get_or_load_many<F, Fut, E>(
        &self,
        keys: &[&str],
        load: F,
    ) -> Vec<Result<Answer<Arc<T>>, ReadError>>
    where
        F: Fn(Vec<String>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Result<Loaded<T>, E>>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let load = move |missing| answers(load(missing), Arc::new);
        self.core.get_or_load_many(keys, Arc::new(load)).await
    }

    /// Stores a value that the caller knows, and replaces any entry. It wins over loads in progress, and later calls
    /// see it.
    ///
    /// # Errors
    ///
    /// As [`set`](CacheClient::set). A value over the limit, or one that the codec cannot encode, is
    /// [`CacheError::InvalidInput`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the value may or may not have been stored.
    pub async fn put(&self, key: &str, value: Loaded<T>) -> Result<(), CacheError> {
        self.core.put(key, &value.map(Arc::new)).await
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

impl<T: Send + Sync + 'static> Clone for TypedReadThrough<T> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            near: Arc::clone(&self.near),
        }
    }
}

/// Shows no value.
impl<T: Send + Sync + 'static> fmt::Debug for TypedReadThrough<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedReadThrough")
            .field("core", &self.core)
            .finish()
    }
}
