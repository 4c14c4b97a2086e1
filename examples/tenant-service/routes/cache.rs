//! `/cache` and `/admin/cache`: flushes, by a tenant of its own entries (a new generation) and by an operator
//! of a pattern.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use cache_core::Pattern;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::answer::{Answer, Refusal};
use crate::caller::{Caller, Operator};
use crate::flush::Flushed;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    pattern: String,
}

/// What begins when a tenant's entries are put out of reach.
#[derive(Debug, Serialize)]
pub(super) struct Begun {
    /// As text: JavaScript loses digits of a number of this size.
    generation: String,
}

/// Puts all that is cached of the caller's tenant out of reach, at once and for all instances. What it holds
/// in memory goes when its life is over.
pub(super) async fn flush_own(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<Answer<Begun>, Refusal> {
    let generation = app.tenants.flush(&caller.tenant).await?;
    Ok(Answer::new(Begun {
        generation: generation.to_string(),
    }))
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
