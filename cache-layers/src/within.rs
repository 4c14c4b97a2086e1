//! A deadline over what a recipe asks of the cache.

use std::time::Duration;

use cache_core::{CacheError, Stage};

/// Waits for `operation`, but no longer than `deadline`.
pub(crate) async fn within<T>(
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
