//! The read-through of decoded values: `Arc<T>`, decoded once and kept near.
//!
//! Not in here: anything that would be different about it. All of it is the same code, which hands around an
//! `Arc<T>` in place of bytes; what keeps copies true is `crate::near`.

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

/// A [`ReadThrough`](super::ReadThrough) of values of type `T`, with a near tier of its own: each entry is
/// decoded once per process, and a hit is a look-up and the clone of an `Arc`.
///
/// All that is promised of a [`ReadThrough`](super::ReadThrough) holds: freshness and refresh-ahead by the
/// entry's own times, stale values, negative answers, one load. And:
///
/// - **A copy is as true as the near tier of a client is**: the cache's report of a change takes it away,
///   and a read that the report overtakes is not kept. A lost connection empties the tier. Where nobody
///   reports changes, a copy lives for [`untracked_life`](crate::near::NearConfigBuilder::untracked_life).
///   [`near_status`](Self::near_status) says which of it holds.
/// - **Own [`put`](Self::put)s, [`invalidate`](Self::invalidate)s and loads are seen at once**, in either
///   case. Those of another read-through, though in the same process, are as those of another process.
/// - **What cannot be decoded is taken for foreign**: loaded anew and replaced by what was loaded, never
///   deleted beforehand.
///
/// It takes the place of a near tier of bytes: one below it, as `CACHE_L1_MAX_BYTES` makes, keeps no copy of what this one
/// reads, and goes on serving those who read its client themselves.
/// [`get_or_load_many`](Self::get_or_load_many) reads what is not near key by key, all at once, since only
/// such reads can be kept.
///
/// Cheap to clone; clones are the same read-through.
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
    /// A read-through on top of `client`, whose values are stored by `codec`.
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

    /// How the copies are kept true at the moment.
    #[must_use]
    pub fn near_status(&self) -> NearStatus {
        self.near.status()
    }

    /// What the near tier did and what it holds.
    #[must_use]
    pub fn near_stats(&self) -> NearStats {
        self.near.near.stats()
    }

    pub(crate) fn near_source(&self) -> Arc<dyn NearSource> {
        Arc::clone(&self.near) as Arc<dyn NearSource>
    }

    /// The value of `key`: near, from the cache, or from `load`.
    ///
    /// # Behaviour
    ///
    /// As [`ReadThrough::get_or_load`](super::ReadThrough::get_or_load). A loaded value that the codec has no
    /// form for is returned and counted, and not stored.
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

    /// The values of many keys, each near, from the cache or from `load`, in the order of `keys`.
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

    /// Stores a value that the caller knows, whatever is there. It wins over loads that are under way, and
    /// later calls see it.
    ///
    /// # Errors
    ///
    /// As [`set`](CacheClient::set); a value over the limit, or that the codec has no form for, is
    /// [`CacheError::InvalidInput`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the value may or may not have been stored.
    pub async fn put(&self, key: &str, value: Loaded<T>) -> Result<(), CacheError> {
        self.core.put(key, &value.map(Arc::new)).await
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
