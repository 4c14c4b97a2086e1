//! The contract, as a near tier keeps it over the client inside.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Entry, InvalidationSource, Ttl, check_key};
use tokio::task::consume_budget;

use super::{NearStatus, Tiered};
use crate::each;
use crate::near::{Boarding, Count, Flight, Found, Keep, Near};

/// Takes the copies of keys away when it is dropped: when a write has answered, or is given up.
struct Written<'a, 'k> {
    near: &'a Near<Bytes>,
    keys: &'a [&'k str],
}

impl Drop for Written<'_, '_> {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.near.remove(key));
    }
}

impl Tiered {
    /// To be held while one of `keys` is written.
    fn writing<'a, 'k>(&'a self, keys: &'a [&'k str]) -> Written<'a, 'k> {
        Written {
            near: &self.near,
            keys,
        }
    }

    /// The near copy of `key`.
    #[inline]
    fn look(&self, key: &str) -> Result<Option<Found<Bytes>>, CacheError> {
        self.check_open()?;
        let found = self.near.look(key);
        if found.is_some() {
            self.near.counts().add(Count::Hit, 1);
        }
        Ok(found)
    }

    /// Reads `key`, which is not near, as one far read for all who want it now; `None` where the tier is
    /// bypassed, and the caller reads for itself.
    async fn fetch(&self, key: &str) -> Result<Option<Found<Bytes>>, CacheError> {
        let counts = self.near.counts();
        loop {
            // Asked before the status: who was told that changes are reported, and comes after they were
            // not for a while, must not lead or join a read from within that while.
            let period = self.near.period();
            if matches!(self.status(), NearStatus::Bypassed { .. }) {
                counts.add(Count::Miss, 1);
                return Ok(None);
            }
            match self.near.board(key, period) {
                Boarding::Late => {}
                Boarding::Hit(found) => {
                    counts.add(Count::Hit, 1);
                    return Ok(Some(found));
                }
                Boarding::Led(flight) => {
                    counts.add(Count::Miss, 1);
                    return self.lead(key, flight).await.map(Some);
                }
                Boarding::Joined(seat) => {
                    if let Some(answer) = seat.landed().await {
                        counts.add(Count::Joined, 1);
                        return answer.map(Some);
                    }
                }
            }
        }
    }

    async fn lead(&self, key: &str, flight: Flight<Bytes>) -> Result<Found<Bytes>, CacheError> {
        let answer = self.inner.get_entry(key).await.map(|entry| {
            let Entry {
                value,
                remaining,
                tracked,
                ..
            } = entry;
            Found {
                value,
                remaining,
                tracked,
            }
        });
        let keep = answer.as_ref().ok().and_then(|found| self.keep(key, found));
        flight.land(&answer, keep);
        answer
    }

    /// What is kept of a far read, if anything.
    fn keep(&self, key: &str, found: &Found<Bytes>) -> Option<Keep<Bytes>> {
        let life = self.lives.of(found.tracked, &self.status())?;
        if !self.near.takes(key, found.value.len()) {
            return None;
        }
        let value = Bytes::copy_from_slice(&found.value);
        Some(Keep {
            bytes: value.len(),
            found: Found {
                value,
                remaining: found.remaining,
                tracked: found.tracked,
            },
            life,
        })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for Tiered {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        consume_budget().await;
        if let Some(found) = self.look(key)? {
            return Ok(found.value);
        }
        // Boxed, so that a hit makes room for its own few variables only.
        match Box::pin(self.fetch(key)).await? {
            Some(found) => Ok(found.value),
            None => self.inner.get(key).await,
        }
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        check_key(key)?;
        consume_budget().await;
        if let Some(found) = self.look(key)? {
            return Ok(entry(found));
        }
        match Box::pin(self.fetch(key)).await? {
            Some(found) => Ok(entry(found)),
            None => self.inner.get_entry(key).await,
        }
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        self.check_open()?;
        let mut values = Vec::with_capacity(keys.len());
        let mut far = Vec::new();
        for some in keys.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            for key in some {
                let found = self.look(key)?;
                if found.is_none() {
                    far.push(*key);
                }
                values.push(found.map(|found| found.value));
            }
        }
        if far.is_empty() {
            return Ok(values);
        }
        self.near.counts().add(Count::Miss, far.len());
        let mut read = self.inner.get_many(&far).await?.into_iter();
        for value in values.iter_mut().filter(|value| value.is_none()) {
            *value = read.next().flatten();
        }
        Ok(values)
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        let mut known = Vec::with_capacity(keys.len());
        let mut far = Vec::new();
        for some in keys.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            for key in some {
                known.push(match check_key(key).and_then(|()| self.look(key)) {
                    Ok(Some(found)) => Some(Ok(found.value)),
                    Ok(None) => {
                        far.push(*key);
                        None
                    }
                    Err(error) => Some(Err(error)),
                });
            }
        }
        if far.is_empty() {
            return each::fill(known, Vec::new());
        }
        self.near.counts().add(Count::Miss, far.len());
        each::fill(known, self.inner.get_each(&far).await)
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.set(key, value, ttl).await
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let _written = self.writing(&keys);
        self.inner.set_many(entries, ttl).await
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let keys: Vec<&str> = entries.iter().map(|(key, ..)| *key).collect();
        let _written = self.writing(&keys);
        self.inner.set_each(entries).await
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.set_if_absent(key, value, ttl).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.compare_and_set(key, expected, value, ttl).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.compare_and_delete(key, expected).await
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.get_and_delete(key).await
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.get_and_expire(key, ttl).await
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        let _written = self.writing(keys);
        self.inner.del(keys).await
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        self.inner.exists(keys).await
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.incr(key).await
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.incr_by(key, delta, ttl).await
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        let keys = [key];
        let _written = self.writing(&keys);
        self.inner.expire(key, ttl).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        self.inner.ttl(key).await
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        let source = self.source.clone()?;
        Some(source)
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.inner.ping().await
    }

    async fn close(&self) -> Result<(), CacheError> {
        self.closed.store(true, Ordering::Release);
        self.near.reset();
        self.inner.close().await
    }
}

/// After so many keys of one call the task's budget is asked again.
const KEYS_PER_BUDGET: usize = 32;

fn entry(found: Found<Bytes>) -> Entry {
    let Found {
        value,
        remaining,
        tracked,
    } = found;
    if tracked {
        Entry::tracked(value, remaining)
    } else {
        Entry::untracked(value, remaining)
    }
}
