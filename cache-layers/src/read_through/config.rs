//! Configuration of a read-through: every setting, its default, and what does not go together.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheError, Ttl};

use super::clock::{SystemClock, WallClock};
use super::events::ReadThroughEvent;
use crate::listener::{Listener, MaybeListener};
use crate::refuse::refuse;

/// The configuration of a [`ReadThrough`](super::ReadThrough).
///
/// ```
/// use std::time::Duration;
/// use cache_layers::ReadThroughConfig;
/// use cache_layers::read_through::RefreshAhead;
///
/// let config = ReadThroughConfig::builder()
///     .life(Duration::from_secs(600))
///     .refresh_ahead(RefreshAhead::Before(Duration::from_secs(60)))
///     .stale_limit(Duration::from_secs(3_600))
///     .build()?;
/// # let _ = config;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReadThroughConfig {
    pub(super) life: Duration,
    pub(super) negative_life: Duration,
    pub(super) jitter: f64,
    pub(super) refresh_ahead: RefreshAhead,
    pub(super) stale_limit: Duration,
    pub(super) retry_after: Duration,
    pub(super) soft_timeout: Option<Duration>,
    pub(super) hard_timeout: Duration,
    pub(super) cache_deadline: Duration,
    pub(super) coordination: Coordination,
    pub(super) failure_hold: Duration,
    pub(super) hit_for_miss: Duration,
    pub(super) abandoned: Abandoned,
    pub(super) max_payload: usize,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) listener: MaybeListener<ReadThroughEvent>,
}

/// When a value that is still fresh is refreshed in the background. Only an access starts a refresh, so a value that
/// is never read is not refreshed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RefreshAhead {
    /// Never.
    Never,
    /// After this fraction of its TTL: above 0, below 1.
    AtFraction(f64),
    /// This long before its expiry. A value whose TTL is not longer than that is not refreshed.
    Before(Duration),
}

/// Which callers share one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coordination {
    /// The callers of this process: one load per key and process.
    Process,
    /// All processes on the same cache: one load per key, by a lease next to the value.
    Fleet {
        /// The TTL of the lease if its holder does not renew it. This is the longest time that a killed holder keeps
        /// the others waiting.
        lease: Duration,
    },
}

/// What happens to a load when all its waiters have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abandoned {
    /// It goes on, and its value is stored.
    Finish,
    /// It is dropped, and the next call loads again.
    Cancel,
}

/// Longer TTLs count as this: about 100 years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Default for ReadThroughConfig {
    fn default() -> Self {
        Self {
            life: Duration::from_secs(300),
            negative_life: Duration::from_secs(10),
            jitter: 0.1,
            refresh_ahead: RefreshAhead::AtFraction(0.8),
            stale_limit: Duration::ZERO,
            retry_after: Duration::from_secs(5),
            soft_timeout: None,
            hard_timeout: Duration::from_secs(30),
            cache_deadline: Duration::from_millis(500),
            coordination: Coordination::Fleet {
                lease: Duration::from_secs(10),
            },
            failure_hold: Duration::from_secs(10),
            hit_for_miss: Duration::from_secs(10),
            abandoned: Abandoned::Finish,
            max_payload: 1024 * 1024,
            clock: Arc::new(SystemClock),
            listener: MaybeListener::default(),
        }
    }
}

impl ReadThroughConfig {
    /// Starts with the defaults.
    pub fn builder() -> ReadThroughConfigBuilder {
        ReadThroughConfigBuilder::default()
    }

    /// The TTL of the lease, if there is one.
    pub(super) const fn lease(&self) -> Option<Duration> {
        match self.coordination {
            Coordination::Process => None,
            Coordination::Fleet { lease } => Some(lease),
        }
    }

    /// How long an entry that a load will replace has to stay where it is.
    pub(super) fn load_span(&self) -> Duration {
        self.hard_timeout + self.cache_deadline * 2 + self.lease().unwrap_or_default()
    }

    /// Reduces `promised` by jitter, within what can be stored. Zero stays zero.
    pub(super) fn jittered(&self, promised: Duration, chance: f64) -> Duration {
        let promised = promised.min(LONGEST);
        promised.saturating_sub(promised.mul_f64((self.jitter * chance).clamp(0.0, 1.0)))
    }
}

/// Builds a [`ReadThroughConfig`]. A setter never fails; [`build`](Self::build) reports what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ReadThroughConfigBuilder {
    config: ReadThroughConfig,
}

impl ReadThroughConfigBuilder {
    /// The TTL of a value if the loader does not set one. Default: 5 minutes.
    pub const fn life(mut self, life: Duration) -> Self {
        self.config.life = life;
        self
    }

    /// The TTL of "there is none" if the loader does not set one. Default: 10 seconds.
    pub const fn negative_life(mut self, life: Duration) -> Self {
        self.config.negative_life = life;
        self
    }

    /// The part by which a TTL may be shorter than promised, at random, so that values that were loaded together do
    /// not expire together: 0 to 1. Never longer. Default: 0.1.
    pub const fn jitter(mut self, part: f64) -> Self {
        self.config.jitter = part;
        self
    }

    /// When a value is refreshed ahead of its expiry. Default: [`RefreshAhead::AtFraction`] of 0.8.
    pub const fn refresh_ahead(mut self, refresh_ahead: RefreshAhead) -> Self {
        self.config.refresh_ahead = refresh_ahead;
        self
    }

    /// How long after its expiry a value may be returned if the load fails or takes too long (stale-if-error). It is
    /// stored that much longer. Default: zero, never.
    pub const fn stale_limit(mut self, limit: Duration) -> Self {
        self.config.stale_limit = limit;
        self
    }

    /// How long this process does not try again after a failed load or refresh of a key whose old value can be
    /// returned. Default: 5 seconds.
    pub const fn retry_after(mut self, time: Duration) -> Self {
        self.config.retry_after = time;
        self
    }

    /// How long a call waits for a load if it has a stale value to return instead. The load goes on. Default: none,
    /// the call waits for the load.
    pub const fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.config.soft_timeout = Some(timeout);
        self
    }

    /// How long a loader may take, and a call may wait. Default: 30 seconds.
    pub const fn hard_timeout(mut self, timeout: Duration) -> Self {
        self.config.hard_timeout = timeout;
        self
    }

    /// The time that a call may spend on the cache, all its operations together. Default: 500 milliseconds.
    pub const fn cache_deadline(mut self, deadline: Duration) -> Self {
        self.config.cache_deadline = deadline;
        self
    }

    /// Which callers share one load. Default: [`Coordination::Fleet`] with a lease of 10 seconds.
    pub const fn coordination(mut self, coordination: Coordination) -> Self {
        self.config.coordination = coordination;
        self
    }

    /// How long no process of the fleet tries again after a failed load. Callers get the stale value, or
    /// [`ReadError::HeldBack`](super::ReadError::HeldBack). After a failed refresh ahead of expiry no process
    /// refreshes for that long, but loads are tried. Zero: the next call tries. Has no meaning without a fleet.
    /// Default: 10 seconds.
    pub const fn failure_hold(mut self, hold: Duration) -> Self {
        self.config.failure_hold = hold;
        self
    }

    /// How long the processes of the fleet load a key without waiting for each other, after a load whose result may
    /// not be stored (too large, [not stored](super::Loaded::not_stored)). Each such load restarts the time. Zero:
    /// they always load one after the other. Has no meaning without a fleet. Default: 10 seconds.
    pub const fn hit_for_miss(mut self, time: Duration) -> Self {
        self.config.hit_for_miss = time;
        self
    }

    /// What happens to a load without waiters. Default: [`Abandoned::Finish`].
    pub const fn abandoned(mut self, policy: Abandoned) -> Self {
        self.config.abandoned = policy;
        self
    }

    /// The largest value that is stored, in bytes. A larger one is returned and counted, but not stored. Default:
    /// 1 MiB.
    pub const fn max_payload(mut self, bytes: usize) -> Self {
        self.config.max_payload = bytes;
        self
    }

    /// The time of day. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.config.clock = clock;
        self
    }

    /// Receives the events of the read-through. Default: none.
    pub fn listener(mut self, listener: Arc<dyn Listener<ReadThroughEvent>>) -> Self {
        self.config.listener = MaybeListener::of(listener);
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the first invalid setting and what it accepts.
    pub fn build(self) -> Result<ReadThroughConfig, CacheError> {
        let config = self.config;
        let spans = [
            ("life", config.life),
            ("negative_life", config.negative_life),
            ("hard_timeout", config.hard_timeout),
            ("cache_deadline", config.cache_deadline),
            ("lease", config.lease().unwrap_or(LEAST)),
            ("stale_limit", config.stale_limit.max(LEAST)),
            ("retry_after", config.retry_after.max(LEAST)),
            ("failure_hold", config.failure_hold.max(LEAST)),
            ("hit_for_miss", config.hit_for_miss.max(LEAST)),
            ("soft_timeout", config.soft_timeout.unwrap_or(LEAST)),
        ];
        for (argument, span) in spans {
            if span < LEAST || span > LONGEST {
                return refuse(argument, "takes 1 ms to 100 years");
            }
        }
        if !(0.0..=1.0).contains(&config.jitter) {
            return refuse("jitter", "takes a part of the life, 0 to 1");
        }
        match config.refresh_ahead {
            RefreshAhead::AtFraction(part) if !(part > 0.0 && part < 1.0) => {
                return refuse("refresh_ahead", "takes a fraction above 0 and below 1");
            }
            RefreshAhead::Before(Duration::ZERO) => {
                return refuse("refresh_ahead", "takes a time above zero, or RefreshAhead::Never");
            }
            _ => {}
        }
        if config
            .soft_timeout
            .is_some_and(|soft| soft >= config.hard_timeout)
        {
            return refuse("soft_timeout", "takes less than the hard timeout");
        }
        Ok(config)
    }
}

const LEAST: Duration = Duration::from_millis(1);
const _: () = assert!(
    LONGEST.as_secs() * 4 < Ttl::MAX.as_secs(),
    "any sum of lives can be stored"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(builder: ReadThroughConfigBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let new = ReadThroughConfig::builder;
        assert!(new().build().is_ok());
        assert_eq!(
            refused(new().life(Duration::ZERO)),
            "invalid life: takes 1 ms to 100 years"
        );
        assert_eq!(
            refused(new().life(Duration::MAX)),
            "invalid life: takes 1 ms to 100 years"
        );
        assert_eq!(
            refused(new().jitter(1.5)),
            "invalid jitter: takes a part of the life, 0 to 1"
        );
        assert_eq!(
            refused(new().jitter(f64::NAN)),
            "invalid jitter: takes a part of the life, 0 to 1"
        );
        assert_eq!(
            refused(new().refresh_ahead(RefreshAhead::AtFraction(1.0))),
            "invalid refresh_ahead: takes a fraction above 0 and below 1"
        );
        assert_eq!(
            refused(new().refresh_ahead(RefreshAhead::Before(Duration::ZERO))),
            "invalid refresh_ahead: takes a time above zero, or RefreshAhead::Never"
        );
        assert_eq!(
            refused(new().soft_timeout(Duration::from_secs(30))),
            "invalid soft_timeout: takes less than the hard timeout"
        );
        assert_eq!(
            refused(new().coordination(Coordination::Fleet {
                lease: Duration::ZERO
            })),
            "invalid lease: takes 1 ms to 100 years"
        );
    }
}
