//! The routes, one file for each resource, and how they are put together.

mod big_keys;
mod cache;
mod doctor;
mod events;
mod generation;
mod health;
mod jobs;
mod keys;
mod metrics;
mod openapi;
mod pattern;
mod pulse;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::{self, Document};
use super::edge::{gate, identify, outermost};
use super::problem::Problem;
use super::service::Service;

/// All routes, with all that requests go through.
pub(crate) fn router(service: &Service) -> Router {
    let (gated, _) = gated().split_for_parts();
    let (open, _) = open().split_for_parts();
    let through_the_gate = from_fn_with_state(service.clone(), gate);
    let router = gated
        .route_layer(through_the_gate)
        .merge(open)
        .fallback(async || Problem::from(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::from(StatusCode::METHOD_NOT_ALLOWED))
        .layer(from_fn_with_state(service.clone(), identify))
        .layer(from_fn_with_state(service.clone(), outermost))
        .with_state(service.clone());
    match service.origins().layer() {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// The description of the same routes.
pub(crate) fn document() -> Document {
    let mut api = document::blank();
    for part in [gated(), open()] {
        api.merge(part.into_openapi());
    }
    Document::finish(&api)
}

/// The routes for those who are known.
fn gated() -> OpenApiRouter<Service> {
    OpenApiRouter::with_openapi(document::blank())
        .routes(routes!(cache::show, cache::remove))
        .routes(routes!(keys::list))
        .routes(routes!(pattern::count, pattern::start, pattern::remove))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::pause))
        .routes(routes!(jobs::resume))
        .routes(routes!(events::follow))
        .routes(routes!(generation::show, generation::step))
        .routes(routes!(pulse::look))
        .routes(routes!(big_keys::search))
        .routes(routes!(doctor::examine))
        .routes(routes!(metrics::show))
}

/// The routes for everybody.
fn open() -> OpenApiRouter<Service> {
    OpenApiRouter::with_openapi(document::blank())
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::show))
}
