//! Configuration of a guard: every setting, its default, and what does not go together.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;

use super::events::StateChange;
use super::parts::PartOf;
use crate::listener::{Listener, MaybeListener};
use crate::refuse::refuse;

/// The configuration of a [`Guarded`](super::Guarded).
///
/// ```
/// use std::time::Duration;
/// use cache_layers::GuardedConfig;
/// use cache_layers::guarded::OnFailure;
///
/// let config = GuardedConfig::builder()
///     .deadline(Duration::from_millis(250))
///     .slow_call(Duration::from_millis(100))
///     .on_failure(OnFailure::Bypass)
///     .build()?;
/// # let _ = config;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct GuardedConfig {
    pub(super) deadline: Option<Duration>,
    pub(super) on_failure: OnFailure,
    pub(super) breaker: bool,
    pub(super) part_of: Option<PartOf>,
    pub(super) failure_rate: f64,
    pub(super) slow_call: Option<Duration>,
    pub(super) slow_rate: f64,
    pub(super) window: Duration,
    pub(super) failing_for: Duration,
    pub(super) minimum_calls: u32,
    pub(super) open_for: Duration,
    pub(super) probes: u32,
    pub(super) listener: MaybeListener<StateChange>,
}

/// What callers get while the backend is unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// An error.
    #[default]
    Fail,
    /// A read is a miss and a write is left out, if that is an honest answer: see the table of
    /// [`Guarded`](super::Guarded).
    Bypass,
}

impl Default for GuardedConfig {
    fn default() -> Self {
        Self {
            deadline: None,
            on_failure: OnFailure::Fail,
            breaker: true,
            part_of: None,
            failure_rate: 0.5,
            slow_call: None,
            slow_rate: 0.5,
            window: Duration::from_secs(10),
            failing_for: Duration::from_millis(100),
            minimum_calls: 20,
            open_for: Duration::from_secs(1),
            probes: 1,
            listener: MaybeListener::default(),
        }
    }
}

impl GuardedConfig {
    /// Starts with the defaults.
    pub fn builder() -> GuardedConfigBuilder {
        GuardedConfigBuilder::default()
    }
}

/// Builds a [`GuardedConfig`]. A setter never fails; [`build`](Self::build) reports what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct GuardedConfigBuilder {
    config: GuardedConfig,
}

impl GuardedConfigBuilder {
    /// How long a call may take, including everything that the client does for it. Default: no limit but the client's
    /// own.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.config.deadline = Some(deadline);
        self
    }

    /// What callers get while the backend is unavailable. Default: [`OnFailure::Fail`].
    pub const fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.config.on_failure = on_failure;
        self
    }

    /// Switches the circuit breaker off: every call is tried. Default: it is on.
    pub const fn without_breaker(mut self) -> Self {
        self.config.breaker = false;
        self
    }

    /// The part of the backend that holds a key, if its parts can fail one by one: the nodes of a cluster. Equal
    /// numbers are one part. Each part has its own circuit, so calls avoid a part that is down and still reach the
    /// others. That includes calls with keys of several parts. The function is called for each key of a call, so it
    /// must be quick. Default: no parts.
    pub fn part_of(mut self, part_of: impl Fn(&str) -> u64 + Send + Sync + 'static) -> Self {
        self.config.part_of = Some(PartOf(Arc::new(part_of)));
        self
    }

    /// The share of failed calls at which the circuit opens: above 0, at most 1. Default: 0.5.
    pub const fn failure_rate(mut self, rate: f64) -> Self {
        self.config.failure_rate = rate;
        self
    }

    /// How long a call takes that counts as slow, with any answer. A call that its caller drops also counts as slow
    /// if it had waited for that long or for 100 ms. Default: none, only dropped calls are slow.
    pub const fn slow_call(mut self, slow: Duration) -> Self {
        self.config.slow_call = Some(slow);
        self
    }

    /// The share of slow calls at which the circuit opens: above 0, at most 1. Default: 0.5.
    pub const fn slow_rate(mut self, rate: f64) -> Self {
        self.config.slow_rate = rate;
        self
    }

    /// How far back calls are counted. They are forgotten a tenth at a time. Default: 10 seconds.
    pub const fn window(mut self, window: Duration) -> Self {
        self.config.window = window;
        self
    }

    /// How long calls may fail or be slow without a good one between them. Then the circuit opens at any rate of
    /// failures. Without this, the many good calls that a busy window still holds would keep it closed for seconds
    /// after a backend has stalled. The time counts from the beginning of the first of those calls, of which there
    /// must be at least `minimum_calls`. Default: 100 milliseconds.
    pub const fn failing_for(mut self, time: Duration) -> Self {
        self.config.failing_for = time;
        self
    }

    /// How many calls are needed before a rate, or a time with only failures, counts. Default: 20.
    pub const fn minimum_calls(mut self, calls: u32) -> Self {
        self.config.minimum_calls = calls;
        self
    }

    /// How long the circuit stays open at most. The actual time is random, down to half of it, so that the processes
    /// of a fleet do not try at the same time. Default: 1 second.
    pub const fn open_for(mut self, time: Duration) -> Self {
        self.config.open_for = time;
        self
    }

    /// How many calls are let through to see whether the backend is back. All of them have to succeed for the circuit
    /// to close. Default: 1.
    pub const fn probes(mut self, probes: u32) -> Self {
        self.config.probes = probes;
        self
    }

    /// Receives changes of the circuit's state. Default: none, they are only logged.
    pub fn listener(mut self, listener: Arc<dyn Listener<StateChange>>) -> Self {
        self.config.listener = MaybeListener::of(listener);
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the first invalid setting and what it accepts.
    pub fn build(self) -> Result<GuardedConfig, CacheError> {
        let config = self.config;
        let spans = [
            ("deadline", config.deadline),
            ("slow_call", config.slow_call),
            ("failing_for", Some(config.failing_for)),
            ("open_for", Some(config.open_for)),
        ];
        for (argument, span) in spans {
            if span.is_some_and(|span| !SPANS.contains(&span)) {
                return refuse(argument, "takes 1 ms to 24 hours");
            }
        }
        if !WINDOWS.contains(&config.window) {
            return refuse("window", "takes 10 ms to 24 hours");
        }
        for (argument, rate) in [
            ("failure_rate", config.failure_rate),
            ("slow_rate", config.slow_rate),
        ] {
            if !(rate > 0.0 && rate <= 1.0) {
                return refuse(argument, "takes a share of the calls, above 0 and at most 1");
            }
        }
        if config.minimum_calls == 0 {
            return refuse("minimum_calls", "takes 1 or more");
        }
        if config.probes == 0 {
            return refuse("probes", "takes 1 or more");
        }
        if let (Some(slow), Some(deadline)) = (config.slow_call, config.deadline)
            && slow >= deadline
        {
            return refuse("slow_call", "takes less than the deadline");
        }
        Ok(config)
    }
}

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const SPANS: RangeInclusive<Duration> = Duration::from_millis(1)..=LONGEST;
const WINDOWS: RangeInclusive<Duration> = Duration::from_millis(10)..=LONGEST;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let new = GuardedConfig::builder;
        assert!(new().build().is_ok());
        let second = Duration::from_secs(1);
        let day = Duration::from_secs(24 * 60 * 60);
        assert!(new().deadline(day).slow_call(second).build().is_ok());
        let span = "takes 1 ms to 24 hours";
        let rate = "takes a share of the calls, above 0 and at most 1";
        let cases = [
            (new().deadline(Duration::ZERO), "deadline", span),
            (new().deadline(Duration::MAX), "deadline", span),
            (new().slow_call(Duration::ZERO), "slow_call", span),
            (new().failing_for(Duration::ZERO), "failing_for", span),
            (new().open_for(Duration::ZERO), "open_for", span),
            (
                new().window(Duration::from_millis(9)),
                "window",
                "takes 10 ms to 24 hours",
            ),
            (new().failure_rate(0.0), "failure_rate", rate),
            (new().failure_rate(f64::NAN), "failure_rate", rate),
            (new().slow_rate(1.01), "slow_rate", rate),
            (new().minimum_calls(0), "minimum_calls", "takes 1 or more"),
            (new().probes(0), "probes", "takes 1 or more"),
            (
                new().deadline(second).slow_call(second),
                "slow_call",
                "takes less than the deadline",
            ),
        ];
        for (builder, argument, reason) in cases {
            let error = builder.build().unwrap_err();
            assert_eq!(error.to_string(), format!("invalid {argument}: {reason}"));
        }
    }
}
