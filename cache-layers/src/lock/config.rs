//! Configuration of locks.

use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;

use super::events::LockEvent;
use crate::clock::{SystemClock, WallClock};
use crate::listener::{Listener, MaybeListener};
use crate::refuse::refuse;

/// The configuration of a [`Lock`](super::Lock).
///
/// ```
/// use std::time::Duration;
/// use cache_layers::LockConfig;
///
/// let config = LockConfig::builder().lease(Duration::from_secs(30)).build()?;
/// # let _ = config;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LockConfig {
    pub(super) lease: Duration,
    margin: Option<Duration>,
    pub(super) auto_extend: bool,
    pub(super) poll: Duration,
    pub(super) fence_life: Duration,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) listener: MaybeListener<LockEvent>,
}

impl Default for LockConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            margin: None,
            auto_extend: true,
            poll: Duration::from_millis(100),
            fence_life: Duration::from_secs(30 * DAY),
            clock: Arc::new(SystemClock),
            listener: MaybeListener::default(),
        }
    }
}

impl LockConfig {
    /// Starts with the defaults.
    pub fn builder() -> LockConfigBuilder {
        LockConfigBuilder::default()
    }

    /// How long the holder relies on a lease, counted from when it began the request.
    pub(super) fn relied_on(&self) -> Duration {
        self.lease - self.margin()
    }

    fn margin(&self) -> Duration {
        self.margin.unwrap_or(self.lease / 10)
    }
}

/// Builds a [`LockConfig`]. A setter never fails; [`build`](Self::build) reports what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LockConfigBuilder {
    config: LockConfig,
}

impl LockConfigBuilder {
    /// How long a lock lasts if its holder does not extend it. This is the longest time that a killed holder keeps
    /// others waiting. 10 milliseconds to 1 day. Choose seconds rather than milliseconds: a pause of the process that
    /// lasts longer than the lease loses the lock. Default: 10 seconds.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease;
        self
    }

    /// How long before the earliest possible end of the lease the holder treats the lock as lost. This leaves room
    /// for clocks that run at different speeds, and for the guarded work to be dropped. Less than half of the lease.
    /// Default: a tenth of the lease.
    pub const fn margin(mut self, margin: Duration) -> Self {
        self.config.margin = Some(margin);
        self
    }

    /// Whether a held lock is extended in the background, every third of the lease. Default: yes.
    pub const fn auto_extend(mut self, extend: bool) -> Self {
        self.config.auto_extend = extend;
        self
    }

    /// How often, on average, a waiting caller looks again if the client does not report changes. Each pause is
    /// random, between half of this and one and a half times this. Default: 100 milliseconds.
    pub const fn poll(mut self, every: Duration) -> Self {
        self.config.poll = every;
        self
    }

    /// The TTL of the counter of fencing numbers, counted from its first number. After that the counter starts again,
    /// at a greater number, unless the lock was acquired more than a thousand times a second. At least 1 day.
    /// Default: 30 days.
    pub const fn fence_life(mut self, life: Duration) -> Self {
        self.config.fence_life = life;
        self
    }

    /// The time of day, from which the first fencing number is made. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.config.clock = clock;
        self
    }

    /// Receives the [events](LockEvent) of locks. Default: none.
    pub fn listener(mut self, listener: Arc<dyn Listener<LockEvent>>) -> Self {
        self.config.listener = MaybeListener::of(listener);
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the first invalid setting and what it accepts.
    pub fn build(self) -> Result<LockConfig, CacheError> {
        let config = self.config;
        let (ms, days) = (Duration::from_millis, |days: u64| Duration::from_secs(days * DAY));
        if !(ms(10)..=days(1)).contains(&config.lease) {
            return refuse("lease", "takes 10 ms to 1 day");
        }
        if config.margin() >= config.lease / 2 {
            return refuse("margin", "takes less than half of the lease");
        }
        if !(ms(1)..=ms(60_000)).contains(&config.poll) {
            return refuse("poll", "takes 1 ms to 1 minute");
        }
        if !(days(1)..=days(36_500)).contains(&config.fence_life) {
            return refuse("fence_life", "takes 1 day to 100 years");
        }
        Ok(config)
    }
}

const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let new = LockConfig::builder;
        let refused = |builder: LockConfigBuilder| builder.build().unwrap_err().to_string();
        assert!(new().build().is_ok());
        assert_eq!(
            refused(new().lease(Duration::ZERO)),
            "invalid lease: takes 10 ms to 1 day"
        );
        assert_eq!(
            refused(new().margin(Duration::from_secs(5))),
            "invalid margin: takes less than half of the lease"
        );
        assert_eq!(
            refused(new().poll(Duration::ZERO)),
            "invalid poll: takes 1 ms to 1 minute"
        );
        assert_eq!(
            refused(new().fence_life(Duration::from_secs(60))),
            "invalid fence_life: takes 1 day to 100 years"
        );
    }
}
