//! The embedded client: the default where no server is configured, and a true fake in tests.
//!
//! In here: the cache as its owner sees it. How it keeps the contract is in `client.rs`, how an entry is
//! read and changed in `access.rs`, listing and purging by pattern in `scan.rs`, what one lock guards in
//! `shard.rs`, who has to go in `sieve.rs`.

mod access;
mod bounds;
mod changes;
mod client;
mod scan;
mod shard;
mod sieve;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use hashbrown::DefaultHashBuilder;

pub use self::scan::ScanPage;

use self::bounds::Bounds;
use self::changes::Changes;
use self::shard::Shard;
use crate::Invalidation;
use crate::config::MemoryConfig;

/// A cache in this process, gone with it.
///
/// It answers as a server does, down to what counts as an integer, and it reports every change through
/// [`invalidations`](crate::CacheClient::invalidations): keys that were written, deleted, evicted, or
/// found expired, and flushes. Nothing in it does I/O, waits, or runs in the background.
///
/// # Bounds
///
/// It never holds more than its bounds once a write has answered. An entry counts for its key, its value
/// and 192 bytes of book-keeping. When there is no room, expired entries go first (those in the same one
/// of the cache's parts, each with a lock of its own), then those that were not read since they came or
/// since the eviction last looked at them (the SIEVE algorithm). An entry
/// that would not fit even alone is [`CacheError::InvalidInput`](crate::CacheError::InvalidInput), and what its key holds stays.
///
/// An entry keeps its place in the book-keeping, and a new one takes the lowest place that is free. As the
/// highest places fall free their memory goes back to the allocator, all of it where a part of the cache is
/// empty. Until then an entry that stays in a high place keeps the book-keeping of the places below it
/// (not their keys and values), which is not counted.
///
/// A value is kept as the [`Bytes`](crate::Bytes) that were given: a small slice of a large buffer keeps the whole
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

/// One short line: counts, no key and no value.
impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryCache({} entries, {} bytes)", self.len(), self.bytes())
    }
}
