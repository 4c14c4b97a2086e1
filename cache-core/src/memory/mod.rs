//! The embedded client: the default if no server is configured, and a faithful fake in tests.
//!
//! In here: the type and its own methods. The contract is in `client.rs`, reading and changing an entry in
//! `access.rs`, listing and purging by pattern in `scan.rs`, the data behind one lock in `shard.rs`, eviction
//! in `sieve.rs`.

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

/// A cache in this process, which ends with it.
///
/// It answers like a server, down to the definition of an integer. It reports every change through
/// [`invalidations`](crate::CacheClient::invalidations): keys that were written, deleted, evicted, or found
/// expired, and flushes. It does no I/O, never waits, and has no background task.
///
/// # Bounds
///
/// After a write has returned, the cache never exceeds its limits. An entry counts for its key, its value and
/// 192 bytes of overhead. The cache has several shards, each with its own lock. If there is no room, expired
/// entries of the same shard go first. Then entries go that were not read since they were stored, or since
/// eviction last visited them (the SIEVE algorithm). An entry that would not fit even alone is
/// [`CacheError::InvalidInput`](crate::CacheError::InvalidInput), and the old value of its key is kept.
///
/// An entry keeps its slot, and a new entry takes the lowest free slot. When the highest slots become free,
/// their memory returns to the allocator; an empty shard returns all of it. Until then an entry in a high
/// slot keeps the overhead of the slots below it allocated (not their keys and values), and that is not
/// counted.
///
/// A value is stored as the [`Bytes`](crate::Bytes) that the caller passed: a small slice of a large buffer
/// keeps the whole buffer allocated but counts only for the slice. Copy such a slice before you store it.
///
/// # Expiry
///
/// Every caller stops seeing an entry at the instant it expires, by [`clock`](crate::clock). Its memory is
/// freed at a later write or failed read in the same shard, a few entries at a time.
/// [`len`](MemoryCache::len) and [`bytes`](MemoryCache::bytes) count it until then.
///
/// # Fairness
///
/// Every call uses the cooperative budget of its tokio task, so that a loop of hits does not starve other
/// tasks. Outside a tokio runtime there is no budget and calls are ready at once.
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
    /// The number is a power of two.
    shards: Box<[RwLock<Shard>]>,
    hasher: DefaultHashBuilder,
    bounds: Bounds,
    evictions: AtomicU64,
    closed: AtomicBool,
    changes: Arc<Changes>,
}

/// A shard with fewer entries or bytes than this is not worth its own lock.
const MIN_SHARD_ENTRIES: u64 = 512;
const MIN_SHARD_BYTES: u64 = 256 * 1024;

/// The range of [`MemoryCache::number_of`], and of the shard number in a cursor.
const MAX_SHARDS: usize = 1 << 16;

impl MemoryCache {
    /// A cache of at most `max_bytes` bytes and `max_entries` entries, see [Bounds](MemoryCache#bounds). If a
    /// single entry does not fit, every write fails.
    #[must_use]
    pub fn new(max_bytes: u64, max_entries: u64) -> Self {
        // Few enough that a small cache evicts as one, enough that cores seldom contend.
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

    /// The number of entries, see [Expiry](MemoryCache#expiry).
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bounds.entries()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of keys, values and overhead.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bounds.bytes()
    }

    /// The number of entries evicted since the cache was created.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Empties the cache, and returns how many entries it held.
    pub fn clear(&self) -> u64 {
        let removed = self.drop_everything();
        if self.changes.is_heard() {
            self.changes.announce(&Invalidation::Everything);
        }
        removed
    }
}

/// 64 MiB and 1,000,000 entries, the defaults of [`MemoryConfig`].
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
