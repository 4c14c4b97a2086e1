//! Implements the contract: how each method answers while the backend is not available. The table is in the docs of
//! [`Guarded`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl, check_key};

use super::Guarded;

/// Whether a call with these keys reaches the backend.
fn legal(keys: &[&str]) -> bool {
    !keys.is_empty() && keys.iter().all(|key| check_key(key).is_ok())
}

fn lives(ttl: Ttl) -> bool {
    ttl.as_duration().is_ok()
}

/// The length in bytes up to which no backend refuses a value for its length.
const SURELY_ACCEPTED: usize = 256 * 1024;

/// Calls whose keys are all in one part, or of which one key is illegal.
impl Guarded {
    pub(super) async fn get_many_of_part(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        let result = self
            .at(keys)
            .call(legal(keys), || self.client.get_many(keys))
            .await;
        self.bypass(result, || Ok(vec![None; keys.len()]))
    }

    pub(super) async fn get_each_of_part(&self, keys: &[&str]) -> Vec<Result<Bytes, CacheError>> {
        let checks = keys.iter().map(|key| check_key(key));
        self.each(
            keys,
            checks,
            || self.client.get_each(keys),
            || Err(CacheError::Miss),
        )
        .await
    }

    pub(super) async fn get_entries_of_part(&self, keys: &[&str]) -> Vec<Result<Lookup, CacheError>> {
        let checks = keys.iter().map(|key| check_key(key));
        self.each(
            keys,
            checks,
            || self.client.get_entries(keys),
            || Ok(Lookup::untracked_absence()),
        )
        .await
    }

    pub(super) async fn set_many_of_part(
        &self,
        entries: &[(&str, Bytes)],
        ttl: Ttl,
    ) -> Result<(), CacheError> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let result = self
            .at(&keys)
            .call(legal(&keys) && lives(ttl), || self.client.set_many(entries, ttl))
            .await;
        self.bypass(result, || Ok(()))
    }

    pub(super) async fn set_each_of_part(
        &self,
        entries: &[(&str, Bytes, Ttl)],
    ) -> Vec<Result<(), CacheError>> {
        let check =
            |(key, _, ttl): &(&str, Bytes, Ttl)| check_key(key).and_then(|()| ttl.as_duration().map(drop));
        let keys: Vec<&str> = entries.iter().map(|(key, ..)| *key).collect();
        let checks = entries.iter().map(check);
        self.each(&keys, checks, || self.client.set_each(entries), || Ok(()))
            .await
    }

    pub(super) async fn del_of_part(&self, keys: &[&str]) -> Result<u64, CacheError> {
        let result = self.at(keys).call(legal(keys), || self.client.del(keys)).await;
        self.bypass(result, || Ok(0))
    }

    pub(super) async fn exists_of_part(&self, keys: &[&str]) -> Result<u64, CacheError> {
        let result = self.at(keys).call(legal(keys), || self.client.exists(keys)).await;
        self.bypass(result, || Ok(0))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Guarded {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        let result = self.at(&[key]).call(legal(&[key]), || self.client.get(key)).await;
        self.bypass(result, || Err(CacheError::Miss))
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        let result = self
            .at(&[key])
            .call(legal(&[key]), || self.client.get_entry(key))
            .await;
        self.bypass(result, || Err(CacheError::Miss))
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        match self.split(keys) {
            Some(groups) => self.get_many_of_parts(keys, &groups).await,
            None => self.get_many_of_part(keys).await,
        }
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        match self.split_each(keys) {
            Some(groups) => self.get_each_of_parts(keys, &groups).await,
            None => self.get_each_of_part(keys).await,
        }
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        match self.split_each(keys) {
            Some(groups) => self.get_entries_of_parts(keys, &groups).await,
            None => self.get_entries_of_part(keys).await,
        }
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        let reaches = legal(&[key]) && lives(ttl);
        let result = self
            .at(&[key])
            .call(reaches, || self.client.set(key, value, ttl))
            .await;
        self.bypass(result, || Ok(()))
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        match self.split(&keys).filter(|_| lives(ttl)) {
            Some(groups) if entries.iter().all(|(_, value)| value.len() <= SURELY_ACCEPTED) => {
                self.set_many_of_parts(entries, ttl, &groups).await
            }
            // The client refuses a value over its limit before it sends anything, so none of the entries is stored.
            Some(_) => {
                let whole = self.whole().call(true, || self.client.set_many(entries, ttl));
                self.bypass(whole.await, || Ok(()))
            }
            None => self.set_many_of_part(entries, ttl).await,
        }
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let keys: Vec<&str> = entries.iter().map(|(key, ..)| *key).collect();
        match self.split_each(&keys) {
            Some(groups) => self.set_each_of_parts(entries, &groups).await,
            None => self.set_each_of_part(entries).await,
        }
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        let reaches = legal(&[key]) && lives(ttl);
        let result = self
            .at(&[key])
            .call(reaches, || self.client.set_if_absent(key, value, ttl))
            .await;
        Self::surface(result)
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        let reaches = legal(&[key]) && lives(ttl);
        let make = || self.client.compare_and_set(key, expected, value, ttl);
        let result = self.at(&[key]).call(reaches, make).await;
        Self::surface(result)
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        let make = || self.client.compare_and_delete(key, expected);
        let result = self.at(&[key]).call(legal(&[key]), make).await;
        Self::surface(result)
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        let result = self
            .at(&[key])
            .call(legal(&[key]), || self.client.get_and_delete(key))
            .await;
        Self::surface(result)
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        let reaches = legal(&[key]) && lives(ttl);
        let result = self
            .at(&[key])
            .call(reaches, || self.client.get_and_expire(key, ttl))
            .await;
        self.bypass(result, || Err(CacheError::Miss))
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        match self.split(keys) {
            Some(groups) => self.del_of_parts(keys, &groups).await,
            None => self.del_of_part(keys).await,
        }
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        match self.split(keys) {
            Some(groups) => self.exists_of_parts(keys, &groups).await,
            None => self.exists_of_part(keys).await,
        }
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        let result = self
            .at(&[key])
            .call(legal(&[key]), || self.client.incr(key))
            .await;
        Self::surface(result)
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        let reaches = legal(&[key]) && lives(ttl);
        let result = self
            .at(&[key])
            .call(reaches, || self.client.incr_by(key, delta, ttl))
            .await;
        Self::surface(result)
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        let reaches = legal(&[key]) && lives(ttl);
        let result = self
            .at(&[key])
            .call(reaches, || self.client.expire(key, ttl))
            .await;
        self.bypass(result, || Ok(false))
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        let result = self.at(&[key]).call(legal(&[key]), || self.client.ttl(key)).await;
        self.bypass(result, || Err(CacheError::Miss))
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        self.client.invalidations()
    }

    async fn ping(&self) -> Result<(), CacheError> {
        let result = self.call(true, || self.client.ping()).await;
        Self::surface(result)
    }

    async fn close(&self) -> Result<(), CacheError> {
        self.client.close().await?;
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
