//! Sugar over the contract: options instead of misses, strings, JSON, load-and-store.
//!
//! Nothing here adds a promise of its own. One load per key, refresh-ahead and the rest of a
//! read-through are a layer's work, not sugar.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CacheClient, CacheError, Ttl};

/// What every [`CacheClient`] can do besides, for the convenience of its callers.
///
/// ```
/// use cache_core::{CacheClientExt, CacheError, MemoryCache, Ttl};
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Plan { name: String, seats: u32 }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let cache = MemoryCache::default();
/// let plan = Plan { name: "team".into(), seats: 12 };
///
/// assert_eq!(cache.find_json::<Plan>("plan:7").await?, None);
/// cache.set_json("plan:7", &plan, Ttl::secs(300)).await?;
/// assert_eq!(cache.find_json::<Plan>("plan:7").await?, Some(plan));
/// # Ok::<(), CacheError>(())
/// # }).unwrap();
/// ```
#[async_trait]
pub trait CacheClientExt: CacheClient {
    /// [`get`](CacheClient::get), with a miss as `None`.
    ///
    /// # Errors
    ///
    /// As [`get`](CacheClient::get), but for the miss.
    async fn find(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        match self.get(key).await {
            Ok(value) => Ok(Some(value)),
            Err(CacheError::Miss) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The value of `key` as text.
    ///
    /// # Errors
    ///
    /// [`CacheError::Corrupt`] where it is not UTF-8.
    async fn find_string(&self, key: &str) -> Result<Option<String>, CacheError> {
        let Some(value) = self.find(key).await? else {
            return Ok(None);
        };
        match String::from_utf8(value.into()) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(CacheError::Corrupt {
                detail: Cow::Borrowed("the value is not UTF-8 text"),
                source: Some(Arc::new(error.utf8_error())),
            }),
        }
    }

    /// Stores text.
    ///
    /// # Errors
    ///
    /// As [`set`](CacheClient::set).
    async fn set_string(&self, key: &str, text: &str, ttl: Ttl) -> Result<(), CacheError> {
        self.set(key, Bytes::copy_from_slice(text.as_bytes()), ttl).await
    }

    /// The value of `key`, read as JSON.
    ///
    /// # Errors
    ///
    /// [`CacheError::Corrupt`] where it is not the JSON of a `T`; the text names the place, not the value.
    async fn find_json<T: DeserializeOwned + Send>(&self, key: &str) -> Result<Option<T>, CacheError> {
        let Some(value) = self.find(key).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&value)
            .map(Some)
            .map_err(|error| CacheError::Corrupt {
                detail: format!(
                    "the value is not the JSON of a {} (line {}, column {})",
                    std::any::type_name::<T>(),
                    error.line(),
                    error.column()
                )
                .into(),
                source: None,
            })
    }

    /// Stores `value` as JSON.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] where `value` has no JSON form; else as [`set`](CacheClient::set).
    async fn set_json<T: Serialize + Sync>(&self, key: &str, value: &T, ttl: Ttl) -> Result<(), CacheError> {
        let json = serde_json::to_vec(value).map_err(|_| CacheError::InvalidInput {
            argument: "value",
            reason: format!("a {} that has no JSON form", std::any::type_name::<T>()).into(),
        })?;
        self.set(key, json.into(), ttl).await
    }

    /// The value of `key`, or what `load` makes, which is then stored.
    ///
    /// Callers that miss at the same time each run their own `load`, and an error of the cache is the
    /// call's error. A read-through layer does better on both.
    ///
    /// # Errors
    ///
    /// What `load` answers, or what the cache answers, the latter converted into `E`.
    async fn remember<F, Fut, E>(&self, key: &str, ttl: Ttl, load: F) -> Result<Bytes, E>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Bytes, E>> + Send,
        E: From<CacheError>,
    {
        if let Some(value) = self.find(key).await? {
            return Ok(value);
        }
        let value = load().await?;
        self.set(key, value.clone(), ttl).await?;
        Ok(value)
    }
}

impl<C: CacheClient + ?Sized> CacheClientExt for C {}
