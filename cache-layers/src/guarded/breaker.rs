//! The circuit breaker: decides when calls are let through, and what their ends mean.
//!
//! Time is an argument, so that every order of events can be tested. Not in here: calls. The caller asks
//! [`admit`](Breaker::admit) first and reports to [`end`](Breaker::end).

mod run;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::{CacheError, ErrorSource, Outcome, Unavailability};
use humantime::format_duration;

use super::config::GuardedConfig;
use super::events::{BreakerState, Count, Counters, StateChange};
use super::window::{Totals, Window};
use run::Run;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Breaker {
    rules: Rules,
    /// The generation, and in the last two bits the state. Every call reads it. Each change of state is a new
    /// generation, so a call that was let through in an earlier one does not count in this one.
    gate: AtomicU64,
    window: Window,
    run: Run,
    core: Mutex<Core>,
    counters: Arc<Counters>,
    /// Whether it is the circuit of one part of the backend.
    of_part: bool,
}

#[derive(Clone, Debug)]
struct Rules {
    failure_rate: f64,
    slow_rate: f64,
    span: Duration,
    failing_for: Duration,
    minimum_calls: u64,
    open_for: Duration,
    probes: u32,
    /// A random number from 0 to 1: how much of one half of the open time is cut off.
    chance: fn() -> f64,
}

/// What changes only with the state.
#[derive(Debug)]
struct Core {
    state: BreakerState,
    generation: u64,
    /// When the circuit last left the closed state.
    opened: Instant,
    /// When the open circuit lets a call through.
    until: Instant,
    /// The counters at that time.
    before: Totals,
    shed_before: u64,
    why: Option<Why>,
    /// How many places of the half-open circuit are taken, and when the last one was.
    taken: u32,
    last_taken: Instant,
    succeeded: u32,
}

/// Why the circuit opened.
#[derive(Clone, Debug)]
struct Why {
    totals: Totals,
    /// How many bad and slow calls in a row, and for how long, if these opened the circuit and not a rate.
    run: Option<(u64, Duration)>,
    cause: Option<CacheError>,
}

/// Permission to make one call. Return it with [`Breaker::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    generation: u64,
    probe: bool,
    begun: Instant,
}

/// What the end of a call says about the backend.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict<'e> {
    /// It works.
    Good,
    /// It does not work.
    Bad(&'e CacheError),
    /// A part of it works and a part does not. This is neither a success nor a failure in the rates, but a sign that
    /// something answers.
    Partial,
    /// Nothing.
    Void,
}

/// A change of state, to be reported to listeners once no lock is held.
pub(super) type Told = Option<Box<StateChange>>;

impl Breaker {
    pub(super) fn new(config: &GuardedConfig, counters: Arc<Counters>, now: Instant) -> Self {
        Self {
            rules: Rules {
                failure_rate: config.failure_rate,
                slow_rate: config.slow_rate,
                span: config.window,
                failing_for: config.failing_for,
                minimum_calls: config.minimum_calls.into(),
                open_for: config.open_for,
                probes: config.probes,
                chance: rand::random,
            },
            gate: AtomicU64::new(gate(0, BreakerState::Closed)),
            window: Window::new(config.window, now),
            run: Run::new(now),
            core: Mutex::new(Core {
                state: BreakerState::Closed,
                generation: 0,
                opened: now,
                until: now,
                before: Totals::default(),
                shed_before: 0,
                why: None,
                taken: 0,
                last_taken: now,
                succeeded: 0,
            }),
            counters,
            of_part: false,
        }
    }

    /// The circuit of one part of the backend.
    pub(super) fn of_part(config: &GuardedConfig, counters: Arc<Counters>, now: Instant) -> Self {
        Self {
            of_part: true,
            ..Self::new(config, counters, now)
        }
    }

    pub(super) fn state(&self) -> BreakerState {
        state_of(self.gate.load(Ordering::Acquire))
    }

    /// Whether a call may be made now. If not, it is shed.
    #[inline]
    pub(super) fn admit(&self, now: Instant) -> (Option<Ticket>, Told) {
        let gate = self.gate.load(Ordering::Acquire);
        if state_of(gate) == BreakerState::Closed {
            return (Some(Ticket::of(gate >> STATE_BITS, now)), None);
        }
        self.admit_one(now)
    }

    #[cold]
    fn admit_one(&self, now: Instant) -> (Option<Ticket>, Told) {
        let mut core = self.core();
        let mut told = None;
        match core.state {
            BreakerState::Closed => return (Some(Ticket::of(core.generation, now)), None),
            BreakerState::Open if now < core.until => return (None, None),
            BreakerState::Open => {
                core.taken = 0;
                core.succeeded = 0;
                told = self.turn(&mut core, BreakerState::HalfOpen, now, None);
            }
            BreakerState::HalfOpen => {}
        }
        if core.taken < self.rules.probes {
            core.taken += 1;
        } else if now.saturating_duration_since(core.last_taken) < self.rules.open_for {
            return (None, told);
        }
        // All places are taken by calls that do not come back: they hang without a deadline, or are not polled. The
        // circuit must not stay half-open because of them.
        core.last_taken = now;
        self.counters.add(Count::probes);
        let ticket = Ticket {
            probe: true,
            ..Ticket::of(core.generation, now)
        };
        (Some(ticket), told)
    }

    /// Takes a ticket back. `slow` is whether the call counts as slow. For a good call that was not slow, `now` may
    /// be earlier, back to its beginning.
    #[inline]
    pub(super) fn end(&self, ticket: Ticket, now: Instant, verdict: Verdict<'_>, slow: bool) -> Told {
        if self.gate.load(Ordering::Acquire) >> STATE_BITS != ticket.generation {
            return None;
        }
        if ticket.probe {
            return self.end_probe(ticket, now, verdict, slow);
        }
        match verdict {
            Verdict::Good if !slow => {
                self.window.count(now, false, false);
                self.run.end();
                None
            }
            Verdict::Partial if !slow => {
                self.run.end();
                None
            }
            Verdict::Void if !slow => None,
            _ => self.end_badly(ticket, now, verdict, slow),
        }
    }

    #[cold]
    fn end_badly(&self, ticket: Ticket, now: Instant, verdict: Verdict<'_>, slow: bool) -> Told {
        self.window.count(now, matches!(verdict, Verdict::Bad(_)), slow);
        let (run, since) = self.run.add(ticket.begun, now);
        let totals = self.window.totals(now);
        let by_rate = self.rules.broken_by(totals);
        if !by_rate && (run < self.rules.minimum_calls || since < self.rules.failing_for) {
            return None;
        }
        let mut core = self.core();
        if core.generation != ticket.generation {
            return None;
        }
        core.opened = now;
        core.until = now + self.rules.rest();
        core.before = self.totals();
        core.shed_before = self.counters.get(Count::shed);
        core.why = Some(Why {
            totals,
            run: (!by_rate).then_some((run, since)),
            cause: verdict.cause(),
        });
        self.counters.add(Count::opened);
        self.turn(&mut core, BreakerState::Open, now, verdict.cause())
    }

    #[cold]
    fn end_probe(&self, ticket: Ticket, now: Instant, verdict: Verdict<'_>, slow: bool) -> Told {
        let mut core = self.core();
        if core.generation != ticket.generation {
            return None;
        }
        match verdict {
            Verdict::Good | Verdict::Partial if !slow => {
                core.succeeded += 1;
                if core.succeeded < self.rules.probes {
                    return None;
                }
                core.why = None;
                self.window.clear();
                self.run.end();
                self.counters.add(Count::closed);
                self.turn(&mut core, BreakerState::Closed, now, None)
            }
            Verdict::Void if !slow => {
                core.taken = core.taken.saturating_sub(1);
                None
            }
            _ => {
                core.until = now + self.rules.rest();
                self.turn(&mut core, BreakerState::Open, now, verdict.cause())
            }
        }
    }

    /// Returns the error of a call that is shed.
    pub(super) fn refusal(&self, now: Instant) -> CacheError {
        let core = self.core();
        let (why, opened) = (core.why.clone(), core.opened);
        drop(core);
        let detail = why.as_ref().map_or(Cow::Borrowed("it was, a moment ago"), |why| {
            let open = format_duration(millis(now.saturating_duration_since(opened)));
            let reason = why.in_words(self.rules.span);
            format!("for {open} now, since {reason}").into()
        });
        let cause = why.and_then(|why| why.cause);
        CacheError::Unavailable {
            reason: Unavailability::CircuitOpen,
            detail,
            outcome: Outcome::NotApplied,
            source: cause.map(|cause| Arc::new(cause) as ErrorSource),
        }
    }

    /// Changes the state, and returns the change.
    fn turn(&self, core: &mut Core, to: BreakerState, now: Instant, cause: Option<CacheError>) -> Told {
        let from = std::mem::replace(&mut core.state, to);
        core.generation += 1;
        self.gate.store(gate(core.generation, to), Ordering::Release);
        let totals = match (from, &core.why) {
            (BreakerState::Closed, Some(why)) => why.totals,
            _ => self.totals().since(core.before),
        };
        Some(Box::new(StateChange {
            from,
            to,
            outage: now.saturating_duration_since(core.opened),
            calls: totals.calls,
            failures: totals.failures,
            slow: totals.slow,
            shed: self.counters.get(Count::shed).saturating_sub(core.shed_before),
            of_part: self.of_part,
            cause,
        }))
    }

    /// Everything that was ever counted.
    fn totals(&self) -> Totals {
        Totals {
            calls: self.counters.get(Count::calls),
            failures: self.counters.get(Count::failures),
            slow: self.counters.get(Count::slow),
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    fn broken_by(&self, totals: Totals) -> bool {
        let reaches = |count: u64, rate: f64| count > 0 && as_f64(count) >= rate * as_f64(totals.calls);
        totals.calls >= self.minimum_calls
            && (reaches(totals.failures, self.failure_rate) || reaches(totals.slow, self.slow_rate))
    }

    /// How long the circuit stays open this time.
    fn rest(&self) -> Duration {
        self.open_for.mul_f64(1.0 - 0.5 * (self.chance)().clamp(0.0, 1.0))
    }
}

impl Why {
    fn in_words(&self, span: Duration) -> String {
        if let Some((calls, since)) = self.run {
            let since = format_duration(millis(since));
            return format!("all {calls} calls of {since} failed or were slow");
        }
        let Totals {
            calls,
            failures,
            slow,
        } = self.totals;
        let span = format_duration(span);
        format!("{failures} of {calls} calls within {span} failed and {slow} were slow")
    }
}

impl Ticket {
    const fn of(generation: u64, begun: Instant) -> Self {
        Self {
            generation,
            probe: false,
            begun,
        }
    }

    /// Whether the call is a probe of the half-open circuit.
    pub(super) const fn is_probe(self) -> bool {
        self.probe
    }
}

impl Verdict<'_> {
    fn cause(self) -> Option<CacheError> {
        match self {
            Self::Bad(error) => Some(error.clone()),
            Self::Good | Self::Partial | Self::Void => None,
        }
    }
}

const STATE_BITS: u32 = 2;

const fn gate(generation: u64, state: BreakerState) -> u64 {
    let state = match state {
        BreakerState::Closed => 0,
        BreakerState::Open => 1,
        BreakerState::HalfOpen => 2,
    };
    generation << STATE_BITS | state
}

const fn state_of(gate: u64) -> BreakerState {
    match gate & 0b11 {
        0 => BreakerState::Closed,
        1 => BreakerState::Open,
        _ => BreakerState::HalfOpen,
    }
}

/// For display: rounded down to whole milliseconds.
fn millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// A count, for a rate: exact up to 2^53.
const fn as_f64(count: u64) -> f64 {
    count as f64
}
