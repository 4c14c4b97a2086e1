//! Implements the contract by the client inside.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl};

use super::Observed;
use super::each::Ended;
use crate::metrics::{Operation, Outcome};

impl Observed {
    /// Counts what the keys of a read found, and returns the outcome of the whole call.
    fn looked_up(&self, ended: &Ended) -> Outcome {
        self.calls.looked_up(ended.done, ended.missed);
        match (ended.done, ended.missed) {
            (0, 0) => Outcome::Ok,
            (_, 0) => Outcome::Hit,
            (0, _) => Outcome::Miss,
            _ => Outcome::Partial,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Observed {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        self.observe(Operation::Get, 1, self.inner.get(key), |_| Outcome::Hit)
            .await
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        self.observe(Operation::GetEntry, 1, self.inner.get_entry(key), |_| {
            Outcome::Hit
        })
        .await
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        let call = self.inner.get_many(keys);
        let found = |found: &Vec<Option<Bytes>>| {
            let hits = found.iter().flatten().count();
            let misses = found.len() - hits;
            self.calls.looked_up(hits as u64, misses as u64);
            match (hits, misses) {
                (0, 0) => Outcome::Ok,
                (_, 0) => Outcome::Hit,
                (0, _) => Outcome::Miss,
                _ => Outcome::Partial,
            }
        };
        self.observe(Operation::GetMany, keys.len(), call, found).await
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        let call = self.inner.get_each(keys);
        self.observe_each(Operation::GetEach, keys.len(), call, |ended| {
            self.looked_up(ended)
        })
        .await
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let call = self.inner.get_entries(keys);
        self.observe_each(Operation::GetEntries, keys.len(), call, |ended| {
            self.looked_up(ended)
        })
        .await
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        self.observe(Operation::Set, 1, self.inner.set(key, value, ttl), ok)
            .await
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let call = self.inner.set_many(entries, ttl);
        self.observe(Operation::SetMany, entries.len(), call, ok).await
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let call = self.inner.set_each(entries);
        self.observe_each(Operation::SetEach, entries.len(), call, ok)
            .await
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        let call = self.inner.set_if_absent(key, value, ttl);
        self.observe(Operation::SetIfAbsent, 1, call, met).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        let call = self.inner.compare_and_set(key, expected, value, ttl);
        self.observe(Operation::CompareAndSet, 1, call, met).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        let call = self.inner.compare_and_delete(key, expected);
        self.observe(Operation::CompareAndDelete, 1, call, met).await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        let call = self.inner.get_and_delete(key);
        self.observe(Operation::GetAndDelete, 1, call, |_| Outcome::Hit)
            .await
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        let call = self.inner.get_and_expire(key, ttl);
        self.observe(Operation::GetAndExpire, 1, call, |_| Outcome::Hit)
            .await
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.observe(Operation::Del, keys.len(), self.inner.del(keys), ok)
            .await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.observe(Operation::Exists, keys.len(), self.inner.exists(keys), ok)
            .await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        self.observe(Operation::Incr, 1, self.inner.incr(key), ok).await
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        let call = self.inner.incr_by(key, delta, ttl);
        self.observe(Operation::IncrBy, 1, call, ok).await
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        let exists = |exists: &bool| if *exists { Outcome::Ok } else { Outcome::Miss };
        self.observe(Operation::Expire, 1, self.inner.expire(key, ttl), exists)
            .await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.observe(Operation::Ttl, 1, self.inner.ttl(key), ok).await
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        self.inner.invalidations()
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.observe(Operation::Ping, 0, self.inner.ping(), ok).await
    }

    async fn close(&self) -> Result<(), CacheError> {
        self.observe(Operation::Close, 0, self.inner.close(), ok).await
    }
}

const fn ok<T>(_: &T) -> Outcome {
    Outcome::Ok
}

/// Whether the condition of a conditional write was met.
const fn met(done: &bool) -> Outcome {
    if *done { Outcome::Ok } else { Outcome::Unmet }
}
