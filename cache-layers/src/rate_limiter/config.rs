//! How a limiter behaves, whatever the quota.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheError, check_key};

use super::events::RateLimiterEvent;
use crate::clock::{SystemClock, WallClock};
use crate::listener::{Listener, MaybeListener};
use crate::refuse::refuse;

/// The choices of a [`RateLimiter`](super::RateLimiter).
///
/// ```
/// use cache_layers::rate_limiter::{OnError, RateLimiterConfig};
///
/// let config = RateLimiterConfig::builder()
///     .on_error(OnError::Deny)
///     .clock_key("billing:#clock")
///     .build()?;
/// # let _ = config;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RateLimiterConfig {
    pub(super) on_error: OnError,
    pub(super) clock_key: String,
    pub(super) denial_memory: Duration,
    pub(super) deadline: Duration,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) listener: MaybeListener<RateLimiterEvent>,
}

/// What becomes of a call when the cache cannot say what was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// It is allowed, and counted in [`RateLimiterStats::uncounted`](super::RateLimiterStats::uncounted): a
    /// limit that protects from overuse should not be what stops a service.
    Allow,
    /// It is denied: for a limit that protects a secret, such as one on attempts to log in.
    Deny,
    /// The caller gets the error.
    Fail,
}

impl Default for RateLimiterConfig {
    fn default() -> Self {
        Self {
            on_error: OnError::Allow,
            clock_key: "rate-limiter:#clock".into(),
            denial_memory: Duration::from_millis(10),
            deadline: Duration::from_millis(500),
            clock: Arc::new(SystemClock),
            listener: MaybeListener::default(),
        }
    }
}

impl RateLimiterConfig {
    /// Starts with the defaults.
    pub fn builder() -> RateLimiterConfigBuilder {
        RateLimiterConfigBuilder::default()
    }
}

/// Makes a [`RateLimiterConfig`]. A setter never fails; [`build`](Self::build) says what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RateLimiterConfigBuilder {
    config: RateLimiterConfig,
}

impl RateLimiterConfigBuilder {
    /// What becomes of a call when the cache fails. Default: [`OnError::Allow`].
    pub const fn on_error(mut self, on_error: OnError) -> Self {
        self.config.on_error = on_error;
        self
    }

    /// The key by whose life the server's clock is read. All limiters whose windows have to be the same
    /// use the same; it may be shared by all services on a cache. Default: `rate-limiter:#clock`.
    pub fn clock_key(mut self, key: impl Into<String>) -> Self {
        self.config.clock_key = key.into();
        self
    }

    /// For how long after a denial this process denies calls of the same subject by what it saw then,
    /// without asking. Zero: never. It can only be wrong where calls of different costs meet: a cheap one may be
    /// denied for that long because a dearer one, denied elsewhere at that moment, had not given back
    /// yet what it asked for. Default: 10 milliseconds.
    pub const fn denial_memory(mut self, time: Duration) -> Self {
        self.config.denial_memory = time;
        self
    }

    /// How long a call waits for the cache, all its round trips together; then [`on_error`](Self::on_error) decides.
    /// From 1 ms to 1 hour. Default: 500 milliseconds.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.config.deadline = deadline;
        self
    }

    /// The time of day. It is asked by the process that makes the clock key, and by one that cannot read it so far.
    /// Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.config.clock = clock;
        self
    }

    /// What receives [what is decided](RateLimiterEvent) about calls. Default: nothing.
    pub fn listener(mut self, listener: Arc<dyn Listener<RateLimiterEvent>>) -> Self {
        self.config.listener = MaybeListener::of(listener);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] that names the first choice that cannot be, and what can.
    pub fn build(self) -> Result<RateLimiterConfig, CacheError> {
        check_key(&self.config.clock_key).map_err(|_| CacheError::InvalidInput {
            argument: "clock_key",
            reason: "takes a key of 1 to 65536 bytes".into(),
        })?;
        if self.config.denial_memory > Duration::from_secs(1) {
            return refuse("denial_memory", "takes up to 1 second");
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(3_600)).contains(&self.config.deadline) {
            return refuse("deadline", "takes 1 ms to 1 hour");
        }
        Ok(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |builder: RateLimiterConfigBuilder| builder.build().unwrap_err().to_string();
        assert!(RateLimiterConfig::builder().build().is_ok());
        assert_eq!(
            refused(RateLimiterConfig::builder().clock_key("")),
            "invalid clock_key: takes a key of 1 to 65536 bytes"
        );
        assert_eq!(
            refused(RateLimiterConfig::builder().denial_memory(Duration::from_secs(2))),
            "invalid denial_memory: takes up to 1 second"
        );
        assert_eq!(
            refused(RateLimiterConfig::builder().deadline(Duration::ZERO)),
            "invalid deadline: takes 1 ms to 1 hour"
        );
    }
}
