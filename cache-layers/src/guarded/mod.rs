//! A client that never costs its callers more than a deadline, and nearly nothing while its backend is gone.
//!
//! In here: [`Guarded`] and what it promises. How it answers each method is in `contract.rs`; the circuit
//! breaker, which knows nothing of calls, is in `breaker.rs`. Not in here: trying again. The client inside
//! does that, and the deadline of this layer is over all of its tries.

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

/// A deadline for the whole call, a circuit breaker, and a choice of what an unavailable backend means.
///
/// # The deadline
///
/// [`deadline`](GuardedConfigBuilder::deadline) is over everything that the client does for a call: waiting
/// for a connection, retries, redirections. What it ends is [`CacheError::Timeout`] with
/// [`Stage::Call`](cache_core::Stage::Call); a write that it ends may have been carried out, and the error's
/// [`outcome`](CacheError::outcome) says so. It does not end [`close`](CacheClient::close).
///
/// It is one deadline for a whole request: a read-through, or another recipe, that makes several calls one after the other
/// for one caller announces when the first one began ([`cache_core::deadline::counted_from`]), and the deadline counts from
/// there. A call for which nothing is left fails at once, with
/// [`Stage::Connect`](cache_core::Stage::Connect): it was not begun. If less than half was left and the call ran out of time,
/// it counts like a call that its caller dropped.
///
/// `get_each`, `get_entries` and `set_each` have to answer with what they have by then: the guard hands its deadline, less 25 ms or a tenth
/// of it, to the client below ([`cache_core::deadline`]). So keys that have an answer do not fail with the others.
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
/// - **Closed**: calls are let through, and counted over a sliding window of time. The circuit opens at a
///   failed or slow call with which the window holds `minimum_calls` or more, and of them a share of
///   `failure_rate` or more failed, or a share of `slow_rate` or more took `slow_call` or longer; or with
///   which there were, for `failing_for`, only failed and slow calls, `minimum_calls` or more. The second
///   rule is for the backend that stalls under load: its callers meet their deadline about once.
/// - **Open**: calls are answered without the client: within microseconds, by
///   [`CacheError::Unavailable`] with [`Unavailability::CircuitOpen`](cache_core::Unavailability::CircuitOpen)
///   and the outcome [`NotApplied`](cache_core::Outcome::NotApplied). Its text says since when and why, its
///   source is the failure that opened the circuit.
/// - **Half-open**, when `open_for` is over, shortened by chance so that the processes of a fleet do not try
///   in step: the next calls are let through, `probes` of them and no more, so that what comes back is not
///   run over. All others are still answered without the client. There is no call of the guard's own.
///
/// A failure is [`CacheError::Unavailable`] and [`CacheError::Timeout`], the guard's own included. A miss, a
/// refusal ([`Rejected`](CacheError::Rejected), [`Denied`](CacheError::Denied),
/// [`Unauthorized`](CacheError::Unauthorized)) and [`Corrupt`](CacheError::Corrupt) are answers of a backend
/// that is there. [`InvalidInput`](CacheError::InvalidInput), [`Closed`](CacheError::Closed),
/// [`Unsupported`](CacheError::Unsupported) and [`Config`](CacheError::Config) say nothing about it. A call
/// that its caller drops, as a shorter deadline above the guard does, counts as slow if it had waited for 100 ms, or
/// for a shorter `slow_call`; else it does not count. A dropped probe gives its place back, unless it had waited for
/// `slow_call`, or for `open_for` where none is set: then it failed. What was let through before a change of state says nothing after it.
///
/// `get_each` and `set_each` are one call each. If all of their keys fail, the call failed. If some fail and some do not, it
/// is neither a success nor a failure in the rates: a part of the backend answers and a part does not. As a probe it is a
/// success, and it ends a run of failed calls.
///
/// The states and the two rates are those of [resilience4j's `CircuitBreaker`] with a time-based window
/// (whose defaults of 50 % and a minimum number of calls these are too, over less time); that a single
/// failed probe opens the circuit again is as Nygard describes it in "Release It!" (2007). Opening by
/// failures in a row is Envoy's [outlier detection]; that they have to last for a time is ours, since the
/// loss of one shared connection fails all its calls at once.
///
/// [resilience4j's `CircuitBreaker`]: https://resilience4j.readme.io/docs/circuitbreaker
/// [outlier detection]: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
///
/// # `Fail` or `Bypass`
///
/// With [`OnFailure::Fail`] every error surfaces. With [`OnFailure::Bypass`] a failure, the answer of an open circuit,
/// and a refusal for the backend's own state ([`is_backend_state`](CacheError::is_backend_state): a full server's `OOM`,
/// `MISCONF`, ...) become what an empty cache would answer, where that is an honest answer:
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
/// | `expire` | `false`, and the life may be as it was |
/// | `incr`, `incr_by`, `set_if_absent`, `compare_and_set`, `compare_and_delete`, `get_and_delete` | the error: no made-up answer is true |
/// | `ping`, `close` | the error: health checks are to see it |
///
/// Errors about the operation or the user surface in either case. `docs/errors.md` has one table of what servers say, and what
/// callers get. `OOM` and `MISCONF` are bypassed and do not count for the circuit: such a server answers reads as before. What was bypassed is counted in
/// [`GuardStats::bypassed`], and told in the log once per change of state, not per call; while too few calls
/// fail for the circuit to open, or there is no breaker, once per window.
///
/// A `set` or `del` that was bypassed leaves **the old value** in the backend, where callers meet it again
/// when the backend is back, until its life is over. Whoever cannot live with that takes `Fail`, or gives
/// entries short lives.
///
/// # Its place
///
/// Directly on the client: `Prefixed > Observed("edge") > Tiered > Encrypted > Observed("far") > Guarded >
/// client`. Over a near tier, its hits would pay for the deadline and count as calls of a healthy backend:
/// the circuit would open late or never, and once open would shed what the near tier could have answered.
/// Over an encryption, a key service that is slow would open the circuit of a cache that is well. Below the
/// observation, what is bypassed is seen there as a miss and is told apart by
/// [`stats`](Guarded::stats) only. One guard is for one backend. If that is a cluster, give each node a circuit
/// ([`part_of`](GuardedConfigBuilder::part_of)): else one node that is gone, and whose keys are asked for most, opens
/// the circuit for all. A call with keys of several parts becomes one call for each part, all at once. So a part whose
/// circuit is open costs no waiting: `get_each` and `set_each` have the answers of the others, `del` and `set_many`
/// are carried out there, and the call fails with the error of the open circuit (with `Bypass`: it is as if that part were
/// empty). Calls without keys have a circuit for themselves.
///
/// # Cost
///
/// Beside the client, in the closed state: a look at the clock (two with a `slow_call`), some atomic
/// additions, the box that every layer's call costs; a timer, where there is a deadline and the call does
/// not answer at once. No lock, but for one per tenth of the window. The open state takes a short one.
///
/// # Panics
///
/// With a deadline, calls have to be made inside a tokio runtime whose timers are on.
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
    /// Whether this client was closed through the guard: the circuit has no say in what it answers then.
    closed: AtomicBool,
}

impl Guarded {
    /// A guard of `client`.
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

    /// The client that it stands on.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn CacheClient> {
        &self.client
    }

    /// What the circuit breaker does with calls at the moment. With a circuit
    /// [for each part](GuardedConfigBuilder::part_of) it is closed as long as that of any part is
    /// that was asked so far.
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

    /// The guard of calls with these keys.
    /// They are in one part: the caller has [split](Self::split) them.
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

    /// The positions of `keys` by part, for one call each; `None` if one call has all of them: they are in one part, or one
    /// of them is illegal and the client refuses it before it sends anything.
    fn split(&self, keys: &[&str]) -> Option<Groups> {
        let groups = self.split_each(keys)?;
        keys.iter().all(|key| check_key(key).is_ok()).then_some(groups)
    }

    /// As [`split`](Self::split), for calls that answer an illegal key by itself.
    fn split_each(&self, keys: &[&str]) -> Option<Groups> {
        let parts = self.parts.as_ref()?;
        // What a closed client answers is the same for all keys.
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        parts.split(keys)
    }

    /// How often what happened.
    #[must_use]
    pub fn stats(&self) -> GuardStats {
        self.counters.snapshot()
    }

    /// Makes a call that `reaches` the backend, if the circuit lets it; a call that does not (an illegal
    /// argument, an empty list) is the client's to answer.
    async fn call<T, Call>(&self, reaches: bool, make: impl FnOnce() -> Call + Send) -> Result<T, Stop<'_>>
    where
        Call: Future<Output = Result<T, CacheError>> + Send,
    {
        self.at(&[]).call(reaches, make).await
    }

    /// The error surfaces, whatever it is.
    fn surface<T>(result: Result<T, Stop<'_>>) -> Result<T, CacheError> {
        result.map_err(Stop::into_error)
    }

    /// The answer is `instead`, where the error is about availability and is to be bypassed.
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
                    // What is no failure never opens the circuit, which would tell of it.
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

/// Whether [`OnFailure::Bypass`] covers an error: it is about the backend, and not about what was asked.
fn is_bypassed(error: &CacheError) -> bool {
    is_failure(error) || error.is_backend_state()
}

/// Why a call has no answer of the client's.
#[derive(Debug)]
enum Stop<'g> {
    /// The circuit is open.
    Shed(&'g Breaker),
    /// The client, or the deadline, says why.
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

/// One short line: what it stands on, and the state of the circuit unless it is closed.
impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state() {
            BreakerState::Closed => write!(f, "Guarded({:?})", self.client),
            state => write!(f, "Guarded({state}, {:?})", self.client),
        }
    }
}
