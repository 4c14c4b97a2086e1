//! Configuration of a keyring: every setting, its default, and what is refused.

use std::ops::RangeInclusive;
use std::time::Duration;

use cache_core::CacheError;

use crate::refuse::refuse;

/// The configuration of a [`Keyring`](super::Keyring).
///
/// ```
/// use std::time::Duration;
/// use cache_layers::KeyringConfig;
///
/// let config = KeyringConfig::builder().refresh_every(Duration::from_secs(300)).build()?;
/// # let _ = config;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct KeyringConfig {
    pub(super) refresh_every: Duration,
    pub(super) jitter: f64,
    pub(super) least_gap: Duration,
    pub(super) fetch_limit: Duration,
    pub(super) unknown_key_wait: Duration,
}

impl Default for KeyringConfig {
    fn default() -> Self {
        Self {
            refresh_every: Duration::from_secs(15 * 60),
            jitter: 0.1,
            least_gap: Duration::from_secs(30),
            fetch_limit: Duration::from_secs(10),
            unknown_key_wait: Duration::from_millis(250),
        }
    }
}

impl KeyringConfig {
    /// Starts with the defaults.
    pub fn builder() -> KeyringConfigBuilder {
        KeyringConfigBuilder::default()
    }
}

/// Builds a [`KeyringConfig`]. A setter never fails; [`build`](Self::build) reports what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct KeyringConfigBuilder {
    config: KeyringConfig,
}

impl KeyringConfigBuilder {
    /// The longest time from one refresh to the next. The steps of a rotation rely on it. From 10 ms to 24 hours.
    /// Default: 15 minutes.
    pub const fn refresh_every(mut self, time: Duration) -> Self {
        self.config.refresh_every = time;
        self
    }

    /// The part of that time by which a refresh may come earlier, at random, so that instances that started together
    /// do not refresh together. From 0 to 0.5. Default: 0.1.
    pub const fn jitter(mut self, share: f64) -> Self {
        self.config.jitter = share;
        self
    }

    /// The time between a refresh and the next one that is not due: because a value names an unknown key, or because
    /// the last one failed (it then doubles with each failure). From 1 ms to 1 hour. Default: 30 seconds.
    pub const fn least_gap(mut self, time: Duration) -> Self {
        self.config.least_gap = time;
        self
    }

    /// How long fetching and opening the keyset may take. From 10 ms to 5 minutes. Default: 10 seconds.
    pub const fn fetch_limit(mut self, time: Duration) -> Self {
        self.config.fetch_limit = time;
        self
    }

    /// How long a call that reads a value of an unknown key waits for the refresh that this starts. If no refresh may
    /// start yet ([`least_gap`](Self::least_gap)), it does not wait. Zero to 10 seconds. Default: 250 ms.
    pub const fn unknown_key_wait(mut self, time: Duration) -> Self {
        self.config.unknown_key_wait = time;
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the first refused setting and what it accepts.
    pub fn build(self) -> Result<KeyringConfig, CacheError> {
        let config = self.config;
        if !REFRESHES.contains(&config.refresh_every) {
            return refuse("refresh_every", "takes 10 ms to 24 hours");
        }
        if !(0.0..=0.5).contains(&config.jitter) {
            return refuse("jitter", "takes a share of the time, from 0 to 0.5");
        }
        if !GAPS.contains(&config.least_gap) {
            return refuse("least_gap", "takes 1 ms to 1 hour");
        }
        if !FETCHES.contains(&config.fetch_limit) {
            return refuse("fetch_limit", "takes 10 ms to 5 minutes");
        }
        if config.unknown_key_wait > LONGEST_WAIT {
            return refuse("unknown_key_wait", "takes zero to 10 seconds");
        }
        Ok(config)
    }
}

const REFRESHES: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 60 * 60);
const GAPS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60 * 60);
const FETCHES: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(5 * 60);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_choice_is_refused_by_name() {
        let new = KeyringConfig::builder;
        assert!(new().build().is_ok());
        assert!(new().jitter(0.0).unknown_key_wait(Duration::ZERO).build().is_ok());
        let day = Duration::from_secs(24 * 60 * 60);
        let cases = [
            (
                new().refresh_every(Duration::ZERO),
                "refresh_every: takes 10 ms to 24 hours",
            ),
            (
                new().refresh_every(day * 2),
                "refresh_every: takes 10 ms to 24 hours",
            ),
            (
                new().jitter(0.6),
                "jitter: takes a share of the time, from 0 to 0.5",
            ),
            (
                new().jitter(f64::NAN),
                "jitter: takes a share of the time, from 0 to 0.5",
            ),
            (new().least_gap(Duration::ZERO), "least_gap: takes 1 ms to 1 hour"),
            (
                new().fetch_limit(Duration::ZERO),
                "fetch_limit: takes 10 ms to 5 minutes",
            ),
            (
                new().unknown_key_wait(day),
                "unknown_key_wait: takes zero to 10 seconds",
            ),
        ];
        for (builder, text) in cases {
            assert_eq!(
                builder.build().unwrap_err().to_string(),
                format!("invalid {text}")
            );
        }
    }
}
