//! A far tier that has every key and needs no memory for any.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    CacheClient, CacheError, Entry, InvalidationListener, InvalidationSource, Lookup, Subscription,
    TrackingStatus, Ttl,
};

/// Answers every key with 100 bytes, tracked, that never change.
#[derive(Debug)]
pub(crate) struct Endless;

#[derive(Debug)]
struct Silence;

impl InvalidationSource for Silence {
    fn subscribe(&self, _: Arc<dyn InvalidationListener>) -> Subscription {
        Subscription::new(|| {})
    }

    fn status(&self) -> TrackingStatus {
        TrackingStatus::On
    }
}

fn unsupported<T>() -> Result<T, CacheError> {
    Err(CacheError::Unsupported {
        detail: "it is only read".into(),
    })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Endless {
    async fn get(&self, _: &str) -> Result<Bytes, CacheError> {
        Ok(Bytes::from(vec![b'v'; 100]))
    }
    async fn get_entry(&self, _: &str) -> Result<Entry, CacheError> {
        Ok(Entry::tracked(Bytes::from(vec![b'v'; 100]), Ttl::Forever))
    }
    async fn get_many<'a>(&self, _: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        unsupported()
    }
    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        keys.iter().map(|_| unsupported()).collect()
    }
    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let entry = || Entry::tracked(Bytes::from(vec![b'v'; 100]), Ttl::Forever);
        keys.iter().map(|_| Ok(Lookup::Found(entry()))).collect()
    }
    async fn set(&self, _: &str, _: Bytes, _: Ttl) -> Result<(), CacheError> {
        unsupported()
    }
    async fn set_many<'a>(&self, _: &[(&'a str, Bytes)], _: Ttl) -> Result<(), CacheError> {
        unsupported()
    }
    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        entries.iter().map(|_| unsupported()).collect()
    }
    async fn set_if_absent(&self, _: &str, _: Bytes, _: Ttl) -> Result<bool, CacheError> {
        unsupported()
    }
    async fn compare_and_set(&self, _: &str, _: &[u8], _: Bytes, _: Ttl) -> Result<bool, CacheError> {
        unsupported()
    }
    async fn compare_and_delete(&self, _: &str, _: &[u8]) -> Result<bool, CacheError> {
        unsupported()
    }
    async fn get_and_delete(&self, _: &str) -> Result<Bytes, CacheError> {
        unsupported()
    }
    async fn get_and_expire(&self, _: &str, _: Ttl) -> Result<Bytes, CacheError> {
        unsupported()
    }
    async fn del<'a>(&self, _: &[&'a str]) -> Result<u64, CacheError> {
        unsupported()
    }
    async fn exists<'a>(&self, _: &[&'a str]) -> Result<u64, CacheError> {
        unsupported()
    }
    async fn incr(&self, _: &str) -> Result<i64, CacheError> {
        unsupported()
    }
    async fn incr_by(&self, _: &str, _: i64, _: Ttl) -> Result<i64, CacheError> {
        unsupported()
    }
    async fn expire(&self, _: &str, _: Ttl) -> Result<bool, CacheError> {
        unsupported()
    }
    async fn ttl(&self, _: &str) -> Result<Ttl, CacheError> {
        unsupported()
    }
    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        Some(Arc::new(Silence))
    }
    async fn ping(&self) -> Result<(), CacheError> {
        Ok(())
    }
    async fn close(&self) -> Result<(), CacheError> {
        Ok(())
    }
}
