//! The routes: one file per thing that can be asked for.

mod health;
mod status;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::answer::Refusal;
use crate::broker::Broker;

pub(crate) use token::Shown;

/// What the routes work on.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) broker: Arc<Broker>,
    /// What the cache is, in words.
    pub(crate) cache: Arc<str>,
}

/// All routes of the broker.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/token", get(token::show).post(token::show))
        .route("/status", get(status::show))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "no such route"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
        })
        .with_state(app)
}
