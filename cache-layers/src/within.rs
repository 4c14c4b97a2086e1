//! A deadline over what a recipe asks of the cache.

use std::time::Duration;

use cache_core::deadline::counted_from;
use cache_core::{CacheError, Stage, clock};

/// Waits for `operation`, but no longer than `deadline`. The calls that it makes count as one for the deadlines of the
/// layers below.
pub(crate) async fn within<T>(
    deadline: Duration,
    operation: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    tokio::time::timeout(deadline, counted_from(clock::now(), operation))
        .await
        .unwrap_or(Err(CacheError::Timeout {
            stage: Stage::Call,
            after: deadline,
        }))
}
