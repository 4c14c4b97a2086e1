//! The mock of the contract. `mockall` answers calls; an unexpected call fails and names the expectation to
//! add.
//!
//! Not in here: the short expectations (`expectations.rs`, `loads.rs`).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl};

use crate::unexpected::answered;

mod calls {
    use mockall::mock;

    use super::{
        Arc, Bytes, CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl, async_trait, fmt,
    };

    mock! {
        pub CacheClient {}

        #[async_trait]
        impl CacheClient for CacheClient {
            async fn get(&self, key: &str) -> Result<Bytes, CacheError>;
            async fn get_entry(&self, key: &str) -> Result<Entry, CacheError>;
            async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError>;
            async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>>;
            async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>>;
            async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError>;
            async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError>;
            async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>>;
            async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError>;
            async fn compare_and_set(
                &self,
                key: &str,
                expected: &[u8],
                value: Bytes,
                ttl: Ttl,
            ) -> Result<bool, CacheError>;
            async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError>;
            async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError>;
            async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError>;
            async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError>;
            async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError>;
            async fn incr(&self, key: &str) -> Result<i64, CacheError>;
            async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError>;
            async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError>;
            async fn ttl(&self, key: &str) -> Result<Ttl, CacheError>;
            fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>>;
            async fn ping(&self) -> Result<(), CacheError>;
            async fn close(&self) -> Result<(), CacheError>;
        }
    }

    impl fmt::Debug for MockCacheClient {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("MockCacheClient")
        }
    }
}

/// A client that gives the expected answers, and panics if it gets another call or misses an expected one.
///
/// The short expectations ([`expect_hit`](MockCacheClient::expect_hit),
/// [`expect_set_of`](MockCacheClient::expect_set_of), ...) each stand for exactly one call. Expectations of
/// the same method and key are used in the order in which they were added. For anything else, use `mockall`'s
/// own `expect_` method of each method of the contract.
///
/// An unexpected call fails the test and names the expectation to add.
/// [`invalidations`](CacheClient::invalidations) is the exception: it needs no expectation, and the mock then
/// reports no changes.
///
/// A layer such as a read-through makes several calls for one key, in no guaranteed order. To expect one
/// load, use [`expect_load`](MockCacheClient::expect_load). To test behaviour, use the embedded client
/// [`MemoryCache`](cache_core::MemoryCache), with [`FaultyCache`](crate::FaultyCache) around it for failures.
///
/// ```
/// use cache_core::{CacheClient, CacheClientExt, CacheError, Ttl};
/// use cache_mock::MockCacheClient;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mut cache = MockCacheClient::new();
/// cache.expect_miss("user:7");
/// cache.expect_set_of("user:7", "Ada", Ttl::secs(60));
/// cache.expect_hit("user:7", "Ada");
///
/// let load = || async { Ok::<_, CacheError>("Ada".into()) };
/// assert_eq!(cache.remember("user:7", Ttl::secs(60), load).await?, "Ada");
/// assert_eq!(cache.remember("user:7", Ttl::secs(60), load).await?, "Ada");
///
/// // What the short ones do not say, `mockall` does:
/// cache.expect_exists().withf(|keys| keys.len() == 2).returning(|_| Ok(1));
/// assert_eq!(cache.exists(&["user:7", "user:8"]).await?, 1);
/// # Ok::<(), CacheError>(())
/// # }).unwrap();
/// ```
#[derive(Default)]
pub struct MockCacheClient {
    calls: calls::MockCacheClient,
    /// Whether `invalidations` has an expectation, which replaces the default answer.
    expects_invalidations: bool,
}

impl MockCacheClient {
    /// Creates a client without expectations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects [`invalidations`](CacheClient::invalidations) to be called. Default: no changes are reported.
    pub fn expect_invalidations(
        &mut self,
    ) -> &mut calls::__mock_MockCacheClient_CacheClient::__invalidations::Expectation {
        self.expects_invalidations = true;
        self.calls.expect_invalidations()
    }
}

/// `mockall`'s own `expect_` methods, one for each method of the contract.
impl Deref for MockCacheClient {
    type Target = calls::MockCacheClient;

    fn deref(&self) -> &Self::Target {
        &self.calls
    }
}

impl DerefMut for MockCacheClient {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.calls
    }
}

#[async_trait]
impl CacheClient for MockCacheClient {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        answered(
            self.calls.get(key),
            "expect_hit(KEY, VALUE)` or `expect_miss(KEY)",
        )
        .await
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        answered(
            self.calls.get_entry(key),
            "expect_entry(KEY, VALUE, REMAINING_TTL)",
        )
        .await
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        answered(
            self.calls.get_many(keys),
            "expect_get_many_of([(KEY, Some(VALUE))])",
        )
        .await
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        answered(
            self.calls.get_each(keys),
            "expect_get_each_of([(KEY, Ok(VALUE))])",
        )
        .await
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        answered(
            self.calls.get_entries(keys),
            "expect_get_entries_of([(KEY, Ok(LOOKUP))])",
        )
        .await
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        answered(self.calls.set(key, value, ttl), "expect_set_of(KEY, VALUE, TTL)").await
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        answered(
            self.calls.set_many(entries, ttl),
            "expect_set_many_of([(KEY, VALUE)], TTL)",
        )
        .await
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        answered(
            self.calls.set_each(entries),
            "expect_set_each_of([(KEY, VALUE, TTL, Ok(()))])",
        )
        .await
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        answered(
            self.calls.set_if_absent(key, value, ttl),
            "expect_set_if_absent_of(KEY, VALUE, TTL, STORED)",
        )
        .await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        answered(
            self.calls.compare_and_set(key, expected, value, ttl),
            "expect_compare_and_set().returning(|key, expected, value, ttl| Ok(true))",
        )
        .await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        answered(
            self.calls.compare_and_delete(key, expected),
            "expect_compare_and_delete().returning(|key, expected| Ok(true))",
        )
        .await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        answered(
            self.calls.get_and_delete(key),
            "expect_get_and_delete_of(KEY, Ok(VALUE))",
        )
        .await
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        answered(
            self.calls.get_and_expire(key, ttl),
            "expect_get_and_expire_of(KEY, TTL, Ok(VALUE))",
        )
        .await
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        answered(self.calls.del(keys), "expect_del_of([KEY], DELETED)").await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        answered(self.calls.exists(keys), "expect_exists().returning(|keys| Ok(1))").await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        answered(self.calls.incr(key), "expect_incr_to(KEY, COUNT)").await
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        answered(
            self.calls.incr_by(key, delta, ttl),
            "expect_incr_by_to(KEY, DELTA, TTL, COUNT)",
        )
        .await
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        answered(self.calls.expire(key, ttl), "expect_expire_of(KEY, TTL, EXISTED)").await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        answered(
            self.calls.ttl(key),
            "expect_ttl().returning(|key| Ok(Ttl::Forever))",
        )
        .await
    }

    async fn ping(&self) -> Result<(), CacheError> {
        answered(self.calls.ping(), "expect_ping().returning(|| Ok(()))").await
    }

    async fn close(&self) -> Result<(), CacheError> {
        answered(self.calls.close(), "expect_close().returning(|| Ok(()))").await
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        if self.expects_invalidations {
            return self.calls.invalidations();
        }
        None
    }
}

impl fmt::Debug for MockCacheClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockCacheClient")
    }
}
