//! Where an answer comes from, and what one operation of the cache may cost a request.
//!
//! Reading through the cache itself is `cache_layers`' work: one load per key for the whole fleet, refreshed
//! ahead, kept decoded in this process. Not in here: what is cached and for how long (`tenants.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::{CacheError, Stage};
use cache_layers::Loaded;
use cache_layers::read_through::{ReadError, TypedReadThrough};

/// What the cache may cost a request. Far below the client's own deadlines: the database answers in the
/// time that it would take to wait longer.
pub(crate) const BUDGET: Duration = Duration::from_millis(500);

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the cache, within its life.
    Cache,
    /// From the cache, beyond its life: the database does not answer.
    Stale,
    /// From the database.
    Database,
}

impl Source {
    /// As the `x-cache` header says it.
    pub(crate) const fn as_header(self) -> &'static str {
        match self {
            Self::Cache => "hit",
            Self::Stale => "stale",
            Self::Database => "miss",
        }
    }

    /// As the body says it.
    pub(crate) const fn served_from(self) -> &'static str {
        match self {
            Self::Cache | Self::Stale => "cache",
            Self::Database => "database",
        }
    }
}

/// The value of `key`, or what `load` finds; `None` where there is none. A cache that fails is no error: the
/// value is loaded without it.
pub(crate) async fn read<T, Fut>(
    through: &TypedReadThrough<T>,
    key: &str,
    load: impl FnOnce() -> Fut + Send + 'static,
) -> Result<(Option<Arc<T>>, Source), ReadError>
where
    T: Send + Sync + 'static,
    Fut: Future<Output = Option<T>> + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&asked);
    let answer =
        through
            .get_or_load(key, move || {
                asks.store(true, Ordering::Relaxed);
                let load = load();
                async move {
                    Ok::<_, std::convert::Infallible>(load.await.map_or_else(Loaded::absent, Loaded::of))
                }
            })
            .await?;
    let source = if answer.is_stale() {
        Source::Stale
    } else if asked.load(Ordering::Relaxed) {
        Source::Database
    } else {
        Source::Cache
    };
    Ok((answer.value, source))
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
