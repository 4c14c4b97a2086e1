//! The one way in which this service reads through its cache: a sick cache costs a little time, never
//! an answer.
//!
//! Not in here: what is cached and for how long. Callers that miss at the same time each load, and one that
//! loaded before an update may store after it. Where that is too dear, `cache_layers::ReadThrough` does better;
//! see the example `read-through`.

use std::time::Duration;

use cache_core::{CacheClient, CacheClientExt as _, CacheError, Stage, Ttl};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What one call of the cache may cost a request. Far below the client's own deadlines: the database
/// answers in the time that it would take to wait longer.
const BUDGET: Duration = Duration::from_millis(250);

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the cache.
    Cache,
    /// From the database, because the cache did not have it.
    Database,
    /// From the database, because the cache could not be asked.
    Bypass,
}

impl Source {
    /// As the `x-cache` header says it.
    pub(crate) const fn as_header(self) -> &'static str {
        match self {
            Self::Cache => "hit",
            Self::Database => "miss",
            Self::Bypass => "bypass",
        }
    }

    /// As the body says it.
    pub(crate) const fn served_from(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Database | Self::Bypass => "database",
        }
    }
}

/// The value of `key`, or what `load` makes, which is then stored for as long as `life` says.
pub(crate) async fn read_through<T, Fut>(
    cache: &dyn CacheClient,
    key: &str,
    life: impl FnOnce(&T) -> Ttl,
    load: impl FnOnce() -> Fut,
) -> (T, Source)
where
    T: Serialize + DeserializeOwned + Send + Sync,
    Fut: Future<Output = T>,
{
    let source = match within_budget(cache.find_json::<T>(key)).await {
        Ok(Some(value)) => return (value, Source::Cache),
        Ok(None) => Source::Database,
        Err(error) => {
            report("read", &error);
            match error {
                // Left by another version of the service: to be replaced.
                CacheError::Corrupt { .. } => Source::Database,
                _ => Source::Bypass,
            }
        }
    };
    let value = load().await;
    // What could not be reached a moment ago is not asked a second time.
    if source == Source::Database
        && let Err(error) = within_budget(cache.set_json(key, &value, life(&value))).await
    {
        report("write", &error);
    }
    (value, source)
}

/// Runs one call of the cache within what it may cost. Dropping a call is safe: the contract says so.
pub(crate) async fn within_budget<T>(
    call: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    match tokio::time::timeout(BUDGET, call).await {
        Ok(result) => result,
        Err(_) => Err(CacheError::Timeout {
            stage: Stage::Call,
            after: BUDGET,
        }),
    }
}

/// Says that the cache failed. The text holds neither key nor value.
pub(crate) fn report(operation: &str, error: &CacheError) {
    tracing::warn!(operation, kind = error.kind(), "the cache failed: {error}");
}
