//! A bounded store of what was read, near the caller, with the protocol that keeps it true.
//!
//! In here: [`Near`], generic over the value: the bytes of a layer, or a decoded value behind an `Arc`.
//! What one lock guards is in `marks.rs`, the store and its bounds in `store.rs`, who shares whose read in
//! `flight.rs`, how long what may be kept in `lives.rs`. Not in here: who reads, and from where.
//!
//! # The protocol
//!
//! A copy is true as long as every change of its key is heard of and takes it away. The danger is the
//! change that is reported between the reply and the moment at which the copy is stored. So:
//!
//! 1. **Mark.** [`begin`](Near::begin) (or [`board`](Near::board)) puts a mark for the key *before* the
//!    read is sent. It does so only in the [`Period`] in which the caller saw that changes are reported: a change from
//!    between two periods may be in no report.
//! 2. **Read**, by a call whose changes are reported.
//! 3. **Complete.** [`Mark::complete`] stores the copy only if that same mark is still there.
//!
//! [`remove`](Near::remove), called for every reported change and after every write of one's own, takes
//! both the mark and the copy away. Complete and remove run under the same lock of the key's shard, so one
//! comes first: a change either finds the copy and takes it, or has taken the mark and the copy is never
//! stored. Who comes after the change makes a mark of its own; nobody joins a read from before.
//!
//! A value that was read with a vouch is given only while that holds: it ends with the connection over which the value
//! was read, or when its slot moves. So the loss of a connection takes away what was read over it, and the rest stays.
//! Values without a vouch, and reads that are under way, are all given up then. While the lease of a vouch has ended (the
//! process was frozen, and nobody has looked at the connection since) the value is not given either.
//!
//! [`reset`](Near::reset) (everything changed, or nobody can say what did) puts an empty store in the place
//! of the old one: one pointer, whatever it held. A mark belongs to the store of its time. So a read from
//! before the reset has nowhere to put its copy, and the memory is given back on another thread.
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

/// More entries than this are not given back on the task that hears of changes.
const MANY: usize = 1_024;

/// The near store of one process, or of one layer in it.
pub(crate) struct Near<V: Clone + Send + Sync + 'static> {
    marks: Marks<V>,
    current: ArcSwap<Store<V>>,
    bounds: Bounds,
    /// What the deadlines of entries count from.
    epoch: Instant,
    counts: Counts,
    resets: AtomicU64,
    /// What copies without a vouch hang on.
    place: Place,
    /// The far tier vouches for each value.
    is_vouched: AtomicBool,
}

/// A value that was read, near or far.
#[derive(Clone)]
pub(crate) struct Found<V> {
    pub(crate) value: V,
    /// What is left of the far entry's life.
    pub(crate) remaining: Ttl,
    /// Whether every change of it will be heard of.
    pub(crate) tracked: bool,
    /// How long that holds, if the far tier says so for each value.
    pub(crate) vouch: Option<Vouch>,
}

/// What [`Mark::complete`] stores.
pub(crate) struct Keep<V> {
    /// The value and what the far tier said of it.
    pub(crate) found: Found<V>,
    /// What the value takes, in bytes. The key and the book-keeping are added.
    pub(crate) bytes: usize,
    /// How long it may be kept, from the mark on; the far life limits it further.
    pub(crate) life: Duration,
}

/// The time in which nothing was given up.
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

/// The sign that a key is being read. Dropping it without completing it takes it away.
#[must_use = "a mark that is dropped at once lets nothing be stored"]
pub(crate) struct Mark<V: Clone + Send + Sync + 'static> {
    near: Arc<Near<V>>,
    store: Arc<Store<V>>,
    key: Arc<str>,
    id: u64,
    begun: Instant,
    /// Holds until trust is lost in what is not vouched for.
    own: Vouch,
}

impl<V: Clone + Send + Sync + 'static> Near<V> {
    /// An empty store.
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

    /// The copy of `key`, if there is one that has not expired.
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

    /// Marks `key` as being read; to be called before the read is sent. An older mark of the key is taken away, and the
    /// read that it belongs to is not stored.
    ///
    /// `None` if `period` is over, and so nothing that is read now may be stored: the caller has asked in that period
    /// whether changes are reported ([`Lives::status`]), and since then they were not for a while.
    pub(crate) fn begin(self: &Arc<Self>, key: &str, period: Period) -> Option<Mark<V>> {
        self.begin_unless(key, period, |_, _| false)
    }

    /// As [`begin`](Self::begin); `None` as well if a recent read of `key` is under way, which will be stored.
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
        // Only now: it may hold another caller's read, which runs foreign code when it goes.
        drop(older);
        Some(mark)
    }

    /// The time between two resets that it is. Ask for it before you ask whether changes are reported, and give it to
    /// [`board`](Near::board) or [`begin`](Near::begin).
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

    /// Joins the read of `key` that is under way, or begins the one that `read` makes. Callers that come at once
    /// share one read.
    ///
    /// Where there was a reset since `period`, neither: the caller may have been told before it that changes
    /// are reported, and they are not.
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
        // A read that was completed since the caller looked took its mark away and stored its copy under
        // this lock, as one step.
        let now = self.moment(begun);
        if let Some(kept) = store.get(key).filter(|kept| kept.is_good(now)) {
            return Boarding::Hit(kept.found(now.micros));
        }
        let (mark, mut pending) = self.mark(store, key, begun);
        let key = Arc::clone(&mark.key);
        // Made under the lock and polled later.
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

    /// Takes the copy of `key` away, and its mark, so that no read that is under way is stored or joined.
    pub(crate) fn remove(&self, key: &str) {
        let mut marks = self.marks.lock(key);
        let mark = marks.remove(key);
        let copy = self.current.load().remove(key);
        drop(marks);
        // Only now: what a value does when it goes is not this lock's business.
        drop((mark, copy));
    }

    /// Takes everything away, and lets no read that is under way be stored or joined. Its cost does not
    /// hang on how much was kept.
    pub(crate) fn reset(&self) {
        let number = self.resets.fetch_add(1, Ordering::Relaxed) + 1;
        let old = self.current.swap(Arc::new(Store::new(self.bounds, number)));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if old.len() > MANY => {
                // Emptied rather than dropped: a read that is under way may hold the store itself.
                drop(runtime.spawn_blocking(move || old.clear()));
            }
            _ => old.clear(),
        }
    }

    /// Does what an event asks for.
    pub(crate) fn apply(&self, event: &Invalidation) {
        match event {
            Invalidation::Keys(keys) => {
                self.counts.add(Count::Invalidation, keys.len());
                keys.iter().for_each(|key| self.remove(key));
            }
            // Copies with a vouch know by themselves.
            Invalidation::ConnectionLost | Invalidation::Revoked => {
                self.place.revoke();
                if !self.is_vouched.load(Ordering::Relaxed) {
                    self.reset();
                }
            }
            // Also what is not known yet.
            _ => self.reset(),
        }
    }

    /// Whether an entry of this size can be kept at all.
    pub(crate) fn takes(&self, key: &str, value_len: usize) -> bool {
        self.current.load().takes(store::weight(key.len(), value_len))
    }

    /// How many entries are held, those that expired and were not met since among them.
    pub(crate) fn entries(&self) -> u64 {
        u64::try_from(self.current.load().len()).unwrap_or(u64::MAX)
    }

    /// How many bytes are held: keys, values and book-keeping.
    pub(crate) fn bytes(&self) -> u64 {
        self.current.load().bytes()
    }

    /// How often everything was taken away.
    pub(crate) fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// What happened how often. Whoever reads counts hits and misses; the rest is counted in here.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many reads are marked as under way.
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

    /// Stores a copy, if nothing took the mark away; whether it did. Nothing is stored either where the
    /// copy's life is over by now, or where it is too large to be kept.
    pub(crate) fn complete(mut self, keep: Keep<V>) -> bool {
        let now = clock::now();
        let Keep { found, bytes, life } = keep;
        let (begun, now) = (self.near.micros(self.begun), self.near.micros(now));
        let left = far_life(found.remaining);
        let kept = Kept {
            // The far tier's word is older than its reply, and no older than the mark.
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

    /// Whether an entry with such a value can be kept at all.
    pub(crate) fn takes(&self, value_len: usize) -> bool {
        self.near.takes(&self.key, value_len)
    }

    /// Ends the read: keeps what is to be kept, if anything.
    pub(crate) fn land(self, keep: Option<Keep<V>>) {
        match keep {
            Some(keep) => _ = self.complete(keep),
            None => drop(self),
        }
    }

    /// Takes it out of the table, if it is there: it may have been taken away.
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

/// What is left, in microseconds; [`store::FOREVER`] is no limit.
fn far_life(remaining: Ttl) -> u64 {
    match remaining {
        Ttl::After(left) if !left.is_zero() => micros(left),
        _ => store::FOREVER,
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
