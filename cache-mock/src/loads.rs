//! Expects a layer to load a key: several calls, of which the last stores the value.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cache_core::{CacheError, Entry, Lookup, Ttl};

use crate::MockCacheClient;

/// The suffix of a read-through's lease key.
const LEASE: &str = ":#lease";

impl MockCacheClient {
    /// Expects that a read-through (`ReadThrough` or `TypedReadThrough` of `cache-layers`) does not find `key`, loads
    /// it, and stores it once. Later calls find the stored value.
    ///
    /// The test fails if `key` is not stored, or is stored again. The calls for the lease, and how often the key is
    /// read, are not checked. For batches and anything else that a read-through does, use
    /// [`MemoryCache`](cache_core::MemoryCache).
    ///
    /// ```
    /// # use cache_core::{CacheClient, CacheError, Ttl};
    /// # use cache_mock::MockCacheClient;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut cache = MockCacheClient::new();
    /// cache.expect_load("user:7");
    /// // What a read-through does, in short:
    /// assert!(cache.get("user:7").await.unwrap_err().is_miss());
    /// assert!(cache.set_if_absent("user:7", "loading".into(), Ttl::secs(60)).await?);
    /// assert!(cache.compare_and_set("user:7", b"loading", "Ada".into(), Ttl::secs(60)).await?);
    /// assert_eq!(cache.get("user:7").await?, "Ada");
    /// # Ok::<(), CacheError>(())
    /// # }).unwrap();
    /// ```
    pub fn expect_load(&mut self, key: impl Into<String>) {
        let key: Arc<str> = key.into().into();
        let stored: Arc<Mutex<Option<(Bytes, Ttl)>>> = Arc::default();
        let found = {
            let stored = Arc::clone(&stored);
            move || {
                let stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
                stored.clone().ok_or(CacheError::Miss)
            }
        };
        let is_key = {
            let key = Arc::clone(&key);
            move |asked: &str| *asked == *key
        };
        let is_lease = move |asked: &str| {
            asked
                .strip_prefix(&*key)
                .is_some_and(|rest| rest.starts_with(LEASE))
        };
        let is_either = {
            let (is_key, is_lease) = (is_key.clone(), is_lease.clone());
            move |asked: &str| is_key(asked) || is_lease(asked)
        };

        let (is, answer) = (is_key.clone(), found.clone());
        self.expect_get()
            .withf(is)
            .returning(move |_| answer().map(|(value, _)| value));
        let (is, answer) = (is_key.clone(), found.clone());
        self.expect_get_entry()
            .withf(is)
            .returning(move |_| answer().map(|(value, ttl)| Entry::untracked(value, ttl)));
        let (is, answer) = (is_key.clone(), found.clone());
        self.expect_get_each()
            .withf(move |asked| matches!(asked, [asked] if is(asked)))
            .returning(move |_| vec![answer().map(|(value, _)| value)]);
        let is = is_key.clone();
        self.expect_get_entries()
            .withf(move |asked| matches!(asked, [asked] if is(asked)))
            .returning(move |_| {
                let entry = found().map(|(value, ttl)| Entry::untracked(value, ttl));
                vec![Lookup::of_entry(entry)]
            });
        let is = is_either.clone();
        self.expect_set_if_absent()
            .withf(move |asked, _, _| is(asked))
            .returning(|_, _, _| Ok(true));
        self.expect_compare_and_set()
            .withf(move |asked, _, _, _| is_key(asked))
            .times(1)
            .returning(move |_, _, value, ttl| {
                *stored.lock().unwrap_or_else(PoisonError::into_inner) = Some((value, ttl));
                Ok(true)
            });
        self.expect_compare_and_set()
            .withf(move |asked, _, _, _| is_lease(asked))
            .returning(|_, _, _, _| Ok(true));
        self.expect_compare_and_delete()
            .withf(move |asked, _| is_either(asked))
            .returning(|_, _| Ok(true));
    }
}
