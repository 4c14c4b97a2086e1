//! `/metrics`: for scrapes by Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsText, NoQuery, Query};
use crate::http::problem::Problem;
use crate::http::service::Service;

/// The media type of the text format of Prometheus.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

refusals!(Refusals: Unauthorized, Forbidden, RateLimited, CacheUnavailable);

/// The metrics of the service and of its process, in the text format of Prometheus. Any actor may read them.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "health",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"), Refusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn show(
    State(service): State<Service>,
    _: Caller,
    _: AcceptsText,
    _: Query<NoQuery>,
) -> answer!(Result<impl IntoResponse, Problem>) {
    let mut text = service.scrape()?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    service.traffic().write(&mut text);
    let stale = u8::from(service.access().reload_problem().is_some());
    text.push_str("# HELP cache_admin_actors_stale Whether the file of actors could not be read when it was last looked into.\n");
    text.push_str("# TYPE cache_admin_actors_stale gauge\n");
    text.push_str(&format!("cache_admin_actors_stale {stale}\n"));
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}
