//! Starts a client while the servers are unreachable.

use cache_core::CacheError;
use cache_core::config::Startup;

/// With `degrade`, tolerates a server that cannot be reached yet. Permanent errors are still errors.
pub(crate) fn tolerate(startup: Startup, result: Result<(), CacheError>) -> Result<(), CacheError> {
    match result {
        Err(error) if startup == Startup::Degrade && error.is_transient() => {
            tracing::warn!(%error, "starting without the cache; it is used as soon as it can be reached");
            Ok(())
        }
        other => other,
    }
}
