//! The mock of the contract, made by `mockall`. The short ways to expect something are in
//! `expectations`.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Ttl};
use mockall::mock;

mock! {
    /// A client that answers what it was told to, and panics where it is asked something else or is not
    /// asked what it should be.
    ///
    /// The short expectations ([`expect_hit`](MockCacheClient::expect_hit),
    /// [`expect_set_of`](MockCacheClient::expect_set_of), ...) each stand for exactly one call. Expectations
    /// of the same method and key are used up in the order in which they were made. For anything else
    /// there is `mockall`'s own `expect_` method for each method of the contract.
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
    pub CacheClient {}

    #[async_trait]
    impl CacheClient for CacheClient {
        async fn get(&self, key: &str) -> Result<Bytes, CacheError>;
        async fn get_entry(&self, key: &str) -> Result<Entry, CacheError>;
        async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError>;
        async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>>;
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
