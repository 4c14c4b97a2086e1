//! Implements the contract, with values that are sealed before they reach the client inside.
//!
//! In here: the methods that need no loop. Conditional writes are in `conditional.rs`, counters in `counters.rs`, and
//! calls with one result per key in `each.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl};
use futures::StreamExt as _;
use tokio::task::consume_budget;

use super::read::Trouble;
use super::source::Translated;
use super::{Encrypted, Name};

/// After this many values of one call, the task's cooperative budget is checked.
pub(super) const VALUES_PER_BUDGET: usize = 32;
/// How many unreadable values of one call are removed. Later reads remove the others.
const REMOVALS_PER_CALL: usize = 64;
/// How many of them are removed at a time.
const REMOVALS_AT_ONCE: usize = 8;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Encrypted {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        let name = self.name(key)?;
        match self.inner.get(&name.stored).await {
            Ok(stored) => match self.open(key, &stored) {
                Ok(opened) => Ok(opened.value),
                // Boxed, like everything rare, so that a usual read reserves room only for its own variables.
                Err(trouble) => match Box::pin(self.settle(&name, &stored, trouble)).await {
                    Some(opened) => Ok(opened.value),
                    None => Err(CacheError::Miss),
                },
            },
            Err(CacheError::Miss) => match self.plain_key(&name) {
                Some(plain_key) => Ok(self.plaintext(self.inner.get(plain_key).await?).value),
                None => Err(CacheError::Miss),
            },
            Err(error) => Err(error),
        }
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        let name = self.name(key)?;
        match self.inner.get_entry(&name.stored).await {
            Ok(mut entry) => {
                let opened = match self.open(key, &entry.value) {
                    Ok(opened) => Some(opened),
                    Err(trouble) => Box::pin(self.settle(&name, &entry.value, trouble)).await,
                };
                entry.value = opened.ok_or(CacheError::Miss)?.value;
                Ok(entry)
            }
            Err(CacheError::Miss) => match self.plain_key(&name) {
                Some(plain_key) => {
                    let entry = self.inner.get_entry(plain_key).await?;
                    // Untracked: the change that matters is that of the sealed entry, whose read was a miss.
                    Ok(Entry::untracked(
                        self.plaintext(entry.value).value,
                        entry.remaining,
                    ))
                }
                None => Err(CacheError::Miss),
            },
            Err(error) => Err(error),
        }
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        let names = self.names(keys)?;
        let stored_keys: Vec<&str> = names.iter().map(|name| &*name.stored).collect();
        let stored = self.inner.get_many(&stored_keys).await?;
        let mut values = Vec::with_capacity(stored.len());
        let mut unread: Vec<(usize, Bytes, Trouble)> = Vec::new();
        let mut missing = Vec::new();
        for (place, (name, stored)) in names.iter().zip(stored).enumerate() {
            if place % VALUES_PER_BUDGET == 0 {
                consume_budget().await;
            }
            values.push(match stored {
                None => {
                    missing.extend(self.plain_key(name).map(|plain_key| (place, plain_key)));
                    None
                }
                Some(stored) => match self.open(name.key, &stored) {
                    Ok(opened) => Some(opened.value),
                    Err(trouble) => {
                        unread.push((place, stored, trouble));
                        None
                    }
                },
            });
        }
        if !unread.is_empty() {
            Box::pin(self.settle_many(&names, &unread, &mut values)).await;
        }
        if !missing.is_empty() {
            let plain_keys: Vec<&str> = missing.iter().map(|(_, plain_key)| *plain_key).collect();
            let found = self.inner.get_many(&plain_keys).await?;
            for ((place, _), value) in missing.iter().zip(found) {
                values[*place] = value.map(|value| self.plaintext(value).value);
            }
        }
        Ok(values)
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        self.read_each(keys).await
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        self.lookup_each(keys).await
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        let name = self.name(key)?;
        self.check(&value, ttl)?;
        self.drop_plaintext(std::slice::from_ref(&name)).await?;
        self.inner.set(&name.stored, self.seal(key, &value)?, ttl).await
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let names = entries.iter().map(|(key, _)| self.name(key));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        entries.iter().try_for_each(|(_, value)| self.check(value, ttl))?;
        self.drop_plaintext(&names).await?;
        let mut sealed = Vec::with_capacity(entries.len());
        for (place, (name, (_, value))) in names.iter().zip(entries).enumerate() {
            if place % VALUES_PER_BUDGET == 0 {
                consume_budget().await;
            }
            sealed.push((&*name.stored, self.seal(name.key, value)?));
        }
        self.inner.set_many(&sealed, ttl).await
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        self.store_each(entries).await
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        let name = self.name(key)?;
        self.check(&value, ttl)?;
        self.store_if_absent(&name, &value, ttl).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        let name = self.name(key)?;
        self.check(&value, ttl)?;
        self.replace_if_equal(&name, expected, &value, ttl).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        let name = self.name(key)?;
        self.delete_if_equal(&name, expected).await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        let name = self.name(key)?;
        self.take(&name).await
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        let name = self.name(key)?;
        match self.inner.get_and_expire(&name.stored, ttl).await {
            Ok(stored) => {
                let opened = match self.open(key, &stored) {
                    Ok(opened) => Some(opened),
                    Err(trouble) => Box::pin(self.settle(&name, &stored, trouble)).await,
                };
                Ok(opened.ok_or(CacheError::Miss)?.value)
            }
            Err(CacheError::Miss) => match self.plain_key(&name) {
                Some(plain_key) => {
                    let stored = self.inner.get_and_expire(plain_key, ttl).await?;
                    Ok(self.plaintext(stored).value)
                }
                None => Err(CacheError::Miss),
            },
            Err(error) => Err(error),
        }
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        let names = self.names(keys)?;
        let stored_keys: Vec<&str> = names.iter().map(|name| &*name.stored).collect();
        // Before the sealed value. Otherwise a reader between the two would get the plain one.
        let plain = self.drop_plaintext(&names).await?;
        let sealed = self.inner.del(&stored_keys).await?;
        Ok(if plain == 0 {
            sealed
        } else {
            // A key with a value under both names counts once.
            (plain + sealed).min(distinct(keys))
        })
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        let names = self.names(keys)?;
        let stored_keys: Vec<&str> = names.iter().map(|name| &*name.stored).collect();
        let sealed = self.inner.exists(&stored_keys).await?;
        let plain_keys: Vec<&str> = names.iter().filter_map(|name| self.plain_key(name)).collect();
        let all = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        if plain_keys.is_empty() || sealed == all {
            return Ok(sealed);
        }
        Ok((sealed + self.inner.exists(&plain_keys).await?).min(all))
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        let name = self.name(key)?;
        self.count_up(&name, 1, None).await
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        let name = self.name(key)?;
        self.count_up(&name, delta, Some(ttl)).await
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        let name = self.name(key)?;
        let is_there = self.inner.expire(&name.stored, ttl).await?;
        match self.plain_key(&name) {
            Some(plain_key) if !is_there => self.inner.expire(plain_key, ttl).await,
            _ => Ok(is_there),
        }
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        let name = self.name(key)?;
        match (self.inner.ttl(&name.stored).await, self.plain_key(&name)) {
            (Err(CacheError::Miss), Some(plain_key)) => self.inner.ttl(plain_key).await,
            (left, _) => left,
        }
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        let source = self.inner.invalidations()?;
        if !self.config.form.is_marked() {
            return Some(source);
        }
        Some(Arc::new(Translated {
            source,
            form: self.config.form,
            plain: self.reads_plaintext(),
        }))
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.inner.ping().await
    }

    async fn close(&self) -> Result<(), CacheError> {
        if !self.closed.swap(true, Ordering::AcqRel) && self.keyring.detach() {
            self.keyring.close();
        }
        self.inner.close().await
    }
}

impl Encrypted {
    fn names<'k>(&self, keys: &[&'k str]) -> Result<Vec<Name<'k>>, CacheError> {
        keys.iter().map(|key| self.name(key)).collect()
    }

    /// Handles the values of one call that were not read, with one wait for unknown keys.
    pub(super) async fn settle_many(
        &self,
        names: &[Name<'_>],
        unread: &[(usize, Bytes, Trouble)],
        values: &mut [Option<Bytes>],
    ) {
        self.learn_all(unread.iter().map(|(.., trouble)| *trouble)).await;
        let mut dead = Vec::new();
        for (place, stored, _) in unread {
            match self.open(names[*place].key, stored) {
                Ok(opened) => values[*place] = Some(opened.value),
                Err(trouble) if trouble.is_dead() && dead.len() < REMOVALS_PER_CALL => {
                    dead.push(self.give_up(&names[*place], stored, trouble));
                }
                Err(trouble) => self.count(trouble),
            }
        }
        let removals = futures::stream::iter(dead).buffer_unordered(REMOVALS_AT_ONCE);
        removals.for_each(|()| std::future::ready(())).await;
    }
}

/// Returns the number of different keys.
fn distinct(keys: &[&str]) -> u64 {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    u64::try_from(keys.len()).unwrap_or(u64::MAX)
}
