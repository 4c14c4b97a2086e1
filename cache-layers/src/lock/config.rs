//! How locks behave.

use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;

use super::events::LockEvent;
use crate::clock::{SystemClock, WallClock};
use crate::listener::{Listener, MaybeListener};
use crate::refuse::refuse;

/// The choices of a [`Lock`](super::Lock).
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

    /// For how long the holder relies on a lease, counted from when it began to ask for it.
    pub(super) fn relied_on(&self) -> Duration {
        self.lease - self.margin()
    }

    fn margin(&self) -> Duration {
        self.margin.unwrap_or(self.lease / 10)
    }
}

/// Makes a [`LockConfig`]. A setter never fails; [`build`](Self::build) says what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LockConfigBuilder {
    config: LockConfig,
}

impl LockConfigBuilder {
    /// How long a lock lives without its holder extending it: the longest time that one who was killed keeps
    /// others waiting. 10 milliseconds to a day; of the order of seconds, as a lease that a pause of the
    /// process outlasts is lost. Default: 10 seconds.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.config.lease = lease;
        self
    }

    /// How long before the lease can have run out the holder takes it as lost: room for clocks that do not run
    /// at the same speed, and for the guarded work to be dropped. Less than half of the lease. Default: a tenth
    /// of the lease.
    pub const fn margin(mut self, margin: Duration) -> Self {
        self.config.margin = Some(margin);
        self
    }

    /// Whether a lock that is held is extended in the background, every third of the lease. Default: yes.
    pub const fn auto_extend(mut self, extend: bool) -> Self {
        self.config.auto_extend = extend;
        self
    }

    /// How often, on average, who waits looks again where the client does not report changes; by chance between
    /// half of it and one and a half. Default: 100 milliseconds.
    pub const fn poll(mut self, every: Duration) -> Self {
        self.config.poll = every;
        self
    }

    /// How long the counter of fencing numbers lives, from its first number on; then it begins anew, at a
    /// greater one as long as the lock was not taken more than a thousand times a second. A day at least.
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

    /// What receives [what happens](LockEvent) to locks. Default: nothing.
    pub fn listener(mut self, listener: Arc<dyn Listener<LockEvent>>) -> Self {
        self.config.listener = MaybeListener::of(listener);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] that names the first choice that cannot be, and what can.
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
