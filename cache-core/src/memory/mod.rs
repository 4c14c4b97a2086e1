//! The embedded client: the default where no server is configured, and a true fake in tests.
//!
//! In here: the cache and what an owner does with it besides the contract. The contract itself is in
//! `client.rs`; what one lock guards, in `shard.rs`; who has to go, in `sieve.rs`.

mod bounds;
mod changes;
mod client;
mod integer;
mod shard;
mod sieve;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use hashbrown::DefaultHashBuilder;

use self::bounds::{Bounds, weight};
use self::changes::{Changes, News};
use self::shard::{NO_SLOT, Shard, Stored};
use crate::clock::{self, Instant};
use crate::config::MemoryConfig;
use crate::{CacheError, Invalidation, Pattern};

/// A cache in this process, gone with it.
///
/// It answers as a server does, down to what counts as an integer, and it reports every change through
/// [`invalidations`](crate::CacheClient::invalidations): keys that were written, deleted, evicted, or
/// found expired, and flushes. Nothing in it does I/O, waits, or runs in the background.
///
/// # Bounds
///
/// It never holds more than its bounds once a write has answered. An entry counts for its key, its value
/// and 192 bytes of book-keeping. When there is no room, expired entries go first, then those that were
/// not read since they came or since the eviction last looked at them (the SIEVE algorithm). An entry
/// that would not fit even alone is [`CacheError::InvalidInput`], and what its key holds stays.
///
/// A value is kept as the [`Bytes`] that were given: a small slice of a large buffer keeps the whole
/// buffer alive and counts for the slice only. Copy such a slice before you store it.
///
/// # Expiry
///
/// An entry is gone for every caller at the instant it expires, by [`clock`](crate::clock). Its memory comes
/// back at the next write or failed read near it, a few entries at a time. [`len`](MemoryCache::len) and
/// [`bytes`](MemoryCache::bytes) count it until then.
///
/// # Fairness
///
/// Every call takes from the cooperative budget of its tokio task, so that a loop of hits does not starve
/// its neighbours. Outside a tokio runtime there is no budget and calls are ready at once.
///
/// # Examples
///
/// ```
/// use cache_core::{CacheClientExt, CacheClient, CacheError, MemoryCache, Ttl};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let cache = MemoryCache::new(16 * 1024 * 1024, 100_000);
/// cache.set("greeting", "hello".into(), Ttl::secs(60)).await?;
/// assert_eq!(cache.find_string("greeting").await?.as_deref(), Some("hello"));
/// assert_eq!(cache.incr("visits").await?, 1);
/// # Ok::<(), CacheError>(())
/// # }).unwrap();
/// ```
pub struct MemoryCache {
    /// As many as a power of two.
    shards: Box<[RwLock<Shard>]>,
    hasher: DefaultHashBuilder,
    bounds: Bounds,
    evictions: AtomicU64,
    closed: AtomicBool,
    changes: Arc<Changes>,
}

/// One step of a [`scan`](MemoryCache::scan).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanPage {
    /// Where to go on; 0 is the end.
    pub cursor: u64,
    /// The keys found in this step; none of them is no sign of the end.
    pub keys: Vec<String>,
}

/// What a write does to an entry, once it has seen it.
enum Change {
    Keep,
    Put { value: Bytes, expires: Option<Instant> },
    Expire(Option<Instant>),
    Delete,
}

/// How many expired entries a write takes with it.
const SWEEP: usize = 8;

/// How many slots are looked at under one lock.
const PAGE: usize = 256;

/// Fewer entries, or bytes, than this in a shard are not worth a lock of their own.
const MIN_SHARD_ENTRIES: u64 = 512;
const MIN_SHARD_BYTES: u64 = 256 * 1024;

/// What [`MemoryCache::number_of`] can tell apart, and what a cursor has room for.
const MAX_SHARDS: usize = 1 << 16;

impl MemoryCache {
    /// A cache of at most `max_bytes` bytes and `max_entries` entries, see [Bounds](MemoryCache#bounds).
    /// One whose bounds have no room for a single entry refuses every write.
    #[must_use]
    pub fn new(max_bytes: u64, max_entries: u64) -> Self {
        // Few enough that small caches evict as one, enough that the cores seldom meet.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let worth = (max_entries / MIN_SHARD_ENTRIES).min(max_bytes / MIN_SHARD_BYTES);
        let shards = usize::try_from(worth)
            .unwrap_or(usize::MAX)
            .clamp(1, (4 * cores).min(MAX_SHARDS));
        let shards = if shards.is_power_of_two() {
            shards
        } else {
            shards.next_power_of_two() / 2
        };
        Self::with_shards(max_bytes, max_entries, shards)
    }

    fn with_shards(max_bytes: u64, max_entries: u64, shards: usize) -> Self {
        Self {
            shards: std::iter::repeat_with(|| RwLock::new(Shard::new()))
                .take(shards)
                .collect(),
            hasher: DefaultHashBuilder::default(),
            bounds: Bounds::new(max_bytes, max_entries),
            evictions: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            changes: Arc::new(Changes::default()),
        }
    }

    /// How many entries are held, see [Expiry](MemoryCache#expiry).
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bounds.entries()
    }

    /// Whether no entry is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are held: keys, values and book-keeping.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bounds.bytes()
    }

    /// How many entries had to go for others since the cache was made.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Empties the cache; how many entries it held.
    pub fn clear(&self) -> u64 {
        let removed = self.drop_everything();
        if self.changes.is_heard() {
            self.changes.announce(&Invalidation::Everything);
        }
        removed
    }

    /// Deletes the entries whose keys match; how many there were.
    ///
    /// Works in steps and holds no lock between them, so other callers hardly notice; keys that are stored
    /// meanwhile may or may not go. It does not give way to other tasks: of a large cache, run it where
    /// blocking is fine.
    pub fn invalidate(&self, pattern: &Pattern) -> u64 {
        let mut removed = 0;
        for shard in &self.shards {
            let mut from = 0;
            loop {
                let (end, slots) = self.telling(|news| {
                    let mut shard = write(shard);
                    let now = clock::now();
                    let end = shard.slots().min(from + PAGE);
                    for slot in from..end {
                        let Some(stored) = shard.at(slot) else { continue };
                        if pattern.matches(stored.key.as_bytes()) {
                            removed += u64::from(is_alive(stored, now));
                            self.take(&mut shard, slot, news);
                        }
                    }
                    (end, shard.slots())
                });
                if end == slots {
                    break;
                }
                from = end;
            }
        }
        removed
    }

    /// The keys that match, in steps: begin with cursor 0, go on with the cursor of the page, end when it
    /// is 0 again. A step looks at about `count` entries (at least one), whatever matches.
    ///
    /// A key that is there from the first step to the last is returned exactly once; one that comes or
    /// goes meanwhile may be. No lock is held between the steps, and nothing is kept for a scan that is
    /// not finished.
    ///
    /// ```
    /// # use cache_core::{CacheClient, CacheError, MemoryCache, Pattern, Ttl};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let cache = MemoryCache::default();
    /// # cache.set("app:1", "".into(), Ttl::Forever).await?;
    /// # cache.set("other", "".into(), Ttl::Forever).await?;
    /// let (pattern, mut cursor, mut keys) = (Pattern::new("app:*")?, 0, Vec::new());
    /// loop {
    ///     let page = cache.scan(&pattern, cursor, 1_000);
    ///     keys.extend(page.keys);
    ///     cursor = page.cursor;
    ///     if cursor == 0 {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(keys, ["app:1"]);
    /// # Ok::<(), CacheError>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn scan(&self, pattern: &Pattern, cursor: u64, count: usize) -> ScanPage {
        let mut keys = Vec::new();
        let mut left = count.max(1);
        let (mut number, mut from) = read_cursor(cursor);
        while let Some(shard) = self.shards.get(number) {
            let now = clock::now();
            let shard = read(shard);
            let end = shard.slots().min(from.saturating_add(left));
            for slot in from..end {
                let Some(stored) = shard.at(slot) else { continue };
                if is_alive(stored, now) && pattern.matches(stored.key.as_bytes()) {
                    keys.push(String::from(&*stored.key));
                }
            }
            left = left.saturating_sub(end.saturating_sub(from));
            if end < shard.slots() {
                return ScanPage {
                    cursor: make_cursor(number, end),
                    keys,
                };
            }
            (number, from) = (number + 1, 0);
            if left == 0 && number < self.shards.len() {
                return ScanPage {
                    cursor: make_cursor(number, 0),
                    keys,
                };
            }
        }
        ScanPage { cursor: 0, keys }
    }

    /// Runs `f` on the entry of `key`, if there is one that has not expired.
    #[inline]
    fn look_up<R>(
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
        // Only an entry with a deadline is worth asking the clock.
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

    /// Lets `decide` see the entry of `key`, and carries out what it decides, as one step.
    ///
    /// Nothing is announced in here: the caller does, after this has given the lock back.
    fn change<R>(
        &self,
        key: &str,
        news: &mut News<'_>,
        decide: impl FnOnce(Option<&Stored>, Instant) -> Result<(Change, R), CacheError>,
    ) -> Result<R, CacheError> {
        let hash = self.hasher.hash_one(key);
        let now = clock::now();
        let mut shard = write(self.shard_of(hash));
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

    /// Evicts at most `most` entries of the shard, never `spare`, until the bounds are kept.
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

    /// Evicts from the other shards, a few entries of each at a time: the shard of `hash` has nothing left.
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

    /// Takes an entry out of the shard, with all that goes with it.
    fn take(&self, shard: &mut Shard, slot: usize, news: &mut News<'_>) {
        if let Some(stored) = shard.remove(slot) {
            self.bounds.remove(stored.weight());
            news.note(stored.key);
        }
    }

    /// Takes a few expired entries out of the shard.
    fn take_expired(&self, shard: &mut Shard, now: Instant, news: &mut News<'_>) {
        for _ in 0..SWEEP {
            let Some(slot) = shard.expired(now) else { return };
            self.take(shard, slot, news);
        }
    }

    /// Takes a few expired entries out of the shard of `hash`, of which a reader has just met one.
    #[cold]
    fn sweep(&self, hash: u64, now: Instant) {
        self.telling(|news| self.take_expired(&mut write(self.shard_of(hash)), now, news));
    }

    /// Runs `work`, which gives back every lock that it takes, then announces what it has noted.
    fn telling<R>(&self, work: impl FnOnce(&mut News<'_>) -> R) -> R {
        let mut news = News::of(&self.changes);
        let answer = work(&mut news);
        news.announce();
        answer
    }

    fn drop_everything(&self) -> u64 {
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

    /// To be called under a shard's lock: then [`close`](crate::CacheClient::close), which empties the
    /// shards after it has set the flag, leaves nothing behind.
    #[inline]
    fn check_open(&self) -> Result<(), CacheError> {
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

/// The shard in the low 16 bits, the slot above.
fn make_cursor(shard: usize, slot: usize) -> u64 {
    let [shard, slot] = [shard, slot].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
    slot << 16 | shard
}

/// The shard and the slot; whatever the cursor, they are safe to ask for.
fn read_cursor(cursor: u64) -> (usize, usize) {
    let [low, high, ..] = cursor.to_le_bytes();
    (
        usize::from(u16::from_le_bytes([low, high])),
        usize::try_from(cursor >> 16).unwrap_or(usize::MAX),
    )
}

#[inline]
fn is_alive(stored: &Stored, now: Instant) -> bool {
    stored.expires.is_none_or(|expires| now < expires)
}

/// A panic under the lock is impossible short of memory running out; whatever it left is consistent.
#[inline]
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

#[inline]
fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

/// 64 MiB and 1,000,000 entries, as [`MemoryConfig`] by default.
impl Default for MemoryCache {
    fn default() -> Self {
        Self::from(&MemoryConfig::default())
    }
}

impl From<&MemoryConfig> for MemoryCache {
    fn from(config: &MemoryConfig) -> Self {
        Self::new(config.max_bytes, config.max_entries)
    }
}

/// Shows counts, no key and no value.
impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache")
            .field("entries", &self.len())
            .field("bytes", &self.bytes())
            .field("max_entries", &self.bounds.max_entries())
            .field("max_bytes", &self.bounds.max_bytes())
            .field("evictions", &self.evictions())
            .finish_non_exhaustive()
    }
}
