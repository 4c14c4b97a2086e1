//! The routes: one file per thing that can be asked for.

mod cache;
mod health;
mod invitations;
mod metrics;
mod settings;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response_with_state};
use axum::routing::{delete, get, post};
use cache_core::CacheError;

use crate::App;
use crate::answer::Refusal;
use crate::caller::identify;
use crate::leaving::close_connections;
use crate::limits;

/// All routes of the service. Who calls is found out first; then its limit counts; then a request that was
/// carried out before gets the same response again.
pub(crate) fn router(app: App) -> Result<Router, CacheError> {
    let (cache, keys) = (app.tenants.cache(), app.tenants.keys());
    let callers = Router::new()
        .route("/settings", get(settings::show).put(settings::replace))
        .route("/usage", get(usage::show))
        .route("/invitations", post(invitations::create))
        .route("/cache", delete(cache::flush_own))
        .route("/admin/cache", delete(cache::flush_pattern))
        .method_not_allowed_fallback(not_with_this_method)
        .layer(limits::idempotency(Arc::clone(cache), keys)?)
        .layer(limits::rate_limit(Arc::clone(cache), keys)?)
        .route_layer(from_fn_with_state(app.clone(), identify));
    Ok(Router::new()
        .merge(callers)
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "no such route"))
        .method_not_allowed_fallback(not_with_this_method)
        .layer(map_response_with_state(app.leaving.clone(), close_connections))
        .with_state(app))
}

async fn not_with_this_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
}
