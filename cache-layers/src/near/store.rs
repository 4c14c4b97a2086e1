//! The copies themselves, within their bounds.
//!
//! In here: the engine (`quick_cache`; why, is in `docs/decisions/0010-near-tier.md`) and what an entry
//! counts for. Not in here: when a copy may be stored and when it has to go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::{Ttl, Vouch};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::Found;
use super::marks::parts;

/// No limit, where a deadline or a life is a number of microseconds.
pub(super) const FOREVER: u64 = u64::MAX;

/// What an entry takes besides its key and its value, in bytes: its slot, its place in the index, and
/// what the allocator adds. Measured by `cargo bench -p benches --bench near`, then rounded up.
const OVERHEAD: usize = 160;

/// What a key that is gone takes in the engine's memory of them, in bytes.
const GHOST: u64 = 96;

/// How many keys that are gone the engine knows, as a part of the entries that there may be. It is what
/// lets a key that comes back stay, when a scan goes through.
const GHOSTS: f64 = 0.1;

/// How much of the room is for what was read more than once.
const HOT: f64 = 0.97;

/// The bound on entries tells how many there may be, the bound on bytes cannot: for the engine's sizing
/// an entry is taken for no smaller than this.
const SMALL: u64 = 256;

/// Fewer entries, or bytes, than this in a shard are not worth a lock of their own.
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
    /// When it is no longer given, in microseconds of the near clock.
    pub(super) until: u64,
    /// When the far entry expires, likewise.
    pub(super) far_until: u64,
    /// What it counts for.
    pub(super) bytes: u32,
    pub(super) tracked: bool,
    /// The far tier's, or the near tier's own.
    pub(super) vouch: Vouch,
    pub(super) is_vouched: bool,
}

impl<V> Kept<V> {
    /// Whether it can be given at `now`.
    #[inline]
    pub(super) fn is_good(&self, now: Moment) -> bool {
        now.micros < self.until && self.vouch.holds_at(now.instant)
    }

    /// The value, and what is left of the far life at `now`, which is before `until`.
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

/// What an entry counts for.
pub(super) fn weight(key_len: usize, value_len: usize) -> u32 {
    u32::try_from(OVERHEAD.saturating_add(key_len).saturating_add(value_len)).unwrap_or(u32::MAX)
}

/// The copies between two resets.
pub(super) struct Store<V> {
    number: u64,
    engine: Cache<Box<str>, Kept<V>, Weigh, DefaultHashBuilder, Evict>,
    bytes: AtomicU64,
    /// The heaviest entry that is taken.
    heaviest: u64,
}

/// An entry weighs at least as much as makes the bound on bytes reached when that on entries is.
#[derive(Clone, Debug)]
struct Weigh {
    least: u64,
}

impl<V> Weighter<Box<str>, Kept<V>> for Weigh {
    fn weight(&self, _: &Box<str>, kept: &Kept<V>) -> u64 {
        u64::from(kept.bytes).max(self.least)
    }
}

/// Collects what has to go, so that it goes without a lock held.
#[derive(Clone, Debug)]
struct Evict;

impl<V> Lifecycle<Box<str>, Kept<V>> for Evict {
    type RequestState = Evicted<V>;

    fn on_evict(&self, evicted: &mut Evicted<V>, key: Box<str>, kept: Kept<V>) {
        evicted.0.push((key, kept));
    }
}

/// What had to go.
struct Evicted<V>(Vec<(Box<str>, Kept<V>)>);

impl<V> Default for Evicted<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// What an insertion did; dropping it drops what went.
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

    /// How many entries had to go for it.
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
        // What the engine remembers of keys that are gone is not weighed: its room is taken off first.
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
        // Rounded down to a power of two; each takes its part of the room, rounded down too.
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

    /// Which store it is, counted from 0 by resets.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether there is room for an entry that weighs so much.
    pub(super) fn takes(&self, weight: u32) -> bool {
        u64::from(weight) <= self.heaviest
    }

    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<Kept<V>> {
        self.engine.get(key)
    }

    /// Stores an entry in the place of the key's older one.
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

    /// Takes an entry out; it is to be dropped with no lock held.
    pub(super) fn remove(&self, key: &str) -> Option<(Box<str>, Kept<V>)> {
        self.note_removed(self.engine.remove(key))
    }

    /// Takes an entry out that cannot be given at `now`.
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
