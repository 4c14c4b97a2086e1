//! The deadline of a call, passed through all of its steps.

use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Stage};

/// The longest time that a call can be given. Every system's clock can represent it.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The instant by which a call must end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    after: Duration,
}

impl Deadline {
    /// The deadline `after` from now, at most a year.
    pub(crate) fn after(after: Duration) -> Self {
        let after = after.min(LONGEST);
        Self {
            at: clock::now() + after,
            after,
        }
    }

    /// This deadline, or the earlier one that a layer above has set.
    pub(crate) fn or_caller_deadline(self) -> Self {
        match cache_core::deadline::current() {
            Some(wanted) if wanted < self.at => Self::until(wanted),
            _ => self,
        }
    }

    /// The deadline `at`, for work that begins now.
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
    pub(crate) fn started_at(&self) -> Instant {
        self.at - self.after
    }

    /// The time that is left.
    pub(crate) fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(clock::now())
    }

    /// The error of a call that missed this deadline.
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
