//! Reads and changes an entry under the lock of its shard and within the limits.
//!
//! Not in here: the contract's methods on top of it.

use std::hash::BuildHasher;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::MemoryCache;
use super::bounds::weight;
use super::changes::News;
use super::shard::{NO_SLOT, Shard, Stored};
use crate::CacheError;
use crate::clock::{self, Instant};

/// What a write does to an entry after reading it.
pub(super) enum Change {
    Keep,
    Put { value: Bytes, expires: Option<Instant> },
    Expire(Option<Instant>),
    Delete,
}

/// How many expired entries a write removes as well.
const SWEEP: usize = 8;

impl MemoryCache {
    /// Runs `f` on the entry of `key`, if there is one that has not expired.
    #[inline]
    pub(super) fn look_up<R>(
        &self,
        key: &str,
        f: impl FnOnce(&Stored, Option<Instant>) -> R,
    ) -> Result<Option<R>, CacheError> {
        let hash = self.hasher.hash_one(key);
        let shard = read(self.shard_of(hash));
        self.check_open()?;
        let Some(stored) = shard.get(hash, key) else {
            return Ok(None);
        };
        // The clock is read only for an entry with a deadline.
        let now = stored.expires.map(|_| clock::now());
        if let (Some(expires), Some(now)) = (stored.expires, now)
            && expires <= now
        {
            drop(shard);
            self.sweep(hash, now);
            return Ok(None);
        }
        Ok(Some(f(stored, now)))
    }

    /// Passes the entry of `key` to `decide` and applies the decision, as one step.
    ///
    /// The caller announces the change after the lock is released.
    pub(super) fn change<R>(
        &self,
        key: &str,
        news: &mut News<'_>,
        decide: impl FnOnce(Option<&Stored>, Instant) -> Result<(Change, R), CacheError>,
    ) -> Result<R, CacheError> {
        let hash = self.hasher.hash_one(key);
        let mut shard = write(self.shard_of(hash));
        // Read under the lock: a call that waited for it must not see an entry that expired in the meantime.
        let now = clock::now();
        self.check_open()?;
        self.take_expired(&mut shard, now, news);
        let found = shard.find(hash, key);
        let alive = found.filter(|&slot| shard.at(slot).is_some_and(|stored| is_alive(stored, now)));
        let (change, answer) = decide(alive.and_then(|slot| shard.at(slot)), now)?;
        match (change, found) {
            (Change::Put { value, expires }, _) => {
                self.bounds.check(key.len(), value.len())?;
                let slot = self.put(&mut shard, hash, key, found, value, expires);
                news.note(key);
                self.make_room(&mut shard, now, slot, usize::MAX, news);
            }
            (Change::Expire(expires), Some(slot)) => {
                shard.set_deadline(slot, expires);
                news.note(key);
            }
            (Change::Delete, Some(slot)) => self.take(&mut shard, slot, news),
            (Change::Keep | Change::Expire(_) | Change::Delete, _) => {}
        }
        drop(shard);
        if self.bounds.is_over() {
            self.make_room_elsewhere(hash, now, news);
        }
        Ok(answer)
    }

    fn put(
        &self,
        shard: &mut Shard,
        hash: u64,
        key: &str,
        found: Option<usize>,
        value: Bytes,
        expires: Option<Instant>,
    ) -> usize {
        let new = weight(key.len(), value.len());
        match found {
            Some(slot) => {
                self.bounds.resize(shard.at(slot).map_or(0, Stored::weight), new);
                shard.replace(slot, value, expires);
                slot
            }
            None => {
                self.bounds.add(new);
                shard.insert(hash, key, value, expires)
            }
        }
    }

    /// Evicts at most `most` entries of the shard, never `spare`, until the limits are met.
    fn make_room(&self, shard: &mut Shard, now: Instant, spare: usize, most: usize, news: &mut News<'_>) {
        for _ in 0..most {
            if !self.bounds.is_over() {
                return;
            }
            let expired = shard.expired(now);
            let Some(slot) = expired.or_else(|| shard.victim(spare)) else {
                return;
            };
            if expired.is_none() {
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
            self.take(shard, slot, news);
        }
    }

    /// Evicts from the other shards, a few entries each at a time, because the shard of `hash` is empty.
    fn make_room_elsewhere(&self, hash: u64, now: Instant, news: &mut News<'_>) {
        let own = self.number_of(hash);
        loop {
            let before = self.len();
            for step in 1..self.shards.len() {
                let number = (own + step) & (self.shards.len() - 1);
                self.make_room(&mut write(&self.shards[number]), now, NO_SLOT, SWEEP, news);
                if !self.bounds.is_over() {
                    return;
                }
            }
            if self.len() >= before {
                return;
            }
        }
    }

    /// Removes an entry from the shard, and updates all counts.
    pub(super) fn take(&self, shard: &mut Shard, slot: usize, news: &mut News<'_>) {
        if let Some(stored) = shard.remove(slot) {
            self.bounds.remove(stored.weight());
            news.note(stored.key);
        }
    }

    /// Removes a few expired entries from the shard.
    fn take_expired(&self, shard: &mut Shard, now: Instant, news: &mut News<'_>) {
        for _ in 0..SWEEP {
            let Some(slot) = shard.expired(now) else { return };
            self.take(shard, slot, news);
        }
    }

    /// Removes a few expired entries from the shard of `hash`, where a reader has just found one.
    #[cold]
    fn sweep(&self, hash: u64, now: Instant) {
        self.telling(|news| self.take_expired(&mut write(self.shard_of(hash)), now, news));
    }

    /// Runs `work`, which releases every lock that it takes, then announces the changes that it recorded.
    pub(super) fn telling<R>(&self, work: impl FnOnce(&mut News<'_>) -> R) -> R {
        let mut news = News::of(&self.changes);
        let answer = work(&mut news);
        news.announce();
        answer
    }

    pub(super) fn drop_everything(&self) -> u64 {
        let mut removed = 0;
        for shard in &self.shards {
            let old = std::mem::replace(&mut *write(shard), Shard::new());
            for stored in old.entries() {
                self.bounds.remove(stored.weight());
                removed += 1;
            }
        }
        removed
    }

    /// Call this under a shard's lock: [`close`](crate::CacheClient::close) empties the shards after it has
    /// set the flag, so nothing is left behind.
    #[inline]
    pub(super) fn check_open(&self) -> Result<(), CacheError> {
        if self.closed.load(Ordering::Acquire) {
            Err(CacheError::Closed)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn shard_of(&self, hash: u64) -> &RwLock<Shard> {
        &self.shards[self.number_of(hash)]
    }

    /// The index inside the shard uses the lowest and the highest bits; these are from the middle.
    #[inline]
    fn number_of(&self, hash: u64) -> usize {
        let [_, _, _, _, low, high, _, _] = hash.to_le_bytes();
        usize::from(u16::from_le_bytes([low, high])) & (self.shards.len() - 1)
    }
}

#[inline]
pub(super) fn is_alive(stored: &Stored, now: Instant) -> bool {
    stored.expires.is_none_or(|expires| now < expires)
}

/// Code under the lock panics only if memory runs out, and leaves a consistent state.
#[inline]
pub(super) fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

#[inline]
pub(super) fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}
