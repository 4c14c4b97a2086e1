//! Runs a request to AWS without the SDK's own log.
//!
//! At level TRACE the SDK logs whole requests: values, keysets, session tokens. What matters about a request is in its
//! error.
//!
//! Not in here: the requests.

use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

/// Carries out `request` and lets it log nothing. On the heap, because the SDK's futures are large.
pub(crate) async fn quiet<T>(request: impl Future<Output = T> + Send) -> T {
    Box::pin(request.with_subscriber(NoSubscriber::new())).await
}
