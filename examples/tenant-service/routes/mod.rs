//! The routes: one file per thing that can be asked for.

mod cache;
mod health;
mod settings;
mod usage;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{delete, get};

use crate::App;
use crate::answer::Refusal;

/// All routes of the service.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/settings", get(settings::show).put(settings::replace))
        .route("/usage", get(usage::show))
        .route("/cache", delete(cache::flush_own))
        .route("/admin/cache", delete(cache::flush_pattern))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "no such route"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
        })
        .with_state(app)
}
