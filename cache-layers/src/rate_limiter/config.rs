//! Configuration of a limiter. Quotas are separate.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheError, check_key};

use super::events::RateLimiterEvent;
use crate::clock::{SystemClock, WallClock};
use crate::listener::{Listener, MaybeListener};
use crate::refuse::refuse;

/// The configuration of a [`RateLimiter`](super::RateLimiter).
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

/// What happens to a call if the cache cannot say what was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// It is allowed, and counted in [`RateLimiterStats::uncounted`](super::RateLimiterStats::uncounted). A limit
    /// that protects from overuse should not stop a service.
    Allow,
    /// It is denied. For a limit that protects a secret, such as a limit on login attempts.
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

/// Builds a [`RateLimiterConfig`]. A setter never fails; [`build`](Self::build) reports what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RateLimiterConfigBuilder {
    config: RateLimiterConfig,
}

impl RateLimiterConfigBuilder {
    /// What happens to a call if the cache fails. Default: [`OnError::Allow`].
    pub const fn on_error(mut self, on_error: OnError) -> Self {
        self.config.on_error = on_error;
        self
    }

    /// The key whose TTL gives the server's time. All limiters that need the same windows use the same key. All
    /// services on a cache may share it. Default: `rate-limiter:#clock`.
    pub fn clock_key(mut self, key: impl Into<String>) -> Self {
        self.config.clock_key = key.into();
        self
    }

    /// How long this process remembers a denial and denies calls of the same subject by it, without asking. Zero:
    /// never. A remembered denial can only be wrong if calls have different costs. A cheap one may be denied for that
    /// long because an expensive one, denied elsewhere at that moment, had not taken its cost back yet. Default:
    /// 10 milliseconds.
    pub const fn denial_memory(mut self, time: Duration) -> Self {
        self.config.denial_memory = time;
        self
    }

    /// How long a call waits for the cache, all its round trips together. Then [`on_error`](Self::on_error) decides.
    /// From 1 ms to 1 hour. Default: 500 milliseconds.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.config.deadline = deadline;
        self
    }

    /// The time of day. Used by the process that creates the clock key, and by a process that could not read the key
    /// so far. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.config.clock = clock;
        self
    }

    /// Receives the [decisions](RateLimiterEvent) about calls. Default: none.
    pub fn listener(mut self, listener: Arc<dyn Listener<RateLimiterEvent>>) -> Self {
        self.config.listener = MaybeListener::of(listener);
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the first invalid setting and what it accepts.
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
