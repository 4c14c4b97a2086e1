//! Configuration of generations.

use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;

use super::events::GenerationsEvent;
use crate::clock::{SystemClock, WallClock};
use crate::listener::{Listener, MaybeListener};
use crate::refuse::refuse;

/// The configuration of [`Generations`](super::Generations).
///
/// ```
/// use std::time::Duration;
/// use cache_layers::GenerationsConfig;
///
/// let config = GenerationsConfig::builder().near_life(Duration::from_millis(200)).build()?;
/// # let _ = config;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct GenerationsConfig {
    pub(super) near_life: Duration,
    pub(super) deadline: Duration,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) listener: MaybeListener<GenerationsEvent>,
}

impl Default for GenerationsConfig {
    fn default() -> Self {
        Self {
            near_life: Duration::from_secs(1),
            deadline: Duration::from_millis(500),
            clock: Arc::new(SystemClock),
            listener: MaybeListener::default(),
        }
    }
}

impl GenerationsConfig {
    /// Starts with the defaults.
    pub fn builder() -> GenerationsConfigBuilder {
        GenerationsConfigBuilder::default()
    }
}

/// Builds a [`GenerationsConfig`]. A setter never fails; [`build`](Self::build) reports what is wrong.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct GenerationsConfigBuilder {
    config: GenerationsConfig,
}

impl GenerationsConfigBuilder {
    /// How long this process uses a generation that it read. This is also the longest time that it may not notice a
    /// new one. Zero: every call asks. Default: 1 second.
    pub const fn near_life(mut self, life: Duration) -> Self {
        self.config.near_life = life;
        self
    }

    /// How long a call waits for the cache, all its round trips together. A shared read goes on for the other
    /// callers. From 1 ms to 1 hour. Default: 500 milliseconds.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.config.deadline = deadline;
        self
    }

    /// The time of day, from which a namespace gets its first number. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.config.clock = clock;
        self
    }

    /// Receives the [events](GenerationsEvent) of generations. Default: none.
    pub fn listener(mut self, listener: Arc<dyn Listener<GenerationsEvent>>) -> Self {
        self.config.listener = MaybeListener::of(listener);
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the first invalid setting and what it accepts.
    pub fn build(self) -> Result<GenerationsConfig, CacheError> {
        if self.config.near_life > Duration::from_secs(3_600) {
            return refuse("near_life", "takes up to 1 hour");
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
    fn a_life_that_would_hide_a_flush_is_refused() {
        let with = |life| GenerationsConfig::builder().near_life(life).build();
        assert!(with(Duration::ZERO).is_ok());
        assert_eq!(
            with(Duration::from_secs(3_601)).unwrap_err().to_string(),
            "invalid near_life: takes up to 1 hour"
        );
        let without_deadline = GenerationsConfig::builder().deadline(Duration::ZERO).build();
        assert_eq!(
            without_deadline.unwrap_err().to_string(),
            "invalid deadline: takes 1 ms to 1 hour"
        );
    }
}
