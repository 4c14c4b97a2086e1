//! The copies themselves, within their bounds.
//!
//! In here: the engine (`quick_cache`; for the reasons see `docs/decisions/0010-near-tier.md`) and the weight of an
//! entry. Not in here: when a copy may be stored and when it has to be removed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::{Ttl, Vouch};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::Found;
use super::marks::parts;

/// No limit, for a deadline or a TTL in microseconds.
pub(super) const FOREVER: u64 = u64::MAX;

/// What an entry takes in addition to its key and its value, in bytes: its slot, its place in the index, and what the
/// allocator adds. Measured by `cargo bench -p benches --bench near`, then rounded up.
const OVERHEAD: usize = 160;

/// What an evicted key takes in the engine's memory of such keys, in bytes.
const GHOST: u64 = 96;

/// How many evicted keys the engine remembers, as a part of the bound on entries. With them a key that comes back
/// stays in the store while a scan goes through.
const GHOSTS: f64 = 0.1;

/// The part of the room for values that were read more than once.
const HOT: f64 = 0.97;

/// The engine sizes itself by the number of entries, which the bound on bytes does not give. For that, an entry is
/// assumed to have at least this size.
const SMALL: u64 = 256;

/// With fewer entries, or bytes, than this, a shard is not worth its own lock.
const MIN_SHARD_ENTRIES: u64 = 512;
const MIN_SHARD_BYTES: u64 = 1024 * 1024;

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) max_bytes: u64,
    pub(crate) max_entries: u64,
}

/// A point in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) instant: Instant,
    /// By the near clock.
    pub(super) micros: u64,
}

/// An entry.
#[derive(Clone)]
pub(super) struct Kept<V> {
    pub(super) value: V,
    /// When it is no longer served, in microseconds of the near clock.
    pub(super) until: u64,
    /// When the far entry expires, by the same clock.
    pub(super) far_until: u64,
    /// Its weight.
    pub(super) bytes: u32,
    pub(super) tracked: bool,
    /// The remote cache's vouch, or the near cache's own.
    pub(super) vouch: Vouch,
    pub(super) is_vouched: bool,
}

impl<V> Kept<V> {
    /// Whether it may be served at `now`.
    #[inline]
    pub(super) fn is_good(&self, now: Moment) -> bool {
        now.micros < self.until && self.vouch.holds_at(now.instant)
    }

    /// Returns the value, and the remaining TTL of the far entry at `now`, which is before `until`.
    #[inline]
    pub(super) fn found(self, now: u64) -> Found<V> {
        let remaining = match self.far_until {
            FOREVER => Ttl::Forever,
            until => Ttl::After(Duration::from_micros(until.saturating_sub(now))),
        };
        Found {
            value: self.value,
            remaining,
            tracked: self.tracked,
            vouch: self.is_vouched.then_some(self.vouch),
        }
    }
}

/// The weight of an entry.
pub(super) fn weight(key_len: usize, value_len: usize) -> u32 {
    u32::try_from(OVERHEAD.saturating_add(key_len).saturating_add(value_len)).unwrap_or(u32::MAX)
}

/// The copies between two resets.
pub(super) struct Store<V> {
    number: u64,
    engine: Cache<Box<str>, Kept<V>, Weigh, DefaultHashBuilder, Evict>,
    bytes: AtomicU64,
    /// The weight of the heaviest entry that is accepted.
    heaviest: u64,
}

/// Gives entries a minimum weight, so that the bound on bytes is reached when the bound on entries is.
#[derive(Clone, Debug)]
struct Weigh {
    least: u64,
}

impl<V> Weighter<Box<str>, Kept<V>> for Weigh {
    fn weight(&self, _: &Box<str>, kept: &Kept<V>) -> u64 {
        u64::from(kept.bytes).max(self.least)
    }
}

/// Collects evicted entries, so that they are dropped without a lock held.
#[derive(Clone, Debug)]
struct Evict;

impl<V> Lifecycle<Box<str>, Kept<V>> for Evict {
    type RequestState = Evicted<V>;

    fn on_evict(&self, evicted: &mut Evicted<V>, key: Box<str>, kept: Kept<V>) {
        evicted.0.push((key, kept));
    }
}

/// Evicted entries.
struct Evicted<V>(Vec<(Box<str>, Kept<V>)>);

impl<V> Default for Evicted<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// The result of an insertion. Dropping it drops the evicted entries.
pub(super) struct Inserted<V> {
    stored: bool,
    evicted: Evicted<V>,
    #[expect(dead_code, reason = "it is here to be dropped")]
    replaced: Option<(Box<str>, Kept<V>)>,
}

impl<V> Inserted<V> {
    /// Whether there was room for it.
    pub(super) const fn stored(&self) -> bool {
        self.stored
    }

    /// How many entries were evicted for it.
    pub(super) fn evicted(&self) -> usize {
        self.evicted.0.len()
    }
}

impl<V: Clone> Store<V> {
    pub(super) fn new(bounds: Bounds, number: u64) -> Self {
        let Bounds {
            max_bytes,
            max_entries,
        } = bounds;
        let estimate = max_entries.min(max_bytes / SMALL).max(1);
        // The engine's memory of evicted keys has no weight, so its room is subtracted first.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an estimate, above 0"
        )]
        let ghosts = (estimate as f64 * GHOSTS) as u64 * GHOST;
        let room = max_bytes.saturating_sub(ghosts);
        let worth = (max_entries / MIN_SHARD_ENTRIES).min(max_bytes / MIN_SHARD_BYTES);
        let shards = usize::try_from(worth).unwrap_or(usize::MAX).clamp(1, parts());
        // Rounded down to a power of two. Each shard gets its part of the room, rounded down too.
        let shards = 1_usize << shards.ilog2();
        let parts = u64::try_from(shards).unwrap_or(1);
        let room = room / parts * parts;
        let options = OptionsBuilder::new()
            .estimated_items_capacity(usize::try_from(estimate).unwrap_or(usize::MAX))
            .weight_capacity(room)
            .shards(shards)
            .hot_allocation(HOT)
            .ghost_allocation(GHOSTS)
            .build();
        #[expect(
            clippy::expect_used,
            reason = "both capacities are given, nothing else can be wrong"
        )]
        let options = options.expect("both capacities are given");
        let least = room.div_ceil(max_entries.max(1));
        let engine = Cache::with_options(options, Weigh { least }, DefaultHashBuilder::default(), Evict);
        Self {
            number,
            heaviest: engine.shard_capacity() / 100 * 97,
            engine,
            bytes: AtomicU64::new(0),
        }
    }

    /// The number of this store, counted from 0 by resets.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether there is room for an entry of this weight.
    pub(super) fn takes(&self, weight: u32) -> bool {
        u64::from(weight) <= self.heaviest
    }

    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<Kept<V>> {
        self.engine.get(key)
    }

    /// Stores an entry in place of the key's older one.
    pub(super) fn insert(&self, key: &str, kept: Kept<V>) -> Inserted<V> {
        let replaced = self.remove(key);
        let mut evicted = Evicted::default();
        let stored = self.takes(kept.bytes);
        if stored {
            self.bytes.fetch_add(kept.bytes.into(), Ordering::Relaxed);
            self.engine.insert_with_lifecycle(key.into(), kept, &mut evicted);
            let gone = evicted.0.iter().map(|(_, kept)| u64::from(kept.bytes)).sum();
            self.bytes.fetch_sub(gone, Ordering::Relaxed);
        }
        Inserted {
            stored,
            evicted,
            replaced,
        }
    }

    /// Removes an entry and returns it. Drop it with no lock held.
    pub(super) fn remove(&self, key: &str) -> Option<(Box<str>, Kept<V>)> {
        self.note_removed(self.engine.remove(key))
    }

    /// Removes an entry if it may not be served at `now`.
    #[cold]
    pub(super) fn remove_bad(&self, key: &str, now: Moment) {
        drop(self.note_removed(self.engine.remove_if(key, |kept| !kept.is_good(now))));
    }

    fn note_removed(&self, removed: Option<(Box<str>, Kept<V>)>) -> Option<(Box<str>, Kept<V>)> {
        if let Some((_, kept)) = &removed {
            self.bytes.fetch_sub(kept.bytes.into(), Ordering::Relaxed);
        }
        removed
    }

    pub(super) fn len(&self) -> usize {
        self.engine.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Drops all entries.
    pub(super) fn clear(&self) {
        self.engine.clear();
    }
}
