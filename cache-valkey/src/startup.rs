//! Starting while the servers are not there.

use cache_core::CacheError;
use cache_core::config::Startup;

/// What `degrade` lets pass: a server that is not there yet. Anything that waiting does not mend is an
/// error all the same.
pub(crate) fn tolerate(startup: Startup, result: Result<(), CacheError>) -> Result<(), CacheError> {
    match result {
        Err(error) if startup == Startup::Degrade && error.is_transient() => {
            tracing::warn!(%error, "starting without the cache; it is used as soon as it can be reached");
            Ok(())
        }
        other => other,
    }
}
