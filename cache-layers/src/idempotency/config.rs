//! Configuration of the recipe: every setting, its default, and what does not go together.

use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;

use super::events::IdempotencyEvent;
use crate::listener::{Listener, MaybeListener};
use crate::refuse::refuse;

/// The configuration of an [`Idempotency`](super::Idempotency).
///
/// ```
/// use std::time::Duration;
/// use cache_layers::idempotency::{IdempotencyConfig, OnFailure};
///
/// let config = IdempotencyConfig::builder()
///     .response_life(Duration::from_secs(48 * 60 * 60))
///     .on_failure(OnFailure::RunUnprotected)
///     .build()?;
/// # let _ = config;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
pub struct IdempotencyConfig {
    pub(super) response_life: Duration,
    pub(super) claim_life: Duration,
    pub(super) max_run: Duration,
    pub(super) max_response: usize,
    pub(super) cache_deadline: Duration,
    pub(super) on_failure: OnFailure,
    pub(super) listener: MaybeListener<IdempotencyEvent>,
}

/// What happens to a request if the cache cannot say whether it has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// It does not run ("fail closed"): [`acquire`](super::Idempotency::acquire) returns the cache's error.
    Refuse,
    /// It runs ("fail open"), with a claim that [is not protected](super::Claim::is_protected): the request may run
    /// twice, and at the same time as a retry.
    RunUnprotected,
}

const LEAST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Default for IdempotencyConfig {
    fn default() -> Self {
        Self {
            response_life: Duration::from_secs(24 * 60 * 60),
            claim_life: Duration::from_secs(60),
            max_run: Duration::from_secs(15 * 60),
            max_response: 1024 * 1024,
            cache_deadline: Duration::from_secs(1),
            on_failure: OnFailure::Refuse,
            listener: MaybeListener::default(),
        }
    }
}

impl IdempotencyConfig {
    /// Starts with the defaults.
    pub fn builder() -> IdempotencyConfigBuilder {
        IdempotencyConfigBuilder::default()
    }
}

/// Builds an [`IdempotencyConfig`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct IdempotencyConfigBuilder {
    config: IdempotencyConfig,
}

impl IdempotencyConfigBuilder {
    /// How long a response and its key are stored. A retry within this time gets the response. Default: 24 hours.
    pub const fn response_life(mut self, life: Duration) -> Self {
        self.config.response_life = life;
        self
    }

    /// The TTL of a claim that is not extended. This is the longest time that a killed process keeps retries waiting.
    /// While the request runs, its claim is extended every third of this time. Default: 1 minute.
    pub const fn claim_life(mut self, life: Duration) -> Self {
        self.config.claim_life = life;
        self
    }

    /// How long a claim is extended. After that a hanging request loses its key. Choose more than the longest request
    /// takes. Default: 15 minutes.
    pub const fn max_run(mut self, time: Duration) -> Self {
        self.config.max_run = time;
        self
    }

    /// The largest response that is kept, in bytes. Of a larger one only the fact that the request ran is stored.
    /// Default: 1 MiB.
    pub const fn max_response(mut self, bytes: usize) -> Self {
        self.config.max_response = bytes;
        self
    }

    /// How long a caller waits for the cache: in one `acquire`, in one `complete`, in one `release`. Default:
    /// 1 second.
    pub const fn cache_deadline(mut self, deadline: Duration) -> Self {
        self.config.cache_deadline = deadline;
        self
    }

    /// What happens to a request if the cache fails. Default: [`OnFailure::Refuse`], because an operation with an
    /// idempotency key must not run twice, and nothing is lost if it has not run.
    pub const fn on_failure(mut self, policy: OnFailure) -> Self {
        self.config.on_failure = policy;
        self
    }

    /// Receives the [events](IdempotencyEvent) of requests. Default: none.
    pub fn listener(mut self, listener: Arc<dyn Listener<IdempotencyEvent>>) -> Self {
        self.config.listener = MaybeListener::of(listener);
        self
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`], which names the first invalid setting and what it accepts.
    pub fn build(self) -> Result<IdempotencyConfig, CacheError> {
        let config = self.config;
        let spans = [
            ("response_life", config.response_life),
            ("claim_life", config.claim_life),
            ("max_run", config.max_run),
            ("cache_deadline", config.cache_deadline),
        ];
        for (argument, span) in spans {
            if span < LEAST || span > LONGEST {
                return refuse(argument, "takes 1 ms to 100 years");
            }
        }
        // An extension is tried after a third of the TTL. If it fails, there must be time for another one.
        if config.claim_life < config.cache_deadline * 3 {
            return refuse("claim_life", "takes three times the cache deadline or more");
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let new = IdempotencyConfig::builder;
        let refused = |builder: IdempotencyConfigBuilder| builder.build().unwrap_err().to_string();
        assert!(new().build().is_ok());
        assert_eq!(
            refused(new().response_life(Duration::ZERO)),
            "invalid response_life: takes 1 ms to 100 years"
        );
        assert_eq!(
            refused(new().max_run(Duration::MAX)),
            "invalid max_run: takes 1 ms to 100 years"
        );
        assert_eq!(
            refused(new().claim_life(Duration::from_secs(2))),
            "invalid claim_life: takes three times the cache deadline or more"
        );
    }
}
