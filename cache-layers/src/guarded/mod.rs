//! A guard around a client: a deadline for each call, and a circuit breaker that answers at once while the backend is
//! down.
//!
//! In here: [`Guarded`] and what it promises. How it answers each method is in `contract.rs`. The circuit breaker,
//! which does not know about calls, is in `breaker.rs`. Not in here: retries. The client inside retries, and this
//! layer's deadline includes all its tries.

mod breaker;
mod bypassed;
mod config;
mod contract;
mod deadline;
mod each;
mod events;
mod parts;
mod running;
mod several;
mod window;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError, check_key};

pub use config::{GuardedConfig, GuardedConfigBuilder, OnFailure};
pub use events::{BreakerState, GuardStats, StateChange};

use breaker::{Breaker, Ticket, Told};
use bypassed::Bypassed;
use deadline::Deadline;
use events::{Count, Counters};
use parts::Parts;
use running::{Running, is_failure};
use several::Groups;

/// A deadline for the whole call, a circuit breaker, and a choice of what callers get while the backend is
/// unavailable.
///
/// # The deadline
///
/// [`deadline`](GuardedConfigBuilder::deadline) includes everything that the client does for a call: waiting for a
/// connection, retries, redirections. A call that it ends fails with [`CacheError::Timeout`] and
/// [`Stage::Call`](cache_core::Stage::Call). A write that it ends may have been carried out, and the error's
/// [`outcome`](CacheError::outcome) says so. It does not end [`close`](CacheClient::close).
///
/// One deadline covers a whole request. A read-through or another recipe that makes several calls in a row for one
/// caller announces when the first one began ([`cache_core::deadline::counted_from`]), and the deadline counts from
/// there. If nothing is left for a call, it fails at once with [`Stage::Connect`](cache_core::Stage::Connect),
/// because it was not begun. If less than half was left and the call ran out of time, it counts like a call that its
/// caller dropped.
///
/// `get_each`, `get_entries` and `set_each` have to answer in time with the results that they have. The guard passes
/// its deadline, less 25 ms or a tenth of it, to the client below ([`cache_core::deadline`]). So keys that have an
/// answer do not fail with the others.
///
/// # The circuit breaker
///
/// ```text
///            too many calls fail, or are slow
///   Closed ------------------------------------> Open  <--+
///     ^                                           |       |
///     |                          after `open_for` |       | a probe fails, or is slow
///     |        all probes succeed                 v       |
///     +--------------------------------------- HalfOpen --+
/// ```
///
/// - **Closed**: calls are let through, and counted over a sliding window of time. A failed or slow call opens the
///   circuit if the window then holds at least `minimum_calls`, and one of two shares is reached: `failure_rate` of
///   them failed, or `slow_rate` of them took `slow_call` or longer. It also opens the circuit if for `failing_for`
///   there were only failed and slow calls, at least `minimum_calls` of them. This second rule is for a backend that
///   stalls under load: its callers run into their deadline about once.
/// - **Open**: calls are answered without the client, within microseconds. They fail with
///   [`CacheError::Unavailable`], [`Unavailability::CircuitOpen`](cache_core::Unavailability::CircuitOpen) and the
///   outcome [`NotApplied`](cache_core::Outcome::NotApplied). The error's text says since when and why. Its source is
///   the failure that opened the circuit.
/// - **Half-open**, after `open_for`, shortened at random so that the processes of a fleet do not try at the same
///   time. The next `probes` calls are let through, and no more, so that a backend that comes back is not overloaded.
///   All other calls are still answered without the client. The guard makes no calls itself.
///
/// [`CacheError::Unavailable`] and [`CacheError::Timeout`] are failures, including the guard's own. A miss, a refusal
/// ([`Rejected`](CacheError::Rejected), [`Denied`](CacheError::Denied), [`Unauthorized`](CacheError::Unauthorized))
/// and [`Corrupt`](CacheError::Corrupt) are answers of a backend that works.
/// [`InvalidInput`](CacheError::InvalidInput), [`Closed`](CacheError::Closed),
/// [`Unsupported`](CacheError::Unsupported) and [`Config`](CacheError::Config) say nothing about it.
///
/// A call that its caller drops, as a shorter deadline above the guard does, counts as slow if it had waited for 100
/// ms, or for a shorter `slow_call`. Otherwise it does not count. A dropped probe gives its place back, unless it had
/// waited for `slow_call`, or for `open_for` if no `slow_call` is set: then it failed. A call that was let through
/// before a change of state does not count after it.
///
/// `get_each` and `set_each` are one call each. If all their keys fail, the call failed. If only some fail, the call
/// is neither a success nor a failure in the rates: a part of the backend answers and a part does not. As a probe it
/// is a success, and it ends a run of failed calls.
///
/// The states and the two rates are those of [resilience4j's `CircuitBreaker`] with a time-based window. The default
/// of 50 % and the minimum number of calls also come from there, over less time. A single failed probe opens the
/// circuit again, as Nygard describes it in "Release It!" (2007). Opening by failures in a row comes from Envoy's
/// [outlier detection]. That they have to last for a time is our addition, because the loss of one shared connection
/// fails all its calls at once.
///
/// [resilience4j's `CircuitBreaker`]: https://resilience4j.readme.io/docs/circuitbreaker
/// [outlier detection]: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
///
/// # `Fail` or `Bypass`
///
/// With [`OnFailure::Fail`] every error reaches the caller. With [`OnFailure::Bypass`] some errors become the answer
/// of an empty cache, if that is an honest answer. These are failures, the answer of an open circuit, and a refusal
/// because of the backend's own state ([`is_backend_state`](CacheError::is_backend_state): a full server's `OOM`,
/// `MISCONF`, ...).
///
/// | method | answer |
/// |---|---|
/// | `get`, `get_entry`, `ttl` | [`CacheError::Miss`] |
/// | `get_and_expire` | [`CacheError::Miss`], and the TTL may be as it was |
/// | `get_many` | `None` for every key |
/// | `get_each` | [`CacheError::Miss`] for each key that failed |
/// | `get_entries` | [`Lookup::Absent`](cache_core::Lookup::Absent), untracked, for each key that failed |
/// | `exists` | `0` |
/// | `set`, `set_many` | `Ok(())`, and nothing may have been stored |
/// | `set_each` | `Ok(())` for each entry that failed, and it may not have been stored |
/// | `del` | `0`, and nothing may have been deleted |
/// | `expire` | `false`, and the TTL may be as it was |
/// | `incr`, `incr_by`, `set_if_absent`, `compare_and_set`, `compare_and_delete`, `get_and_delete` | the error: no made-up answer is true |
/// | `ping`, `close` | the error: health checks are to see it |
///
/// Errors about the operation or the user reach the caller in either case. `docs/errors.md` has one table of what
/// servers say and what callers get. `OOM` and `MISCONF` are bypassed and do not count for the circuit, because such
/// a server answers reads as before.
///
/// Bypassed calls are counted in [`GuardStats::bypassed`]. They are logged once per change of state, not per call. If
/// too few calls fail for the circuit to open, or there is no breaker, they are logged once per window.
///
/// A bypassed `set` or `del` leaves **the old value** in the backend. Callers get that value again when the backend
/// is back, until its TTL is over. If that is not acceptable, use `Fail`, or give entries short TTLs.
///
/// # Its place
///
/// Directly on the client: `Prefixed > Observed("edge") > Tiered > Encrypted > Observed("far") > Guarded > client`.
///
/// Wrong orders:
///
/// - Above a near cache, near hits would pay for the deadline and count as calls of a healthy backend. The circuit
///   would open late or never, and once open would shed calls that the near cache could have answered.
/// - Above an encryption, a slow key service would open the circuit of a healthy cache.
///
/// `Observed("far")` sees a bypassed call as a miss. Only [`stats`](Guarded::stats) tells the two apart.
///
/// One guard is for one backend. If that is a cluster, give each node a circuit
/// ([`part_of`](GuardedConfigBuilder::part_of)). Otherwise one node that is down, and whose keys are used most, opens
/// the circuit for all. A call with keys of several parts becomes one call for each part, all at once. So a part with
/// an open circuit costs no waiting: `get_each` and `set_each` have the answers of the other parts, and `del` and
/// `set_many` are carried out there. The call then fails with the error of the open circuit (with `Bypass`, as if
/// that part were empty). Calls without keys have their own circuit.
///
/// # Cost
///
/// In the closed state, in addition to the client: a look at the clock (two with a `slow_call`), some atomic
/// additions, and the box that every layer's call costs. A timer, if there is a deadline and the call does not answer
/// at once. No lock, except one per tenth of the window. The open state takes a short lock.
///
/// # Panics
///
/// With a deadline, calls must be made inside a tokio runtime whose timers are on.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
/// use cache_layers::guarded::{BreakerState, OnFailure};
/// use cache_layers::{Guarded, GuardedConfig};
/// use cache_mock::{Fault, FaultyCache, Operation};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let client = FaultyCache::new(MemoryCache::default());
/// let faults = client.faults().clone();
/// let config = GuardedConfig::builder()
///     .deadline(Duration::from_millis(250))
///     .on_failure(OnFailure::Bypass)
///     .build()?;
/// let cache = Guarded::new(Arc::new(client), config);
///
/// faults.always(Operation::ALL, &Fault::Hang); // the backend stalls
/// for _ in 0..20 {
///     assert!(cache.get("key").await.unwrap_err().is_miss()); // after 250 ms
/// }
/// assert_eq!(cache.state(), BreakerState::Open);
/// assert!(cache.get("key").await.unwrap_err().is_miss()); // at once
/// assert!(cache.ping().await.is_err());
///
/// faults.heal();
/// tokio::time::sleep(Duration::from_secs(1)).await;
/// cache.set("key", "value".into(), Ttl::secs(60)).await?; // lets itself through, and closes the circuit
/// assert_eq!(cache.get("key").await?, "value");
/// assert_eq!(cache.stats().bypassed, 21);
/// # Ok::<(), CacheError>(())
/// # }).unwrap();
/// ```
pub struct Guarded {
    client: Arc<dyn CacheClient>,
    config: GuardedConfig,
    /// For calls that are not of one part.
    breaker: Option<Breaker>,
    parts: Option<Parts>,
    counters: Arc<Counters>,
    bypassed: Bypassed,
    /// Whether this client was closed through the guard. The circuit does not affect its answers then.
    closed: AtomicBool,
}

impl Guarded {
    /// Creates a guard around `client`.
    #[must_use]
    pub fn new(client: Arc<dyn CacheClient>, config: GuardedConfig) -> Self {
        let counters = Arc::<Counters>::default();
        let breaker = config
            .breaker
            .then(|| Breaker::new(&config, Arc::clone(&counters), clock::now()));
        Self {
            client,
            parts: config.part_of.clone().filter(|_| config.breaker).map(Parts::new),
            breaker,
            counters,
            bypassed: Bypassed::new(config.window, !config.breaker),
            closed: AtomicBool::new(false),
            config,
        }
    }

    /// Returns the client inside.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn CacheClient> {
        &self.client
    }

    /// What the circuit breaker does with calls at the moment. With a circuit [for each
    /// part](GuardedConfigBuilder::part_of), it is closed if the circuit of any part used so far is closed.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        let whole = self.breaker.as_ref().map_or(BreakerState::Closed, Breaker::state);
        let mut parts = self.parts.iter().flat_map(Parts::breakers).map(Breaker::state);
        match parts.next() {
            None => whole,
            Some(first) if parts.all(|state| state != BreakerState::Closed) => first,
            Some(_) => BreakerState::Closed,
        }
    }

    /// The guard of calls that are not split although their keys are in several parts.
    fn whole(&self) -> Gate<'_> {
        Gate {
            guard: self,
            breaker: self.breaker.as_ref(),
        }
    }

    /// The guard of calls with these keys. They are in one part: the caller has [split](Self::split) them.
    fn at<'g>(&'g self, keys: &[&str]) -> Gate<'g> {
        let whole = self.breaker.as_ref();
        let part = keys.first().zip(self.parts.as_ref()).and_then(|(key, parts)| {
            let make = || Breaker::of_part(&self.config, Arc::clone(&self.counters), clock::now());
            parts.breaker(key, make)
        });
        Gate {
            guard: self,
            breaker: part.or(whole),
        }
    }

    /// Returns the positions of `keys` by part, for one call each. `None` if one call has all of them: they are in
    /// one part, or one of them is illegal and the client refuses it before it sends anything.
    fn split(&self, keys: &[&str]) -> Option<Groups> {
        let groups = self.split_each(keys)?;
        keys.iter().all(|key| check_key(key).is_ok()).then_some(groups)
    }

    /// As [`split`](Self::split), for calls that answer an illegal key with its own error.
    fn split_each(&self, keys: &[&str]) -> Option<Groups> {
        let parts = self.parts.as_ref()?;
        // A closed client gives the same answer for all keys.
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        parts.split(keys)
    }

    /// Returns the counters of events.
    #[must_use]
    pub fn stats(&self) -> GuardStats {
        self.counters.snapshot()
    }

    /// Makes a call that `reaches` the backend, if the circuit lets it through. The client itself answers a call that
    /// does not (an illegal argument, an empty list).
    async fn call<T, Call>(&self, reaches: bool, make: impl FnOnce() -> Call + Send) -> Result<T, Stop<'_>>
    where
        Call: Future<Output = Result<T, CacheError>> + Send,
    {
        self.at(&[]).call(reaches, make).await
    }

    /// Returns the error in any case.
    fn surface<T>(result: Result<T, Stop<'_>>) -> Result<T, CacheError> {
        result.map_err(Stop::into_error)
    }

    /// Returns `instead`, if the error is to be bypassed.
    fn bypass<T>(
        &self,
        result: Result<T, Stop<'_>>,
        instead: impl FnOnce() -> Result<T, CacheError>,
    ) -> Result<T, CacheError> {
        match result {
            Ok(value) => Ok(value),
            Err(stop) if self.config.on_failure == OnFailure::Bypass && stop.is_bypassed() => {
                self.counters.add(Count::bypassed);
                if let Stop::Failed(error) = &stop
                    && self.state() == BreakerState::Closed
                {
                    // An error that is no failure never opens the circuit, so the breaker would not log it.
                    self.bypassed.note(error, clock::now(), !is_failure(error));
                }
                instead()
            }
            Err(stop) => Err(stop.into_error()),
        }
    }

    #[inline]
    fn tell(&self, told: Told) {
        if let Some(change) = told {
            self.tell_of(&change);
        }
    }

    #[cold]
    fn tell_of(&self, change: &StateChange) {
        if change.from == BreakerState::Closed {
            self.bypassed.told();
        }
        events::log(change, self.config.on_failure);
        self.config.listener.tell(change);
    }
}

/// The guard of calls of one part of the backend, or of all.
#[derive(Clone, Copy)]
struct Gate<'g> {
    guard: &'g Guarded,
    breaker: Option<&'g Breaker>,
}

impl<'g> Gate<'g> {
    /// As [`Guarded::call`].
    async fn call<T, Call>(self, reaches: bool, make: impl FnOnce() -> Call + Send) -> Result<T, Stop<'g>>
    where
        Call: Future<Output = Result<T, CacheError>> + Send,
    {
        let guard = self.guard;
        if !reaches || guard.closed.load(Ordering::Acquire) {
            return make().await.map_err(Stop::Failed);
        }
        let started = clock::now();
        let deadline = guard.config.deadline.map(|whole| Deadline::of(whole, started));
        if let Some(deadline) = deadline.filter(Deadline::is_over) {
            return Err(Stop::Failed(deadline.used_up()));
        }
        let ticket = self.admit(started)?;
        let running = Running {
            guard,
            breaker: self.breaker,
            ticket,
            started,
            deadline,
            ended: false,
        };
        let result = deadline::within(deadline, make()).await;
        running.end(&result);
        result.map_err(Stop::Failed)
    }

    fn admit(self, now: Instant) -> Result<Option<Ticket>, Stop<'g>> {
        let Some(breaker) = self.breaker else {
            return Ok(None);
        };
        let (ticket, told) = breaker.admit(now);
        self.guard.tell(told);
        match ticket {
            Some(ticket) => Ok(Some(ticket)),
            None => {
                self.guard.counters.add(Count::shed);
                Err(Stop::Shed(breaker))
            }
        }
    }
}

/// Whether [`OnFailure::Bypass`] covers an error: it is about the backend, and not about the request.
fn is_bypassed(error: &CacheError) -> bool {
    is_failure(error) || error.is_backend_state()
}

/// Why a call has no answer from the client.
#[derive(Debug)]
enum Stop<'g> {
    /// The circuit is open.
    Shed(&'g Breaker),
    /// The client or the deadline failed it.
    Failed(CacheError),
}

impl Stop<'_> {
    fn is_bypassed(&self) -> bool {
        match self {
            Self::Shed(_) => true,
            Self::Failed(error) => is_bypassed(error),
        }
    }

    fn into_error(self) -> CacheError {
        match self {
            Self::Shed(breaker) => breaker.refusal(clock::now()),
            Self::Failed(error) => error,
        }
    }
}

/// One short line: the client inside, and the state of the circuit unless it is closed.
impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state() {
            BreakerState::Closed => write!(f, "Guarded({:?})", self.client),
            state => write!(f, "Guarded({state}, {:?})", self.client),
        }
    }
}
