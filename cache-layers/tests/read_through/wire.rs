//! Clients between a process and the cache: one that hears nothing, one that hears nothing of some keys, one that a
//! scheduler holds back.

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::{
    Bytes, CacheClient, CacheError, Entry, Invalidation, InvalidationListener, InvalidationSource, Lookup,
    MemoryCache, Subscription, TrackingStatus, Ttl,
};

use crate::exhaustive::Gate;

/// A way to the cache that reports no changes, or whose every call waits to be let through.
#[derive(Debug)]
pub(crate) struct Wire {
    memory: Arc<MemoryCache>,
    gate: Option<(Gate, usize)>,
    /// Whose reads are not tracked, though those of all other keys are.
    untracked: Option<&'static [&'static str]>,
    /// Whether replies to reads wait, too.
    both_ways: bool,
}

impl Wire {
    /// Of a backend that reports no changes.
    pub(crate) const fn deaf(memory: Arc<MemoryCache>) -> Self {
        Self {
            memory,
            gate: None,
            untracked: None,
            both_ways: false,
        }
    }

    /// Of a backend that says that it reports changes, and tracks no read of `keys`.
    pub(crate) fn untracked(memory: Arc<MemoryCache>, keys: &'static [&'static str]) -> Self {
        Self {
            untracked: Some(keys),
            ..Self::deaf(memory)
        }
    }

    /// Of the process that `actor` stands for.
    pub(crate) const fn gated(memory: Arc<MemoryCache>, gate: Gate, actor: usize) -> Self {
        Self {
            memory,
            gate: Some((gate, actor)),
            untracked: None,
            both_ways: false,
        }
    }

    /// As [`gated`](Self::gated), and what an entry was read as waits on its way back, too.
    pub(crate) fn gated_both_ways(memory: Arc<MemoryCache>, gate: Gate, actor: usize) -> Self {
        Self {
            both_ways: true,
            ..Self::gated(memory, gate, actor)
        }
    }

    async fn pass(&self) -> &MemoryCache {
        if let Some((gate, actor)) = &self.gate {
            gate.pass(*actor).await;
        }
        &self.memory
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Wire {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        self.pass().await.get(key).await
    }
    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        let mut entry = self.pass().await.get_entry(key).await;
        if let (Some(untracked), Ok(entry)) = (self.untracked, &mut entry) {
            entry.tracked &= !untracked.contains(&key);
        }
        if self.both_ways {
            self.pass().await;
        }
        entry
    }
    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        self.pass().await.get_many(keys).await
    }
    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        self.pass().await.get_each(keys).await
    }
    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let mut results = self.pass().await.get_entries(keys).await;
        if let Some(untracked) = self.untracked {
            for (key, result) in keys.iter().zip(&mut results) {
                match result {
                    Ok(Lookup::Found(entry)) => entry.tracked &= !untracked.contains(key),
                    Ok(Lookup::Absent(absence)) => absence.tracked &= !untracked.contains(key),
                    Err(_) => {}
                }
            }
        }
        if self.both_ways {
            self.pass().await;
        }
        results
    }
    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        self.pass().await.set(key, value, ttl).await
    }
    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        self.pass().await.set_many(entries, ttl).await
    }
    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        self.pass().await.set_each(entries).await
    }
    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        self.pass().await.set_if_absent(key, value, ttl).await
    }
    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        self.pass().await.compare_and_set(key, expected, value, ttl).await
    }
    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        self.pass().await.compare_and_delete(key, expected).await
    }
    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        self.pass().await.get_and_delete(key).await
    }
    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        self.pass().await.get_and_expire(key, ttl).await
    }
    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.pass().await.del(keys).await
    }
    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.pass().await.exists(keys).await
    }
    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        self.pass().await.incr(key).await
    }
    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        self.pass().await.incr_by(key, delta, ttl).await
    }
    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        self.pass().await.expire(key, ttl).await
    }
    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.pass().await.ttl(key).await
    }
    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        let all = self.memory.invalidations()?;
        match self.untracked {
            Some(untracked) => Some(Arc::new(Partly { all, untracked })),
            // One that is gated hears what changes.
            None => self.gate.is_some().then_some(all),
        }
    }
    async fn ping(&self) -> Result<(), CacheError> {
        self.memory.ping().await
    }
    async fn close(&self) -> Result<(), CacheError> {
        self.memory.close().await
    }
}

/// Reports of a backend, but for those of some keys.
#[derive(Debug)]
struct Partly {
    all: Arc<dyn InvalidationSource>,
    untracked: &'static [&'static str],
}

impl InvalidationSource for Partly {
    fn subscribe(&self, listener: Arc<dyn InvalidationListener>) -> Subscription {
        let untracked = self.untracked;
        self.all
            .subscribe(Arc::new(move |event: &Invalidation| match event {
                Invalidation::Keys(keys) if keys.iter().any(|key| untracked.contains(&key.as_str())) => {}
                event => listener.on_invalidation(event),
            }))
    }

    fn status(&self) -> TrackingStatus {
        self.all.status()
    }
}
