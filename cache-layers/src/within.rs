//! A deadline for the cache operations of a recipe.

use std::time::Duration;

use cache_core::deadline::counted_from;
use cache_core::{CacheError, Stage, clock};

/// Waits for `operation`, but at most for `deadline`. Its calls count as one request for the deadlines of the layers
/// below.
pub(crate) async fn within<T>(
    deadline: Duration,
    operation: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    ended_after(deadline, counted_from(clock::now(), operation)).await
}

/// Waits for `operation`, but at most for `deadline`. It says itself which of its calls count together.
pub(crate) async fn ended_after<T>(
    deadline: Duration,
    operation: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    tokio::time::timeout(deadline, operation)
        .await
        .unwrap_or(Err(CacheError::Timeout {
            stage: Stage::Call,
            after: deadline,
        }))
}
