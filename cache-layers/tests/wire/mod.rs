//! A way to the cache that hears of no changes, or whose replies to reads take their time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::{Bytes, CacheClient, CacheError, Entry, InvalidationSource, Lookup, MemoryCache, Ttl};

#[derive(Debug)]
pub(crate) struct Wire {
    memory: Arc<MemoryCache>,
    deaf: bool,
    /// What the next reply to `get_entry` takes on its way back, in milliseconds.
    delay: AtomicU64,
}

impl Wire {
    pub(crate) fn new(memory: Arc<MemoryCache>) -> Self {
        Self {
            memory,
            deaf: false,
            delay: AtomicU64::new(0),
        }
    }

    /// Of a backend that reports no changes.
    pub(crate) fn deaf(memory: Arc<MemoryCache>) -> Self {
        Self {
            deaf: true,
            ..Self::new(memory)
        }
    }

    /// The next reply to `get_entry` is that late.
    pub(crate) fn delay_next_entry(&self, millis: u64) {
        self.delay.store(millis, Ordering::Relaxed);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Wire {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        self.memory.get(key).await
    }
    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        let mut entry = self.memory.get_entry(key).await;
        let delay = self.delay.swap(0, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if let (true, Ok(entry)) = (self.deaf, &mut entry) {
            entry.tracked = false;
        }
        entry
    }
    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        self.memory.get_many(keys).await
    }
    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        self.memory.get_each(keys).await
    }
    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let mut results = self.memory.get_entries(keys).await;
        let delay = self.delay.swap(0, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        for result in results.iter_mut().filter(|_| self.deaf) {
            match result {
                Ok(Lookup::Found(entry)) => entry.tracked = false,
                Ok(Lookup::Absent(absence)) => absence.tracked = false,
                Err(_) => {}
            }
        }
        results
    }
    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        self.memory.set(key, value, ttl).await
    }
    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        self.memory.set_many(entries, ttl).await
    }
    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        self.memory.set_each(entries).await
    }
    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        self.memory.set_if_absent(key, value, ttl).await
    }
    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        self.memory.compare_and_set(key, expected, value, ttl).await
    }
    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        self.memory.compare_and_delete(key, expected).await
    }
    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        self.memory.get_and_delete(key).await
    }
    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        self.memory.get_and_expire(key, ttl).await
    }
    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.memory.del(keys).await
    }
    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.memory.exists(keys).await
    }
    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        self.memory.incr(key).await
    }
    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        self.memory.incr_by(key, delta, ttl).await
    }
    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        self.memory.expire(key, ttl).await
    }
    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.memory.ttl(key).await
    }
    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        (!self.deaf).then(|| self.memory.invalidations()).flatten()
    }
    async fn ping(&self) -> Result<(), CacheError> {
        self.memory.ping().await
    }
    async fn close(&self) -> Result<(), CacheError> {
        self.memory.close().await
    }
}
