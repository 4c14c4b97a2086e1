//! `/cache` and `/admin/cache`: flushes, by a tenant of its own entries and by an operator of a pattern.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use cache_core::Pattern;
use serde::Deserialize;

use crate::App;
use crate::answer::{Answer, Refusal};
use crate::caller::{Caller, Operator};
use crate::flush::Flushed;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    pattern: String,
}

/// Takes the caller's tenant out of the cache. Its keys share a slot, so one primary is asked.
pub(super) async fn flush_own(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<Answer<Flushed>, Refusal> {
    let pattern = app.tenants.keys().cached_of(&caller.tenant)?;
    Ok(Answer::new(app.flush.flush(&pattern).await?))
}

/// Takes all that matches out of the cache, of all tenants. Patterns that reach beyond what this service
/// caches are refused, as others may share the servers.
pub(super) async fn flush_pattern(
    State(app): State<App>,
    Operator(operator): Operator,
    Query(which): Query<Which>,
) -> Result<Answer<Flushed>, Refusal> {
    let pattern = Pattern::new(which.pattern)?;
    if !app.tenants.keys().covers(&pattern) {
        let prefix = app.tenants.keys().cached_prefix();
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("a pattern begins with {prefix}, all that this service caches is {prefix}*"),
        ));
    }
    let flushed = app.flush.flush(&pattern).await?;
    tracing::info!(by = operator.tenant, %pattern, removed = flushed.removed, "flushed");
    Ok(Answer::new(flushed))
}
