//! Runs a request to AWS without the SDK's own log.
//!
//! At level TRACE the SDK logs whole requests: values, keysets, session tokens. Errors report what matters
//! about a request.
//!
//! Not in here: the requests.

use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

/// Runs `request` without logging. On the heap, because the SDK's futures are large.
pub(crate) async fn quiet<T>(request: impl Future<Output = T> + Send) -> T {
    Box::pin(request.with_subscriber(NoSubscriber::new())).await
}
