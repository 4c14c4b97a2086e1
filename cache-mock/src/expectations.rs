//! Short expectations of a [`MockCacheClient`]. Each one stands for exactly one call.

use bytes::Bytes;
use cache_core::{CacheError, Entry, Lookup, Ttl};

use crate::MockCacheClient;

/// Short expectations: one call each, with these arguments and no others.
impl MockCacheClient {
    /// A client whose every call fails with `error`: a cache that is down.
    ///
    /// ```
    /// use cache_core::{CacheClient, CacheError};
    /// use cache_mock::MockCacheClient;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let cache = MockCacheClient::failing(&CacheError::Closed);
    /// assert!(matches!(cache.incr("visits").await, Err(CacheError::Closed)));
    /// # });
    /// ```
    #[must_use]
    pub fn failing(error: &CacheError) -> Self {
        let mut mock = Self::new();
        macro_rules! fail {
            ($($expect:ident($($argument:pat),*);)+) => {$(
                let failure = error.clone();
                mock.$expect().returning(move |$($argument),*| Err(failure.clone()));
            )+};
        }
        fail! {
            expect_get(_);
            expect_get_entry(_);
            expect_get_many(_);
            expect_set(_, _, _);
            expect_set_many(_, _);
            expect_set_if_absent(_, _, _);
            expect_compare_and_set(_, _, _, _);
            expect_compare_and_delete(_, _);
            expect_get_and_delete(_);
            expect_get_and_expire(_, _);
            expect_del(_);
            expect_exists(_);
            expect_incr(_);
            expect_incr_by(_, _, _);
            expect_expire(_, _);
            expect_ttl(_);
            expect_ping();
            expect_close();
        }
        let failure = error.clone();
        mock.expect_get_each()
            .returning(move |keys| keys.iter().map(|_| Err(failure.clone())).collect());
        let failure = error.clone();
        mock.expect_get_entries()
            .returning(move |keys| keys.iter().map(|_| Err(failure.clone())).collect());
        let failure = error.clone();
        mock.expect_set_each()
            .returning(move |entries| entries.iter().map(|_| Err(failure.clone())).collect());
        mock
    }

    /// Expects a `get` of `key`, which returns `value`.
    pub fn expect_hit(&mut self, key: impl Into<String>, value: impl Into<Bytes>) {
        self.expect_get_to(key, Ok(value.into()));
    }

    /// Expects a `get` of `key`, which is a miss.
    pub fn expect_miss(&mut self, key: impl Into<String>) {
        self.expect_get_to(key, Err(CacheError::Miss));
    }

    /// Expects a `get` of `key`, which fails.
    pub fn expect_failing_get(&mut self, key: impl Into<String>, error: CacheError) {
        self.expect_get_to(key, Err(error));
    }

    /// Expects a `get_entry` of `key`, which returns `value` with the TTL `remaining`.
    pub fn expect_entry(&mut self, key: impl Into<String>, value: impl Into<Bytes>, remaining: Ttl) {
        let (key, entry) = (key.into(), Entry::untracked(value.into(), remaining));
        self.expect_get_entry()
            .withf(move |asked| asked == key)
            .times(1)
            .return_once(move |_| Ok(entry));
    }

    /// Expects a `get_many` of these keys in this order, which returns these values and misses.
    ///
    /// ```
    /// # use cache_core::CacheClient;
    /// # use cache_mock::MockCacheClient;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut cache = MockCacheClient::new();
    /// cache.expect_get_many_of([("a", Some("1")), ("b", None)]);
    /// assert_eq!(cache.get_many(&["a", "b"]).await.unwrap(), [Some("1".into()), None]);
    /// # });
    /// ```
    pub fn expect_get_many_of<K, V>(&mut self, results: impl IntoIterator<Item = (K, Option<V>)>)
    where
        K: Into<String>,
        V: Into<Bytes>,
    {
        let (keys, values): (Vec<String>, Vec<Option<Bytes>>) = results
            .into_iter()
            .map(|(key, value)| (key.into(), value.map(Into::into)))
            .unzip();
        self.expect_get_many()
            .withf(move |asked| *asked == keys)
            .times(1)
            .return_once(move |_| Ok(values));
    }

    /// Expects a `get_each` of these keys in this order, which returns these results.
    ///
    /// ```
    /// # use cache_core::{CacheClient, CacheError};
    /// # use cache_mock::MockCacheClient;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut cache = MockCacheClient::new();
    /// cache.expect_get_each_of([("a", Ok("1")), ("b", Err(CacheError::Miss))]);
    /// let results = cache.get_each(&["a", "b"]).await;
    /// assert!(results[0].is_ok() && results[1].is_err());
    /// # });
    /// ```
    pub fn expect_get_each_of<K, V>(&mut self, results: impl IntoIterator<Item = (K, Result<V, CacheError>)>)
    where
        K: Into<String>,
        V: Into<Bytes>,
    {
        let (keys, results): (Vec<String>, Vec<Result<Bytes, CacheError>>) = results
            .into_iter()
            .map(|(key, result)| (key.into(), result.map(Into::into)))
            .unzip();
        self.expect_get_each()
            .withf(move |asked| *asked == keys)
            .times(1)
            .return_once(move |_| results);
    }

    /// Expects a `get_entries` of these keys in this order, which returns these results.
    ///
    /// ```
    /// # use cache_core::{CacheClient, Entry, Lookup, Ttl};
    /// # use cache_mock::MockCacheClient;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut cache = MockCacheClient::new();
    /// let found = Lookup::Found(Entry::untracked("1".into(), Ttl::secs(60)));
    /// cache.expect_get_entries_of([("a", Ok(found)), ("b", Ok(Lookup::untracked_absence()))]);
    /// assert!(cache.get_entries(&["a", "b"]).await.iter().all(Result::is_ok));
    /// # });
    /// ```
    pub fn expect_get_entries_of<K: Into<String>>(
        &mut self,
        results: impl IntoIterator<Item = (K, Result<Lookup, CacheError>)>,
    ) {
        let (keys, results): (Vec<String>, Vec<_>) = results
            .into_iter()
            .map(|(key, result)| (key.into(), result))
            .unzip();
        self.expect_get_entries()
            .withf(move |asked| *asked == keys)
            .times(1)
            .return_once(move |_| results);
    }

    /// Expects a `set_each` of these entries in this order, which returns these results.
    pub fn expect_set_each_of<K, V>(
        &mut self,
        entries: impl IntoIterator<Item = (K, V, Ttl, Result<(), CacheError>)>,
    ) where
        K: Into<String>,
        V: Into<Bytes>,
    {
        let (mut expected, mut results) = (Vec::<(String, Bytes, Ttl)>::new(), Vec::new());
        for (key, value, ttl, result) in entries {
            expected.push((key.into(), value.into(), ttl));
            results.push(result);
        }
        let same = move |given: &[(&str, Bytes, Ttl)]| {
            given
                .iter()
                .map(|(key, value, ttl)| (*key, value, ttl))
                .eq(expected.iter().map(|(key, value, ttl)| (&**key, value, ttl)))
        };
        self.expect_set_each()
            .withf(same)
            .times(1)
            .return_once(move |_| results);
    }

    /// Expects a `get_and_delete` of `key`, which returns this result.
    pub fn expect_get_and_delete_of(&mut self, key: impl Into<String>, result: Result<Bytes, CacheError>) {
        let key = key.into();
        self.expect_get_and_delete()
            .withf(move |asked| asked == key)
            .times(1)
            .return_once(move |_| result);
    }

    /// Expects a `get_and_expire` of `key` with the TTL `ttl`, which returns this result.
    pub fn expect_get_and_expire_of(
        &mut self,
        key: impl Into<String>,
        ttl: Ttl,
        result: Result<Bytes, CacheError>,
    ) {
        let key = key.into();
        self.expect_get_and_expire()
            .withf(move |asked, given| asked == key && *given == ttl)
            .times(1)
            .return_once(move |_, _| result);
    }

    /// Expects a `set` of `key` to `value` with the TTL `ttl`, which succeeds.
    pub fn expect_set_of(&mut self, key: impl Into<String>, value: impl Into<Bytes>, ttl: Ttl) {
        self.expect_set_to(key, value, ttl, Ok(()));
    }

    /// Expects a `set` of `key` to `value` with the TTL `ttl`, which fails.
    pub fn expect_failing_set(
        &mut self,
        key: impl Into<String>,
        value: impl Into<Bytes>,
        ttl: Ttl,
        error: CacheError,
    ) {
        self.expect_set_to(key, value, ttl, Err(error));
    }

    /// Expects a `set_many` of these entries in this order with the TTL `ttl`, which succeeds.
    pub fn expect_set_many_of<K, V>(&mut self, entries: impl IntoIterator<Item = (K, V)>, ttl: Ttl)
    where
        K: Into<String>,
        V: Into<Bytes>,
    {
        let entries: Vec<(String, Bytes)> = entries
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        let same = move |given: &[(&str, Bytes)]| {
            given
                .iter()
                .map(|(key, value)| (*key, value))
                .eq(entries.iter().map(|(key, value)| (&**key, value)))
        };
        self.expect_set_many()
            .withf(move |given, life| same(given) && *life == ttl)
            .times(1)
            .return_once(|_, _| Ok(()));
    }

    /// Expects a `set_if_absent` of `key` to `value` with the TTL `ttl`, which returns `stored`.
    pub fn expect_set_if_absent_of(
        &mut self,
        key: impl Into<String>,
        value: impl Into<Bytes>,
        ttl: Ttl,
        stored: bool,
    ) {
        let (key, value) = (key.into(), value.into());
        self.expect_set_if_absent()
            .withf(move |asked, given, life| asked == key && *given == value && *life == ttl)
            .times(1)
            .return_once(move |_, _, _| Ok(stored));
    }

    /// Expects a `del` of these keys in this order, which returns that `deleted` of them existed.
    pub fn expect_del_of<K: Into<String>>(&mut self, keys: impl IntoIterator<Item = K>, deleted: u64) {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        self.expect_del()
            .withf(move |asked| *asked == keys)
            .times(1)
            .return_once(move |_| Ok(deleted));
    }

    /// Expects an `incr` of `key`, which returns `count`.
    pub fn expect_incr_to(&mut self, key: impl Into<String>, count: i64) {
        let key = key.into();
        self.expect_incr()
            .withf(move |asked| asked == key)
            .times(1)
            .return_once(move |_| Ok(count));
    }

    /// Expects an `incr_by` of `key` by `delta` with the TTL `ttl`, which returns `count`.
    pub fn expect_incr_by_to(&mut self, key: impl Into<String>, delta: i64, ttl: Ttl, count: i64) {
        let key = key.into();
        self.expect_incr_by()
            .withf(move |asked, by, life| asked == key && *by == delta && *life == ttl)
            .times(1)
            .return_once(move |_, _, _| Ok(count));
    }

    /// Expects an `expire` of `key` to the TTL `ttl`, which returns whether it `existed`.
    pub fn expect_expire_of(&mut self, key: impl Into<String>, ttl: Ttl, existed: bool) {
        let key = key.into();
        self.expect_expire()
            .withf(move |asked, life| asked == key && *life == ttl)
            .times(1)
            .return_once(move |_, _| Ok(existed));
    }

    fn expect_get_to(&mut self, key: impl Into<String>, answer: Result<Bytes, CacheError>) {
        let key = key.into();
        self.expect_get()
            .withf(move |asked| asked == key)
            .times(1)
            .return_once(move |_| answer);
    }

    fn expect_set_to(
        &mut self,
        key: impl Into<String>,
        value: impl Into<Bytes>,
        ttl: Ttl,
        answer: Result<(), CacheError>,
    ) {
        let (key, value) = (key.into(), value.into());
        self.expect_set()
            .withf(move |asked, given, life| asked == key && *given == value && *life == ttl)
            .times(1)
            .return_once(move |_, _, _| answer);
    }
}
