//! Schedules faults and counts calls: the handle that a test keeps of a faulty client.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache_core::slot::slot_of;

use super::{Fault, Operation, RandomFaults};

/// The faults of one [`FaultyCache`](super::FaultyCache), which a test can script and inspect while the
/// client is in use. Clones share the same faults.
///
/// If several faults apply to a call, a scripted one comes first, then one of its key or slot, then a
/// permanent one, then a random one.
///
/// A call that would not reach the backend (an invalid argument, an empty list, a closed client) has no fault
/// and uses none up: [`calls`](Faults::calls) counts it, and [`next`](Faults::next) and [`nth`](Faults::nth)
/// skip it.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

/// The keys whose calls fail.
#[derive(Debug)]
struct TargetedFault {
    target: Target,
    operations: Vec<Operation>,
    fault: Fault,
}

#[derive(Debug)]
enum Target {
    Key(String),
    Slots(RangeInclusive<u16>),
}

impl Target {
    fn contains_key(&self, key: &str) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Slots(slots) => slots.contains(&slot_of(key.as_bytes())),
        }
    }
}

/// A fault to apply to a call.
#[derive(Debug)]
pub(super) struct InjectedFault {
    pub(super) fault: Fault,
    /// Which keys of a call with many keys fail; all if `None`.
    pub(super) keys: Option<Vec<bool>>,
}

#[derive(Debug, Default)]
struct State {
    /// By operation and by the number of the call among the calls of its operation that do I/O.
    script: HashMap<(Operation, u64), Fault>,
    /// The newest first.
    targeted: Vec<TargetedFault>,
    standing: HashMap<Operation, Fault>,
    random: Option<RandomFaults>,
    calls: HashMap<Operation, u64>,
    io_calls: HashMap<Operation, u64>,
    injected: HashMap<Operation, u64>,
}

impl Faults {
    /// Makes the next call of `operation` fail. Each further call of this method adds the fault of one more
    /// call: a queue.
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

    /// Makes the `number`th call of `operation` from now on fail; 1 is the next. Only calls that would reach
    /// the backend count.
    ///
    /// # Panics
    ///
    /// If `number` is 0.
    pub fn nth(&self, number: u64, operation: Operation, fault: Fault) {
        assert!(number > 0, "the next call is number 1");
        let mut state = self.state();
        let call = state.io_calls(operation) + number;
        state.script.insert((operation, call), fault);
    }

    /// Makes every call of these operations fail, until [`heal`](Faults::heal).
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

    /// Makes every call of these operations with this key fail, until [`heal`](Faults::heal).
    ///
    /// A call that reads many keys fails if it reads this one. A call that writes many writes the others, and
    /// then fails.
    pub fn on_key(&self, key: impl Into<String>, operations: &[Operation], fault: &Fault) {
        self.add_fault_at(Target::Key(key.into()), operations, fault);
    }

    /// Makes every call of these operations with a key in these slots fail, until [`heal`](Faults::heal), as
    /// if the primary of these slots were down. Calls without a key are not affected.
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
        self.add_fault_at(Target::Slots(slots), operations, fault);
    }

    fn add_fault_at(&self, target: Target, operations: &[Operation], fault: &Fault) {
        let targeted_fault = TargetedFault {
            target,
            operations: operations.to_vec(),
            fault: fault.clone(),
        };
        self.state().targeted.insert(0, targeted_fault);
    }

    /// Makes calls fail at random, until [`heal`](Faults::heal).
    pub fn at_random(&self, faults: RandomFaults) {
        self.state().random = Some(faults);
    }

    /// Ends all faults: permanent, scripted and random. A call that hangs keeps hanging.
    pub fn heal(&self) {
        let mut state = self.state();
        state.script.clear();
        state.targeted.clear();
        state.standing.clear();
        state.random = None;
    }

    /// How often `operation` was called, whether it failed or not.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.state().calls(operation)
    }

    /// How many calls there were in total.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.state().calls.values().sum()
    }

    /// How many calls of `operation` had a fault.
    #[must_use]
    pub fn injected(&self, operation: Operation) -> u64 {
        self.state().injected.get(&operation).copied().unwrap_or(0)
    }

    /// How many scripted faults are still waiting for their call. It is 0 once the whole script has run.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().script.len()
    }

    /// Counts a call with these keys, and returns its fault. A call without I/O has none.
    pub(super) fn of_call(
        &self,
        operation: Operation,
        keys: &[&str],
        does_io: bool,
    ) -> Option<InjectedFault> {
        let mut state = self.state();
        *state.calls.entry(operation).or_default() += 1;
        if !does_io {
            return None;
        }
        let calls = state.io_calls.entry(operation).or_default();
        *calls += 1;
        let call = *calls;
        let whole = |fault| InjectedFault { fault, keys: None };
        let scripted = state.script.remove(&(operation, call)).map(whole);
        let injected = scripted
            .or_else(|| state.fault_at(operation, keys))
            .or_else(|| state.standing.get(&operation).cloned().map(whole))
            .or_else(|| {
                let random = state.random.as_mut()?;
                random.draw(operation).map(whole)
            })?;
        *state.injected.entry(operation).or_default() += 1;
        Some(injected)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fault_at(&self, operation: Operation, keys: &[&str]) -> Option<InjectedFault> {
        let targeted_fault = self.targeted.iter().find(|targeted_fault| {
            targeted_fault.operations.contains(&operation)
                && keys.iter().any(|key| targeted_fault.target.contains_key(key))
        })?;
        let injected = keys.iter().map(|key| {
            let mut faults = self.targeted.iter();
            faults.any(|targeted_fault| {
                targeted_fault.operations.contains(&operation) && targeted_fault.target.contains_key(key)
            })
        });
        Some(InjectedFault {
            fault: targeted_fault.fault.clone(),
            keys: Some(injected.collect()),
        })
    }

    fn calls(&self, operation: Operation) -> u64 {
        self.calls.get(&operation).copied().unwrap_or(0)
    }

    fn io_calls(&self, operation: Operation) -> u64 {
        self.io_calls.get(&operation).copied().unwrap_or(0)
    }
}
