//! `/metrics`: what Prometheus scrapes.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cache_stack::telemetry::Telemetry;

use crate::App;
use crate::answer::Refusal;

/// All metrics of the cache. No key, no tenant and no value is in a label.
pub(super) async fn scrape(State(app): State<App>) -> Response {
    match app.telemetry.scrape() {
        Ok(text) => ([(header::CONTENT_TYPE, Telemetry::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::warn!("metrics cannot be collected: {error}");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "metrics cannot be collected").into_response()
        }
    }
}
