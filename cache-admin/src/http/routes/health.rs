//! `/health`: for those who start, stop and route to the service. Needs no authentication and tells no names.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::document::{answer, refusals};
use crate::http::extract::{AcceptsJson, NoQuery, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;

/// How the service does.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: Status,
    /// What is wrong although the service is ready, such as a primary that does not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Live,
    Ready,
}

refusals!(Live:);
refusals!(Ready: CacheUnavailable);

/// Whether the process serves.
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "live",
    tag = "health",
    responses((status = 200, description = "It does", body = Health), Live),
    security(()),
)]
pub(super) async fn live(_: AcceptsJson, _: Query<NoQuery>) -> answer!(Json<Health>) {
    Json(Health {
        status: Status::Live,
        warnings: Vec::new(),
    })
}

/// Whether the cache answers, or a part of it: one primary of several that does not is a warning. It is asked at most twice
/// a second, however many ask here.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "ready",
    tag = "health",
    responses((status = 200, description = "It does", body = Health), Ready),
    security(()),
)]
pub(super) async fn ready(
    State(service): State<Service>,
    _: AcceptsJson,
    _: Query<NoQuery>,
) -> answer!(Result<Json<Health>, Problem>) {
    let away = |detail: &'static str| {
        Problem::new(Kind::CacheUnavailable, detail).retry_after(Duration::from_secs(1))
    };
    if *service.stopping().borrow() {
        return Err(away("the service is stopping"));
    }
    match service.health().await {
        Ok(mut warnings) => {
            warnings.extend(service.access().reload_problem());
            Ok(Json(Health {
                status: Status::Ready,
                warnings,
            }))
        }
        Err(error) => {
            tracing::warn!(kind = error.kind(), "not ready: {error}");
            Err(away("the cache does not answer"))
        }
    }
}
