//! Convenience over the contract: options instead of misses, strings, JSON, load-and-store.
//!
//! Not in here: any new guarantee. One load per key, refresh-ahead and the rest of read-through belong to a
//! layer.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CacheClient, CacheError, Ttl};

/// Convenience methods of every [`CacheClient`].
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
    /// As [`get`](CacheClient::get), except for the miss.
    async fn find(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        match self.get(key).await {
            Ok(value) => Ok(Some(value)),
            Err(CacheError::Miss) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// [`get_each`](CacheClient::get_each), with a miss as `None`.
    ///
    /// # Errors
    ///
    /// The call itself cannot fail. Each result is like that of [`find`](CacheClientExt::find).
    async fn find_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Option<Bytes>, CacheError>> {
        let found = |result| match result {
            Ok(value) => Ok(Some(value)),
            Err(CacheError::Miss) => Ok(None),
            Err(error) => Err(error),
        };
        self.get_each(keys).await.into_iter().map(found).collect()
    }

    /// The value of `key` as text.
    ///
    /// # Errors
    ///
    /// [`CacheError::Corrupt`] if it is not UTF-8.
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
    /// [`CacheError::Corrupt`] if it is not the JSON of a `T`; the text names the position, not the value.
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
    /// [`CacheError::InvalidInput`] if `value` has no JSON form; otherwise as [`set`](CacheClient::set).
    async fn set_json<T: Serialize + Sync>(&self, key: &str, value: &T, ttl: Ttl) -> Result<(), CacheError> {
        let json = serde_json::to_vec(value).map_err(|_| CacheError::InvalidInput {
            argument: "value",
            reason: format!("a {} that has no JSON form", std::any::type_name::<T>()).into(),
        })?;
        self.set(key, json.into(), ttl).await
    }

    /// Returns the value of `key`, or the result of `load`, which is then stored.
    ///
    /// A failing cache never fails the call. If it cannot be read, `load` runs as after a miss. If it cannot
    /// store, the loaded value is returned anyway. Both are logged as a warning with the kind of the error,
    /// but neither key nor value.
    ///
    /// Callers that miss at the same time each run their own `load`. A read-through layer avoids that.
    ///
    /// # Errors
    ///
    /// The error of `load`, or [`CacheError::InvalidInput`] for an illegal key or TTL, converted into `E`;
    /// then `load` does not run.
    ///
    /// # Cancel safety
    ///
    /// If the call is dropped, `load` is dropped too. It is then unknown whether a loaded value was stored.
    ///
    /// ```
    /// # use cache_core::{CacheClientExt, CacheError, MemoryCache, Ttl};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let cache = MemoryCache::default();
    /// let name = cache
    ///     .remember("user:7:name", Ttl::secs(60), || async { Ok::<_, CacheError>("Ada".into()) })
    ///     .await?;
    /// assert_eq!(name, "Ada");
    /// # Ok::<(), CacheError>(())
    /// # }).unwrap();
    /// ```
    async fn remember<F, Fut, E>(&self, key: &str, ttl: Ttl, load: F) -> Result<Bytes, E>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<Bytes, E>> + Send,
        E: From<CacheError>,
    {
        ttl.as_duration()?;
        if let Some(value) = or_miss(self.find(key).await)? {
            return Ok(value);
        }
        let value = load().await?;
        or_unstored(self.set(key, value.clone(), ttl).await);
        Ok(value)
    }

    /// As [`remember`](CacheClientExt::remember), with the value as JSON.
    ///
    /// A stored value that is not the JSON of a `T` is loaded again and overwritten. A loaded value that has
    /// no JSON form is returned and not stored. Both are logged like a failing cache.
    ///
    /// # Errors
    ///
    /// As [`remember`](CacheClientExt::remember).
    ///
    /// # Cancel safety
    ///
    /// As [`remember`](CacheClientExt::remember).
    async fn remember_json<T, F, Fut, E>(&self, key: &str, ttl: Ttl, load: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        E: From<CacheError>,
    {
        ttl.as_duration()?;
        if let Some(value) = or_miss(self.find_json(key).await)? {
            return Ok(value);
        }
        let value = load().await?;
        or_unstored(self.set_json(key, &value, ttl).await);
        Ok(value)
    }
}

impl<C: CacheClient + ?Sized> CacheClientExt for C {}

/// What was found, or a miss if the cache failed. Only a mistake of the caller stays an error.
fn or_miss<T>(found: Result<Option<T>, CacheError>) -> Result<Option<T>, CacheError> {
    match found {
        Err(error) if !matches!(error, CacheError::InvalidInput { .. }) => {
            tracing::warn!(
                error = error.kind(),
                "could not read from the cache; the value is loaded"
            );
            Ok(None)
        }
        found => found,
    }
}

fn or_unstored(stored: Result<(), CacheError>) {
    if let Err(error) = stored {
        tracing::warn!(
            error = error.kind(),
            "a loaded value could not be stored in the cache"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Level, Metadata, Subscriber, span};

    use super::*;
    use crate::MemoryCache;

    /// Collects all warnings.
    #[derive(Clone, Default)]
    struct Warnings(Arc<Mutex<Vec<String>>>);

    impl Warnings {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0 += &format!("{field}={value:?} ");
        }
    }

    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::WARN
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    const KEPT: Ttl = Ttl::secs(60);

    async fn loaded(value: &'static str) -> Result<Bytes, CacheError> {
        Ok(Bytes::from_static(value.as_bytes()))
    }

    /// A cache that can neither read nor write.
    async fn broken() -> MemoryCache {
        let cache = MemoryCache::default();
        cache.close().await.unwrap();
        cache
    }

    #[tokio::test]
    async fn failing_cache_does_not_block_loaded_value() {
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(warnings.clone());
        let cache = broken().await;
        let value = cache.remember("key-7", KEPT, || loaded("value-7")).await.unwrap();
        assert_eq!(value, "value-7");
        let said = warnings.take();
        assert_eq!(said.len(), 2, "of the read and of the write: {said:?}");
        for line in &said {
            assert!(line.contains("error=\"closed\""), "{line}");
            assert!(!line.contains("key-7") && !line.contains("value-7"), "{line}");
        }

        let no_room = MemoryCache::new(1_000, 0);
        let value = no_room
            .remember("key-7", KEPT, || loaded("value-7"))
            .await
            .unwrap();
        assert_eq!(value, "value-7");
        assert_eq!(warnings.take().len(), 1, "of the write");

        let fine = MemoryCache::default();
        for load in ["1", "2"] {
            assert_eq!(fine.remember("k", KEPT, || loaded(load)).await.unwrap(), "1");
        }
        assert_eq!(warnings.take(), [] as [&str; 0]);
    }

    #[tokio::test]
    async fn find_each_returns_none_for_a_miss_and_keeps_errors() {
        let cache = MemoryCache::default();
        cache.set("a", "1".into(), KEPT).await.unwrap();
        let found = cache.find_each(&["a", "b", ""]).await;
        assert_eq!(found[0].as_ref().unwrap().as_deref(), Some(&b"1"[..]));
        assert!(matches!(found[1], Ok(None)) && matches!(found[2], Err(CacheError::InvalidInput { .. })));
    }

    #[tokio::test]
    async fn failed_load_is_returned_and_stores_nothing() {
        let cache = MemoryCache::default();
        let failed = || async { Err::<Bytes, _>(CacheError::Unsupported { detail: "x".into() }) };
        let error = cache.remember("k", KEPT, failed).await.unwrap_err();
        assert_eq!(error.kind(), "unsupported");
        assert!(cache.is_empty());
    }

    #[tokio::test]
    async fn illegal_argument_is_refused_before_load() {
        let (cache, loads) = (MemoryCache::default(), AtomicU32::new(0));
        let load = || async {
            loads.fetch_add(1, Ordering::Relaxed);
            loaded("value").await
        };
        let too_long = Ttl::After(std::time::Duration::MAX);
        for (key, ttl) in [("", KEPT), ("k", too_long)] {
            let error = cache.remember(key, ttl, load).await.unwrap_err();
            assert_eq!(error.kind(), "invalid_input", "{error}");
        }
        assert_eq!(loads.into_inner(), 0);
    }

    #[tokio::test]
    async fn invalid_json_is_loaded_again() {
        let cache = MemoryCache::default();
        let load = |seats: u32| move || async move { Ok::<_, CacheError>(vec![seats]) };
        for seats in [1, 2] {
            assert_eq!(cache.remember_json("k", KEPT, load(seats)).await.unwrap(), [1]);
        }
        cache.set_string("k", "{", KEPT).await.unwrap();
        assert_eq!(cache.remember_json("k", KEPT, load(3)).await.unwrap(), [3]);
        assert_eq!(cache.find_string("k").await.unwrap().as_deref(), Some("[3]"));

        let cache = broken().await;
        assert_eq!(cache.remember_json("k", KEPT, load(4)).await.unwrap(), [4]);
        let error = cache.remember_json("", KEPT, load(5)).await.unwrap_err();
        assert_eq!(error.kind(), "invalid_input");
    }

    #[tokio::test]
    async fn value_without_a_json_form_is_returned_and_not_stored() {
        use std::collections::BTreeMap;
        let cache = MemoryCache::default();
        let map = BTreeMap::from([((1_u8, 2_u8), 3_u8)]);
        let load = || async { Ok::<_, CacheError>(map.clone()) };
        assert_eq!(cache.remember_json("k", KEPT, load).await.unwrap(), map);
        assert!(cache.is_empty());
    }
}
