//! A bounded store of values near the caller, with the protocol that invalidates them.
//!
//! In here: [`Near`], generic over the value: the bytes of a layer, or a decoded value behind an `Arc`. The data
//! under one lock is in `marks.rs`, the store and its bounds in `store.rs`, shared reads in `flight.rs`, TTLs in
//! `lives.rs`. Not in here: who reads, and from where.
//!
//! # The protocol
//!
//! A copy is current as long as every change of its key is reported and removes it. The danger is a change that is
//! reported between the reply and the moment at which the copy is stored. So:
//!
//! 1. **Mark.** [`begin`](Near::begin) (or [`board`](Near::board)) marks the key *before* the read is sent. It does
//!    so only in the [`Period`] in which the caller saw that changes are reported: a change between two periods may
//!    be in no report.
//! 2. **Read**, by a call whose changes are reported.
//! 3. **Complete.** [`Mark::complete`] stores the copy only if that same mark is still there.
//!
//! [`remove`](Near::remove) removes both the mark and the copy. It is called for every reported change, and after
//! every own write. Complete and remove run under the same lock of the key's shard, so one comes first. Either the
//! change finds the copy and removes it, or it has removed the mark and the copy is never stored. A caller that comes
//! after the change makes a new mark, and joins no earlier read.
//!
//! A value that was read with a vouch is served only while the vouch holds. It ends with the connection over which
//! the value was read, or when its slot moves. So the loss of a connection removes what was read over it, and the
//! rest stays. Values without a vouch, and reads in progress, are all given up then. The value is also not served
//! while the lease of its vouch has ended: the process was frozen, and the connection has not been checked since.
//!
//! [`reset`](Near::reset) (everything changed, or the changes are not known) replaces the store by an empty one. That
//! swaps one pointer, independent of the size of the store. A mark belongs to the store of its time. So a read from
//! before the reset cannot store its copy. Another thread frees the memory.
//!
//! Reads of the store take none of these locks.

mod above;
mod config;
mod counts;
mod flight;
mod lives;
mod marks;
mod stats;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use cache_core::clock::{self, Instant};
use cache_core::{Invalidation, Place, Ttl, Vouch};

pub use self::config::{NearConfig, NearConfigBuilder};
pub use self::lives::NearStatus;
pub use self::stats::NearStats;

pub(crate) use self::above::{is_kept_above, kept_above};
pub(crate) use self::counts::{Count, Counts};
pub(crate) use self::flight::{Boarding, FarRead};
pub(crate) use self::lives::Lives;
pub(crate) use self::stats::NearSource;
pub(crate) use self::store::Bounds;

use self::flight::{Joinable, Read};
use self::marks::{GONE, Marks, Pending, Table};
use self::store::{Kept, Moment, Store};

/// More entries than this are not freed on the task that receives reports.
const MANY: usize = 1_024;

/// The near store of one process, or of one layer in it.
pub(crate) struct Near<V: Clone + Send + Sync + 'static> {
    marks: Marks<V>,
    current: ArcSwap<Store<V>>,
    bounds: Bounds,
    /// The start of the near clock, from which the deadlines of entries count.
    epoch: Instant,
    counts: Counts,
    resets: AtomicU64,
    /// The scope of copies without a vouch.
    place: Place,
    /// Whether the remote cache vouches for each value.
    is_vouched: AtomicBool,
}

/// A value that was read, near or far.
#[derive(Clone)]
pub(crate) struct Found<V> {
    pub(crate) value: V,
    /// The remaining TTL of the far entry.
    pub(crate) remaining: Ttl,
    /// Whether every change of it will be reported.
    pub(crate) tracked: bool,
    /// How long that holds, if the remote cache vouches for each value.
    pub(crate) vouch: Option<Vouch>,
}

/// What [`Mark::complete`] stores.
pub(crate) struct Keep<V> {
    /// The value and what the remote cache reported with it.
    pub(crate) found: Found<V>,
    /// The size of the value in bytes. The key and the bookkeeping are added.
    pub(crate) bytes: usize,
    /// How long it may be kept, counted from the mark. The far TTL limits it further.
    pub(crate) life: Duration,
}

/// A time in which nothing was given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    store: u64,
    own: Vouch,
}

impl Period {
    /// Whether it is still going on, with this store.
    fn is_of<V: Clone>(self, store: &Store<V>) -> bool {
        self.store == store.number() && self.own.holds()
    }
}

/// The mark of a key that is being read. Dropping it without completing it removes the mark.
#[must_use = "a mark that is dropped at once lets nothing be stored"]
pub(crate) struct Mark<V: Clone + Send + Sync + 'static> {
    near: Arc<Near<V>>,
    store: Arc<Store<V>>,
    key: Arc<str>,
    id: u64,
    begun: Instant,
    /// Valid until values without a vouch are given up.
    own: Vouch,
}

impl<V: Clone + Send + Sync + 'static> Near<V> {
    /// Creates an empty store.
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            marks: Marks::new(),
            current: ArcSwap::from_pointee(Store::new(bounds, 0)),
            bounds,
            epoch: clock::now(),
            counts: Counts::default(),
            resets: AtomicU64::new(0),
            place: Place::new(),
            is_vouched: AtomicBool::new(false),
        })
    }

    /// Returns the copy of `key`, if there is one that has not expired.
    #[inline]
    pub(crate) fn look(&self, key: &str) -> Option<Found<V>> {
        let store = self.current.load();
        let kept = store.get(key)?;
        let now = self.moment(clock::now());
        if !kept.is_good(now) {
            store.remove_bad(key, now);
            return None;
        }
        Some(kept.found(now.micros))
    }

    /// Marks `key` as being read. Call it before the read is sent. An older mark of the key is removed, and its read
    /// is not stored.
    ///
    /// Returns `None` if `period` is over, so that a value read now may not be stored. The caller asked in that
    /// period whether changes are reported ([`Lives::status`]), and since then they were not for a while.
    pub(crate) fn begin(self: &Arc<Self>, key: &str, period: Period) -> Option<Mark<V>> {
        self.begin_unless(key, period, |_, _| false)
    }

    /// As [`begin`](Self::begin). Also returns `None` if a recent read of `key` is in progress, which will be stored.
    pub(crate) fn begin_unless_begun(self: &Arc<Self>, key: &str, period: Period) -> Option<Mark<V>> {
        self.begin_unless(key, period, |pending, now| {
            pending.is_of(period.store) && pending.is_recent(now)
        })
    }

    fn begin_unless(
        self: &Arc<Self>,
        key: &str,
        period: Period,
        is_begun: impl FnOnce(&Pending<V>, Instant) -> bool,
    ) -> Option<Mark<V>> {
        let begun = clock::now();
        let mut marks = self.marks.lock(key);
        let store = self.current.load_full();
        if !period.is_of(&store) || marks.get(key).is_some_and(|pending| is_begun(pending, begun)) {
            return None;
        }
        let (mark, pending) = self.mark(store, key, begun);
        let older = marks.insert(Arc::clone(&mark.key), pending);
        drop(marks);
        // Dropped only now: it may hold another caller's read, whose drop runs foreign code.
        drop(older);
        Some(mark)
    }

    /// Returns the current period between two resets. Call it before you ask whether changes are reported, and pass
    /// it to [`board`](Near::board) or [`begin`](Near::begin).
    pub(crate) fn period(&self) -> Period {
        let own = self.own();
        Period {
            store: self.current.load().number(),
            own,
        }
    }

    fn own(&self) -> Vouch {
        Vouch::by(self.place, self.place)
    }

    /// Joins the read of `key` in progress, or begins the one that `read` makes. Callers that come at once share one
    /// read.
    ///
    /// After a reset since `period` it does neither: before the reset the caller may have been told that changes are
    /// reported, and now they are not.
    pub(crate) fn board(
        self: &Arc<Self>,
        key: &str,
        period: Period,
        read: impl FnOnce(Mark<V>) -> FarRead<V>,
    ) -> Boarding<V> {
        let begun = clock::now();
        let mut marks = self.marks.lock(key);
        let store = self.current.load_full();
        if !period.is_of(&store) {
            return Boarding::Late;
        }
        let is_joinable = |pending: &&Pending<V>| pending.is_of(store.number()) && pending.is_recent(begun);
        let pending = marks.get(key).filter(is_joinable);
        let joinable = pending.and_then(|pending| pending.joinable.as_ref());
        if let Some(read) = joinable.and_then(Joinable::join) {
            return Boarding::Joined(read);
        }
        // A read that was completed since the caller looked removed its mark and stored its copy under this lock, as
        // one step.
        let now = self.moment(begun);
        if let Some(kept) = store.get(key).filter(|kept| kept.is_good(now)) {
            return Boarding::Hit(kept.found(now.micros));
        }
        let (mark, mut pending) = self.mark(store, key, begun);
        let key = Arc::clone(&mark.key);
        // Created under the lock and polled later.
        let read = Read::new(read(mark));
        pending.joinable = Some(read.joinable());
        let older = marks.insert(key, pending);
        drop(marks);
        drop(older);
        Boarding::Led(read)
    }

    fn mark(self: &Arc<Self>, store: Arc<Store<V>>, key: &str, begun: Instant) -> (Mark<V>, Pending<V>) {
        let (id, own) = (self.marks.next_id(), self.own());
        let pending = Pending {
            id,
            store: store.number(),
            own,
            begun,
            joinable: None,
        };
        let mark = Mark {
            near: Arc::clone(self),
            store,
            key: key.into(),
            id,
            begun,
            own,
        };
        (mark, pending)
    }

    /// Removes the copy of `key`, and its mark, so that no read in progress is stored or joined.
    pub(crate) fn remove(&self, key: &str) {
        let mut marks = self.marks.lock(key);
        let mark = marks.remove(key);
        let copy = self.current.load().remove(key);
        drop(marks);
        // Dropped only now: dropping a value runs foreign code, which must not run under this lock.
        drop((mark, copy));
    }

    /// Removes everything, and lets no read in progress be stored or joined. Its cost does not depend on how much was
    /// kept.
    pub(crate) fn reset(&self) {
        let number = self.resets.fetch_add(1, Ordering::Relaxed) + 1;
        let old = self.current.swap(Arc::new(Store::new(self.bounds, number)));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if old.len() > MANY => {
                // Emptied rather than dropped, because a read in progress may hold the store itself.
                drop(runtime.spawn_blocking(move || old.clear()));
            }
            _ => old.clear(),
        }
    }

    /// Applies an event.
    pub(crate) fn apply(&self, event: &Invalidation) {
        match event {
            Invalidation::Keys(keys) => {
                self.counts.add(Count::Invalidation, keys.len());
                keys.iter().for_each(|key| self.remove(key));
            }
            // Copies with a vouch find out by themselves.
            Invalidation::ConnectionLost | Invalidation::Revoked => {
                self.place.revoke();
                if !self.is_vouched.load(Ordering::Relaxed) {
                    self.reset();
                }
            }
            // Also for events that are not known yet.
            _ => self.reset(),
        }
    }

    /// Whether an entry of this size can be kept at all.
    pub(crate) fn takes(&self, key: &str, value_len: usize) -> bool {
        self.current.load().takes(store::weight(key.len(), value_len))
    }

    /// How many entries are stored, including expired ones that were not requested since.
    pub(crate) fn entries(&self) -> u64 {
        u64::try_from(self.current.load().len()).unwrap_or(u64::MAX)
    }

    /// How many bytes are stored: keys, values and bookkeeping.
    pub(crate) fn bytes(&self) -> u64 {
        self.current.load().bytes()
    }

    /// How often everything was removed.
    pub(crate) fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// The counters. Callers count hits and misses, and this module counts the rest.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many reads are marked as in progress.
    #[cfg(test)]
    pub(crate) fn marks(&self) -> usize {
        self.marks.len()
    }

    fn moment(&self, at: Instant) -> Moment {
        Moment {
            instant: at,
            micros: self.micros(at),
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        micros(at.duration_since(self.epoch))
    }
}

impl<V: Clone + Send + Sync + 'static> Mark<V> {
    /// The key that is being read.
    pub(crate) fn key(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }

    /// Stores a copy, if nothing has removed the mark. Returns whether it did. Nothing is stored either if the copy
    /// has expired by now, or is too large.
    pub(crate) fn complete(mut self, keep: Keep<V>) -> bool {
        let now = clock::now();
        let Keep { found, bytes, life } = keep;
        let (begun, now) = (self.near.micros(self.begun), self.near.micros(now));
        let left = far_life(found.remaining);
        let kept = Kept {
            // The remote cache's TTL is older than its reply, and no older than the mark.
            until: begun.saturating_add(micros(life).min(left)),
            far_until: now.saturating_add(left),
            bytes: store::weight(self.key.len(), bytes),
            tracked: found.tracked,
            vouch: found.vouch.unwrap_or(self.own),
            is_vouched: found.vouch.is_some(),
            value: found.value,
        };
        if kept.is_vouched && !self.near.is_vouched.load(Ordering::Relaxed) {
            self.near.is_vouched.store(true, Ordering::Relaxed);
        }
        let vouched = kept.vouch.holds();
        let alive = kept.until > now && vouched;
        let mut marks = self.near.marks.lock(&self.key);
        let mark = self.take(&mut marks);
        let is_it = mark.is_some();
        let of_now = self.near.current.load().number() == self.store.number();
        let gone = if is_it && of_now && alive {
            Some(self.store.insert(&self.key, kept))
        } else {
            None
        };
        drop(marks);
        drop(mark);
        self.id = GONE;
        if !(is_it && of_now && vouched) {
            self.near.counts.add(Count::Poisoned, 1);
        }
        let Some(gone) = gone else { return false };
        self.near.counts.add(Count::Eviction, gone.evicted());
        gone.stored()
    }

    /// Whether an entry with a value of this length can be kept at all.
    pub(crate) fn takes(&self, value_len: usize) -> bool {
        self.near.takes(&self.key, value_len)
    }

    /// Ends the read, and keeps what is to be kept, if anything.
    pub(crate) fn land(self, keep: Option<Keep<V>>) {
        match keep {
            Some(keep) => _ = self.complete(keep),
            None => drop(self),
        }
    }

    /// Removes the mark from the table, if it is there. It may have been removed.
    fn take(&self, marks: &mut Table<V>) -> Option<Pending<V>> {
        let is_it = marks.get(&*self.key)?.id == self.id;
        if is_it { marks.remove(&*self.key) } else { None }
    }
}

impl<V: Clone + Send + Sync + 'static> Drop for Mark<V> {
    fn drop(&mut self) {
        if self.id != GONE {
            let mut marks = self.near.marks.lock(&self.key);
            let mark = self.take(&mut marks);
            drop(marks);
            drop(mark);
        }
    }
}

/// Shows counts, no key and no value.
impl<V: Clone + Send + Sync + 'static> fmt::Debug for Near<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Near")
            .field("entries", &self.entries())
            .field("bytes", &self.bytes())
            .field("bounds", &self.bounds)
            .field("resets", &self.resets())
            .finish_non_exhaustive()
    }
}

/// Shows no value.
impl<V> fmt::Debug for Found<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("remaining", &self.remaining)
            .field("tracked", &self.tracked)
            .finish_non_exhaustive()
    }
}

/// Shows no key.
impl<V: Clone + Send + Sync + 'static> fmt::Debug for Mark<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mark")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The remaining TTL in microseconds. [`store::FOREVER`] means no limit.
fn far_life(remaining: Ttl) -> u64 {
    match remaining {
        Ttl::After(left) if !left.is_zero() => micros(left),
        _ => store::FOREVER,
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
