//! The instant by which a call must have ended, carried through every step of it.

use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Stage};

/// The instant by which a call must have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    after: Duration,
}

impl Deadline {
    /// `after` from now.
    pub(crate) fn after(after: Duration) -> Self {
        Self {
            at: clock::now() + after,
            after,
        }
    }

    /// This one, or an earlier one by which a layer above wants the results.
    pub(crate) fn or_wanted(self) -> Self {
        match cache_core::deadline::current() {
            Some(wanted) if wanted < self.at => Self::until(wanted),
            _ => self,
        }
    }

    /// `at`, for what begins now.
    pub(crate) fn until(at: Instant) -> Self {
        Self {
            at,
            after: at.saturating_duration_since(clock::now()),
        }
    }

    /// How long the call was given.
    pub(crate) const fn given(&self) -> Duration {
        self.after
    }

    pub(crate) const fn at(&self) -> Instant {
        self.at
    }

    /// When the call began.
    #[cfg(feature = "redis-wire")]
    pub(crate) fn begun(&self) -> Instant {
        self.at - self.after
    }

    /// What is left of it.
    pub(crate) fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(clock::now())
    }

    /// The error of a call that it ended.
    pub(crate) const fn passed(&self, stage: Stage) -> CacheError {
        CacheError::Timeout {
            stage,
            after: self.after,
        }
    }

    /// Runs `future` until it is done or the deadline passes.
    pub(crate) async fn limit<T>(
        &self,
        stage: Stage,
        future: impl Future<Output = Result<T, CacheError>>,
    ) -> Result<T, CacheError> {
        match tokio::time::timeout_at(self.at, future).await {
            Ok(result) => result,
            Err(_) => Err(self.passed(stage)),
        }
    }
}
