//! `/openapi.json`: the description of the routes. Needs no authentication; it is the same for everybody.

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::http::document::{answer, refusals};
use crate::http::etag;
use crate::http::extract::{AcceptsJson, NoQuery, Query};
use crate::http::service::Service;

refusals!(Refusals:);

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "health",
    params(("If-None-Match" = Option<String>, Header, description = "The tag of what the client has")),
    responses(
        (status = 200, description = "OpenAPI 3.1", body = Object, headers(("ETag" = String, description = "Its tag"))),
        (status = 304, description = "The client has it"),
        Refusals,
    ),
    security(()),
)]
pub(super) async fn show(
    State(service): State<Service>,
    OriginalUri(original): OriginalUri,
    uri: Uri,
    headers: HeaderMap,
    _: AcceptsJson,
    _: Query<NoQuery>,
) -> answer!(Response) {
    // Where the router is mounted.
    let prefix = original.path().strip_suffix(uri.path()).unwrap_or_default();
    let (text, tag) = service.document().under(prefix);
    if etag::is_known(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::ETAG, tag),
    ];
    (headers, text).into_response()
}
