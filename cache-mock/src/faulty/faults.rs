//! When which call goes wrong, and what was called: the handle that a test keeps of a faulty client.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache_core::slot::slot_of;

use super::{Fault, Operation, RandomFaults};

/// The faults of one [`FaultyCache`](super::FaultyCache), to be scripted and looked at while the client is
/// in use. A clone is the same faults.
///
/// Of several faults that a call might have, the scripted one comes first, then that of its key or slot, then a
/// standing one, then chance.
///
/// A call that would not reach the backend (an illegal argument, an empty list, a closed client) has no
/// fault and uses none up: it is counted by [`calls`](Faults::calls), and passed over by
/// [`next`](Faults::next) and [`nth`](Faults::nth).
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

/// A part of the keys whose calls go wrong.
#[derive(Debug)]
struct Broken {
    place: Place,
    operations: Vec<Operation>,
    fault: Fault,
}

#[derive(Debug)]
enum Place {
    Key(String),
    Slots(RangeInclusive<u16>),
}

impl Place {
    fn holds(&self, key: &str) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Slots(slots) => slots.contains(&slot_of(key.as_bytes())),
        }
    }
}

/// What goes wrong with a call.
#[derive(Debug)]
pub(super) struct Struck {
    pub(super) fault: Fault,
    /// Which keys of a call with many go wrong, if not all of them.
    pub(super) keys: Option<Vec<bool>>,
}

#[derive(Debug, Default)]
struct State {
    /// By operation and by the number of the call among those of its operation that do I/O.
    script: HashMap<(Operation, u64), Fault>,
    /// The newest first.
    places: Vec<Broken>,
    standing: HashMap<Operation, Fault>,
    random: Option<RandomFaults>,
    calls: HashMap<Operation, u64>,
    io_calls: HashMap<Operation, u64>,
    injected: HashMap<Operation, u64>,
}

impl Faults {
    /// The next call of `operation` goes wrong. Said again, the one after it does: a queue.
    ///
    /// ```
    /// # use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
    /// # use cache_mock::{Fault, FaultyCache, Operation};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let cache = FaultyCache::new(MemoryCache::default());
    /// cache.faults().next(Operation::Set, Fault::connection_lost());
    ///
    /// assert!(cache.set("key", "value".into(), Ttl::Forever).await.unwrap_err().is_transient());
    /// assert!(cache.set("key", "value".into(), Ttl::Forever).await.is_ok());
    /// # });
    /// ```
    pub fn next(&self, operation: Operation, fault: Fault) {
        let mut state = self.state();
        let mut call = state.io_calls(operation) + 1;
        while state.script.contains_key(&(operation, call)) {
            call += 1;
        }
        state.script.insert((operation, call), fault);
    }

    /// The `number`th call of `operation` from now on goes wrong; 1 is the next. Only those that would
    /// reach the backend count.
    ///
    /// # Panics
    ///
    /// Where `number` is 0: that call has been made.
    pub fn nth(&self, number: u64, operation: Operation, fault: Fault) {
        assert!(number > 0, "the next call is number 1");
        let mut state = self.state();
        let call = state.io_calls(operation) + number;
        state.script.insert((operation, call), fault);
    }

    /// Every call of these operations goes wrong from now on, until [`heal`](Faults::heal).
    ///
    /// ```
    /// # use cache_core::{CacheClient, CacheError, MemoryCache};
    /// # use cache_mock::{Fault, FaultyCache, Operation};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let cache = FaultyCache::new(MemoryCache::default());
    /// let faults = cache.faults().clone();
    ///
    /// faults.always(Operation::ALL, &Fault::connection_lost());
    /// assert!(cache.ping().await.is_err());
    ///
    /// faults.heal();
    /// assert!(cache.ping().await.is_ok());
    /// # });
    /// ```
    pub fn always(&self, operations: &[Operation], fault: &Fault) {
        let mut state = self.state();
        for operation in operations {
            state.standing.insert(*operation, fault.clone());
        }
    }

    /// Every call of these operations with this key goes wrong from now on, until [`heal`](Faults::heal).
    ///
    /// A call that reads many keys fails if it reads this one. A call that writes many writes the others, and
    /// then fails.
    pub fn on_key(&self, key: impl Into<String>, operations: &[Operation], fault: &Fault) {
        self.break_place(Place::Key(key.into()), operations, fault);
    }

    /// Every call of these operations with a key in one of these slots goes wrong from now on, until
    /// [`heal`](Faults::heal): as if the primary of these slots were gone. Calls without a key are not touched.
    ///
    /// A call that reads many keys fails if one of them is in these slots. A call that writes many writes the
    /// others, and then fails.
    ///
    /// ```
    /// # use cache_core::slot::slot_of;
    /// # use cache_core::{CacheClient, MemoryCache, Ttl};
    /// # use cache_mock::{Fault, FaultyCache, Operation};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let cache = FaultyCache::new(MemoryCache::default());
    /// // The first of three primaries.
    /// cache.faults().on_slots(0..=5_460, Operation::ALL, &Fault::connection_lost());
    ///
    /// assert_eq!((slot_of(b"bar"), slot_of(b"foo")), (5_061, 12_182));
    /// assert!(cache.set("bar", "value".into(), Ttl::Forever).await.is_err());
    /// assert!(cache.set("foo", "value".into(), Ttl::Forever).await.is_ok());
    /// # });
    /// ```
    pub fn on_slots(&self, slots: RangeInclusive<u16>, operations: &[Operation], fault: &Fault) {
        self.break_place(Place::Slots(slots), operations, fault);
    }

    fn break_place(&self, place: Place, operations: &[Operation], fault: &Fault) {
        let broken = Broken {
            place,
            operations: operations.to_vec(),
            fault: fault.clone(),
        };
        self.state().places.insert(0, broken);
    }

    /// Calls go wrong by chance from now on, until [`heal`](Faults::heal).
    pub fn at_random(&self, faults: RandomFaults) {
        self.state().random = Some(faults);
    }

    /// From now on nothing goes wrong: ends what stands, what is scripted and what is random. A call that
    /// hangs stays as it is.
    pub fn heal(&self) {
        let mut state = self.state();
        state.script.clear();
        state.places.clear();
        state.standing.clear();
        state.random = None;
    }

    /// How often `operation` was called, whether it went wrong or not.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.state().calls(operation)
    }

    /// How often anything was called.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.state().calls.values().sum()
    }

    /// How many calls of `operation` a fault was done to.
    #[must_use]
    pub fn injected(&self, operation: Operation) -> u64 {
        self.state().injected.get(&operation).copied().unwrap_or(0)
    }

    /// How many scripted faults wait for their call. A test whose script ran ends with 0.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().script.len()
    }

    /// Counts a call with these keys, and says what is to go wrong with it. One that does no I/O is never wrong.
    pub(super) fn of_call(&self, operation: Operation, keys: &[&str], does_io: bool) -> Option<Struck> {
        let mut state = self.state();
        *state.calls.entry(operation).or_default() += 1;
        if !does_io {
            return None;
        }
        let calls = state.io_calls.entry(operation).or_default();
        *calls += 1;
        let call = *calls;
        let whole = |fault| Struck { fault, keys: None };
        let scripted = state.script.remove(&(operation, call)).map(whole);
        let struck = scripted
            .or_else(|| state.at_place(operation, keys))
            .or_else(|| state.standing.get(&operation).cloned().map(whole))
            .or_else(|| {
                let random = state.random.as_mut()?;
                random.draw(operation).map(whole)
            })?;
        *state.injected.entry(operation).or_default() += 1;
        Some(struck)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn at_place(&self, operation: Operation, keys: &[&str]) -> Option<Struck> {
        let broken = self.places.iter().find(|broken| {
            broken.operations.contains(&operation) && keys.iter().any(|key| broken.place.holds(key))
        })?;
        let struck = keys.iter().map(|key| {
            let mut places = self.places.iter();
            places.any(|broken| broken.operations.contains(&operation) && broken.place.holds(key))
        });
        Some(Struck {
            fault: broken.fault.clone(),
            keys: Some(struck.collect()),
        })
    }

    fn calls(&self, operation: Operation) -> u64 {
        self.calls.get(&operation).copied().unwrap_or(0)
    }

    fn io_calls(&self, operation: Operation) -> u64 {
        self.io_calls.get(&operation).copied().unwrap_or(0)
    }
}
