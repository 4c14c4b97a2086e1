//! What a guard reports: a log line and an event for each change of state, and counters.
//!
//! Not in here: metrics. They listen to the events, or read the counters.

use std::fmt;
use std::time::Duration;

use cache_core::CacheError;

use super::OnFailure;
use crate::metrics::Tally;

/// What the circuit breaker does with calls at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// Lets them through. Also the state of a guard without a breaker.
    Closed,
    /// Answers them itself.
    Open,
    /// Lets a few through to see whether the backend is back, and answers the others itself.
    HalfOpen,
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}

/// The circuit changed from one state to another.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StateChange {
    /// The state that ended.
    pub from: BreakerState,
    /// The state that began.
    pub to: BreakerState,
    /// How long ago the circuit opened. Zero if it opens now.
    pub outage: Duration,
    /// Calls that reached the client: within the window if the circuit opens, else during the outage.
    pub calls: u64,
    /// The part of them that failed.
    pub failures: u64,
    /// The part of them that was slow.
    pub slow: u64,
    /// Calls that the open circuit answered during the outage.
    pub shed: u64,
    /// Whether it is the circuit of one [part](super::GuardedConfigBuilder::part_of) of the backend. The counts above
    /// are those of all parts.
    pub of_part: bool,
    /// The failure that opened the circuit. `None` if slow calls opened it, and if it closes.
    pub cause: Option<CacheError>,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counters of events since the guard was created.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct GuardStats {
            $($(#[$doc])* pub $name: u64,)+
        }

        /// What is counted.
        #[expect(non_camel_case_types, reason = "the names of the fields of GuardStats")]
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Count {
            $($name,)+
        }

        /// The counters behind [`GuardStats`].
        #[derive(Default)]
        pub(super) struct Counters(Tally<{ [$(stringify!($name)),+].len() }>);

        impl fmt::Debug for Counters {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Counters")
            }
        }

        impl Counters {
            #[inline]
            pub(super) fn add(&self, count: Count) {
                self.0.add(count as usize, 1);
            }

            pub(super) fn get(&self, count: Count) -> u64 {
                self.0.sum(count as usize)
            }

            pub(super) fn snapshot(&self) -> GuardStats {
                GuardStats {
                    $($name: self.get(Count::$name),)+
                }
            }
        }
    };
}

counters! {
    /// Calls that reached the client and ended, with any result.
    calls,
    /// The part of [`calls`](Self::calls) that failed because the backend was not available, or too slow for the
    /// deadline.
    failures,
    /// The part of [`failures`](Self::failures) that the deadline ended.
    timeouts,
    /// The part of [`calls`](Self::calls) that took as long as a slow call.
    slow,
    /// The part of [`calls`](Self::calls) that their callers dropped.
    dropped,
    /// Calls that the open circuit answered.
    shed,
    /// Calls that failed or were shed, and that callers saw as a miss or as done.
    bypassed,
    /// How often the circuit opened, from closed.
    opened,
    /// How often it closed again.
    closed,
    /// Calls that were let through to see whether the backend is back.
    probes,
}

/// Logs a change of state. A change that callers notice is a warning. Later changes until the circuit closes have a
/// lower level, because they happen once a second.
pub(super) fn log(change: &StateChange, on_failure: OnFailure) {
    let StateChange {
        calls,
        failures,
        slow,
        shed,
        outage,
        of_part,
        ..
    } = change;
    let cause = change.cause.as_ref().map(tracing::field::display);
    match (change.from, change.to) {
        (BreakerState::Closed, _) => tracing::warn!(
            of_part,
            calls,
            failures,
            slow,
            cause,
            ?on_failure,
            "the cache's circuit is open: too many calls failed or were slow"
        ),
        (_, BreakerState::Closed) => tracing::info!(
            of_part,
            ?outage,
            calls,
            failures,
            slow,
            shed,
            "the cache's circuit is closed: the backend is back"
        ),
        (_, BreakerState::HalfOpen) => tracing::debug!(
            ?outage,
            shed,
            "the cache's circuit is half-open: the next call is tried"
        ),
        (_, BreakerState::Open) => {
            tracing::debug!(
                ?outage,
                failures,
                slow,
                shed,
                cause,
                "the cache's circuit is open again"
            );
        }
    }
}
