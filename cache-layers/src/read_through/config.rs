//! How a read-through behaves: every choice, its default, and what does not go together.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheError, Ttl};

use super::clock::{SystemClock, WallClock};
use super::events::ReadThroughEvent;
use crate::listener::{Listener, MaybeListener};
use crate::refuse::refuse;

/// The choices of a [`ReadThrough`](super::ReadThrough).
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

/// When a value that is still fresh is loaded anew in the background. Only an access starts it: a value
/// that nobody reads is not refreshed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RefreshAhead {
    /// Never.
    Never,
    /// After this fraction of its life: above 0, below 1.
    AtFraction(f64),
    /// This long before its expiry; a value that lives no longer than that is not refreshed.
    Before(Duration),
}

/// Who agrees on who loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coordination {
    /// The callers of this process: one load per key and process.
    Process,
    /// All processes on the same cache: one load per key, by a lease beside the value.
    Fleet {
        /// How long the lease lives without its holder renewing it. The longest time that a killed holder
        /// keeps the others waiting.
        lease: Duration,
    },
}

/// What becomes of a load when all who waited for it have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abandoned {
    /// It goes on, and its value is stored.
    Finish,
    /// It is dropped, and the next call loads anew.
    Cancel,
}

/// Lives that are longer count as this: about 100 years.
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

    /// How long the lease lives, if there is one.
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

    /// `promised`, less jitter, within what can be stored; zero stays zero.
    pub(super) fn jittered(&self, promised: Duration, chance: f64) -> Duration {
        let promised = promised.min(LONGEST);
        promised.saturating_sub(promised.mul_f64((self.jitter * chance).clamp(0.0, 1.0)))
    }
}

/// Makes a [`ReadThroughConfig`]. A setter never fails; [`build`](Self::build) says what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ReadThroughConfigBuilder {
    config: ReadThroughConfig,
}

impl ReadThroughConfigBuilder {
    /// How long a value lives whose loader does not say. Default: 5 minutes.
    pub const fn life(mut self, life: Duration) -> Self {
        self.config.life = life;
        self
    }

    /// How long "there is none" lives where its loader does not say. Default: 10 seconds.
    pub const fn negative_life(mut self, life: Duration) -> Self {
        self.config.negative_life = life;
        self
    }

    /// By which part of it a life may be shorter than promised, by chance, so that what was loaded
    /// together does not expire together: 0 to 1. Never longer. Default: 0.1.
    pub const fn jitter(mut self, part: f64) -> Self {
        self.config.jitter = part;
        self
    }

    /// When a value is loaded anew ahead of its expiry. Default: [`RefreshAhead::AtFraction`] of 0.8.
    pub const fn refresh_ahead(mut self, refresh_ahead: RefreshAhead) -> Self {
        self.config.refresh_ahead = refresh_ahead;
        self
    }

    /// How long beyond its life a value may be given where the load fails or takes too long. It is kept
    /// that much longer. Default: zero, never.
    pub const fn stale_limit(mut self, limit: Duration) -> Self {
        self.config.stale_limit = limit;
        self
    }

    /// How long this process does not try again after a failed load or refresh of a key whose old value
    /// can be given. Default: 5 seconds.
    pub const fn retry_after(mut self, time: Duration) -> Self {
        self.config.retry_after = time;
        self
    }

    /// How long a call waits for a load when it has a stale value to give instead; the load goes on.
    /// Default: none, it waits for the load.
    pub const fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.config.soft_timeout = Some(timeout);
        self
    }

    /// How long a loader may take, and a call may wait. Default: 30 seconds.
    pub const fn hard_timeout(mut self, timeout: Duration) -> Self {
        self.config.hard_timeout = timeout;
        self
    }

    /// What the cache may cost a call, all its operations together. Default: 500 milliseconds.
    pub const fn cache_deadline(mut self, deadline: Duration) -> Self {
        self.config.cache_deadline = deadline;
        self
    }

    /// Who agrees on who loads. Default: [`Coordination::Fleet`] with a lease of 10 seconds.
    pub const fn coordination(mut self, coordination: Coordination) -> Self {
        self.config.coordination = coordination;
        self
    }

    /// How long nobody in the fleet tries again after a failed load: callers get the stale value, or
    /// [`ReadError::HeldBack`](super::ReadError::HeldBack). After a refresh ahead of expiry that failed, nobody
    /// refreshes for that long, and loads are tried. Zero: the next call tries. Without a fleet it
    /// has no meaning. Default: 10 seconds.
    pub const fn failure_hold(mut self, hold: Duration) -> Self {
        self.config.failure_hold = hold;
        self
    }

    /// How long after a load whose result may not be stored (too large, [not
    /// stored](super::Loaded::not_stored)) the processes of the fleet load the key without waiting for each other;
    /// each such load begins the time anew. Zero: they always load one after the other. Without a fleet it has no
    /// meaning. Default: 10 seconds.
    pub const fn hit_for_miss(mut self, time: Duration) -> Self {
        self.config.hit_for_miss = time;
        self
    }

    /// What becomes of a load that nobody waits for any more. Default: [`Abandoned::Finish`].
    pub const fn abandoned(mut self, policy: Abandoned) -> Self {
        self.config.abandoned = policy;
        self
    }

    /// A larger value is returned and counted, and not stored; in bytes. Default: 1 MiB.
    pub const fn max_payload(mut self, bytes: usize) -> Self {
        self.config.max_payload = bytes;
        self
    }

    /// The time of day. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.config.clock = clock;
        self
    }

    /// Who hears what the read-through does. Default: nobody.
    pub fn listener(mut self, listener: Arc<dyn Listener<ReadThroughEvent>>) -> Self {
        self.config.listener = MaybeListener::of(listener);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] that names the first choice that cannot be, and what can.
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
