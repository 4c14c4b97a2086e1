//! Implements the contract for the embedded client.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::consume_budget;

use super::MemoryCache;
use super::access::Change;
use super::changes::News;
use super::shard::Stored;
use crate::clock::Instant;
use crate::{CacheClient, CacheError, Entry, InvalidationSource, Lookup, Ttl, check_key, integer};

/// After this many keys of one call the task's budget is checked again.
const KEYS_PER_BUDGET: usize = 32;

impl MemoryCache {
    fn read(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let read = |stored: &Stored, _: Option<Instant>| {
            stored.mark();
            stored.value.clone()
        };
        self.look_up(key, read)?.ok_or(CacheError::Miss)
    }

    /// A read with the TTL. The caller has checked that the key is legal.
    fn read_entry(&self, key: &str) -> Result<Lookup, CacheError> {
        // Checked before the value is read: a listener at that time receives every change after the read.
        let tracked = self.changes.is_heard();
        let read = |stored: &Stored, now: Option<Instant>| {
            stored.mark();
            let mut entry = Entry::untracked(stored.value.clone(), remaining(stored, now));
            entry.tracked = tracked;
            entry
        };
        Ok(match self.look_up(key, read)? {
            Some(entry) => Lookup::Found(entry),
            None if tracked => Lookup::tracked_absence(),
            None => Lookup::untracked_absence(),
        })
    }

    /// Checks an entry before it is stored, and returns its TTL.
    fn check_entry(&self, key: &str, value: &Bytes, ttl: Ttl) -> Result<Option<Duration>, CacheError> {
        check_key(key)?;
        let duration = ttl.as_duration()?;
        self.bounds.check(key.len(), value.len())?;
        Ok(duration)
    }

    fn delete(&self, key: &str, news: &mut News<'_>) -> Result<bool, CacheError> {
        self.change(key, news, |stored, _| match stored {
            Some(_) => Ok((Change::Delete, true)),
            None => Ok((Change::Keep, false)),
        })
    }

    fn store(
        &self,
        key: &str,
        value: Bytes,
        duration: Option<Duration>,
        news: &mut News<'_>,
    ) -> Result<(), CacheError> {
        self.change(key, news, |_, now| {
            Ok((
                Change::Put {
                    value,
                    expires: deadline(now, duration),
                },
                (),
            ))
        })
    }

    fn add(&self, key: &str, delta: i64, duration: Option<Duration>) -> Result<i64, CacheError> {
        self.change_and_tell(key, |stored, now| {
            let sum = stored.map_or(Ok(delta), |stored| integer::add(&stored.value, delta))?;
            let expires = stored
                .and_then(|stored| stored.expires)
                .or_else(|| deadline(now, duration));
            Ok((
                Change::Put {
                    value: integer::format(sum),
                    expires,
                },
                sum,
            ))
        })
    }

    /// [`change`](MemoryCache::change) of a single key, always followed by the announcement.
    fn change_and_tell<R>(
        &self,
        key: &str,
        decide: impl FnOnce(Option<&Stored>, Instant) -> Result<(Change, R), CacheError>,
    ) -> Result<R, CacheError> {
        self.telling(|news| self.change(key, news, decide))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheClient for MemoryCache {
    async fn get(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        consume_budget().await;
        let read = |stored: &Stored, _: Option<Instant>| {
            stored.mark();
            stored.value.clone()
        };
        self.look_up(key, read)?.ok_or(CacheError::Miss)
    }

    async fn get_entry(&self, key: &str) -> Result<Entry, CacheError> {
        check_key(key)?;
        consume_budget().await;
        self.read_entry(key)?.into_entry()
    }

    async fn get_many<'a>(&self, keys: &[&'a str]) -> Result<Vec<Option<Bytes>>, CacheError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        self.check_open()?;
        let mut values = Vec::with_capacity(keys.len());
        for some in keys.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            for key in some {
                values.push(self.look_up(key, |stored, _| {
                    stored.mark();
                    stored.value.clone()
                })?);
            }
        }
        Ok(values)
    }

    async fn get_each<'a>(&self, keys: &[&'a str]) -> Vec<Result<Bytes, CacheError>> {
        let mut results = Vec::with_capacity(keys.len());
        for some in keys.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            results.extend(some.iter().map(|key| self.read(key)));
        }
        results
    }

    async fn get_entries<'a>(&self, keys: &[&'a str]) -> Vec<Result<Lookup, CacheError>> {
        let mut results = Vec::with_capacity(keys.len());
        for some in keys.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            results.extend(
                some.iter()
                    .map(|key| check_key(key).and_then(|()| self.read_entry(key))),
            );
        }
        results
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<(), CacheError> {
        check_key(key)?;
        let duration = ttl.as_duration()?;
        self.bounds.check(key.len(), value.len())?;
        consume_budget().await;
        self.telling(|news| self.store(key, value, duration, news))
    }

    async fn set_many<'a>(&self, entries: &[(&'a str, Bytes)], ttl: Ttl) -> Result<(), CacheError> {
        let duration = ttl.as_duration()?;
        for (key, value) in entries {
            check_key(key)?;
            self.bounds.check(key.len(), value.len())?;
        }
        self.check_open()?;
        for some in entries.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            self.telling(|news| {
                some.iter()
                    .try_for_each(|(key, value)| self.store(key, value.clone(), duration, news))
            })?;
        }
        Ok(())
    }

    async fn set_each<'a>(&self, entries: &[(&'a str, Bytes, Ttl)]) -> Vec<Result<(), CacheError>> {
        let mut results = Vec::with_capacity(entries.len());
        for some in entries.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            self.telling(|news| {
                for (key, value, ttl) in some {
                    let stored = self
                        .check_entry(key, value, *ttl)
                        .and_then(|duration| self.store(key, value.clone(), duration, news));
                    results.push(stored);
                }
            });
        }
        results
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Ttl) -> Result<bool, CacheError> {
        check_key(key)?;
        let duration = ttl.as_duration()?;
        self.bounds.check(key.len(), value.len())?;
        consume_budget().await;
        self.change_and_tell(key, |stored, now| match stored {
            Some(_) => Ok((Change::Keep, false)),
            None => Ok((
                Change::Put {
                    value,
                    expires: deadline(now, duration),
                },
                true,
            )),
        })
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: &[u8],
        value: Bytes,
        ttl: Ttl,
    ) -> Result<bool, CacheError> {
        check_key(key)?;
        let duration = ttl.as_duration()?;
        self.bounds.check(key.len(), value.len())?;
        consume_budget().await;
        self.change_and_tell(key, |stored, now| match stored {
            Some(stored) if stored.value == expected => Ok((
                Change::Put {
                    value,
                    expires: deadline(now, duration),
                },
                true,
            )),
            _ => Ok((Change::Keep, false)),
        })
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool, CacheError> {
        check_key(key)?;
        consume_budget().await;
        self.change_and_tell(key, |stored, _| match stored {
            Some(stored) if stored.value == expected => Ok((Change::Delete, true)),
            _ => Ok((Change::Keep, false)),
        })
    }

    async fn get_and_delete(&self, key: &str) -> Result<Bytes, CacheError> {
        check_key(key)?;
        consume_budget().await;
        self.change_and_tell(key, |stored, _| match stored {
            Some(stored) => Ok((Change::Delete, stored.value.clone())),
            None => Err(CacheError::Miss),
        })
    }

    async fn get_and_expire(&self, key: &str, ttl: Ttl) -> Result<Bytes, CacheError> {
        check_key(key)?;
        let duration = ttl.as_duration()?;
        consume_budget().await;
        self.change_and_tell(key, |stored, now| match stored {
            Some(stored) => {
                stored.mark();
                Ok((Change::Expire(deadline(now, duration)), stored.value.clone()))
            }
            None => Err(CacheError::Miss),
        })
    }

    async fn del<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        self.check_open()?;
        let mut deleted = 0;
        for some in keys.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            self.telling(|news| {
                for key in some {
                    deleted += u64::from(self.delete(key, news)?);
                }
                Ok::<(), CacheError>(())
            })?;
        }
        Ok(deleted)
    }

    async fn exists<'a>(&self, keys: &[&'a str]) -> Result<u64, CacheError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        self.check_open()?;
        let mut there = 0;
        for some in keys.chunks(KEYS_PER_BUDGET) {
            consume_budget().await;
            for key in some {
                there += u64::from(self.look_up(key, |_, _| ())?.is_some());
            }
        }
        Ok(there)
    }

    async fn incr(&self, key: &str) -> Result<i64, CacheError> {
        check_key(key)?;
        consume_budget().await;
        self.add(key, 1, None)
    }

    async fn incr_by(&self, key: &str, delta: i64, ttl: Ttl) -> Result<i64, CacheError> {
        check_key(key)?;
        let duration = ttl.as_duration()?;
        consume_budget().await;
        self.add(key, delta, duration)
    }

    async fn expire(&self, key: &str, ttl: Ttl) -> Result<bool, CacheError> {
        check_key(key)?;
        let duration = ttl.as_duration()?;
        consume_budget().await;
        self.change_and_tell(key, |stored, now| match stored {
            Some(_) => Ok((Change::Expire(deadline(now, duration)), true)),
            None => Ok((Change::Keep, false)),
        })
    }

    async fn ttl(&self, key: &str) -> Result<Ttl, CacheError> {
        check_key(key)?;
        consume_budget().await;
        self.look_up(key, remaining)?.ok_or(CacheError::Miss)
    }

    fn invalidations(&self) -> Option<Arc<dyn InvalidationSource>> {
        Some(Arc::<super::Changes>::clone(&self.changes))
    }

    async fn ping(&self) -> Result<(), CacheError> {
        consume_budget().await;
        self.check_open()
    }

    async fn close(&self) -> Result<(), CacheError> {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.drop_everything();
            self.changes.end();
        }
        Ok(())
    }
}

/// The end of a TTL that starts now; `None` if it would be after the end of the clock.
fn deadline(now: Instant, duration: Option<Duration>) -> Option<Instant> {
    now.checked_add(duration?)
}

/// The remaining TTL of an entry that has not expired by `now`.
fn remaining(stored: &Stored, now: Option<Instant>) -> Ttl {
    match (stored.expires, now) {
        (Some(expires), Some(now)) => Ttl::After(expires.duration_since(now)),
        _ => Ttl::Forever,
    }
}
