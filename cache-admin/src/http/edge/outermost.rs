//! The outermost layer: an id for the request, a limit to its time, a 500 instead of a panic, refusals in
//! one form, headers that keep answers out of caches, and a line in the log.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use cache_core::clock;
use futures::FutureExt as _;

use super::request_id::{REQUEST_ID, RequestId};
use crate::access::Actor;
use crate::http::problem::{CONTENT_TYPE, Kind, Problem};
use crate::http::service::Service;

/// On every answer.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Who asked, for the log.
#[derive(Clone, Debug)]
pub(crate) struct AskedBy(pub(crate) Actor);

pub(crate) async fn outermost(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    let started = clock::now();
    let id = RequestId::of(request.headers());
    let method = known(request.method());
    let route: Box<str> = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().into(),
        None => "".into(),
    };
    let head = *request.method() == Method::HEAD;
    request.extensions_mut().insert(id.clone());

    let work = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answer = match tokio::time::timeout(service.limits().timeout, work).await {
        Ok(Ok(response)) => one_form(response, &id, head),
        Ok(Err(_panic)) => {
            // What it says may hold a value.
            tracing::error!(request_id = %id, method, route, "a request made its handler panic");
            Problem::internal().render(id.as_str())
        }
        Err(_elapsed) => timed_out(service.limits().timeout).render(id.as_str()),
    };
    let answer = dressed(answer, &id);
    let elapsed = clock::now() - started;
    let status = answer.status();
    service.traffic().count(method, &route, status, elapsed);
    let actor = answer.extensions().get::<AskedBy>();
    tracing::info!(
        request_id = %id,
        actor = actor.map(|AskedBy(actor)| actor.name()),
        method,
        route,
        status = status.as_u16(),
        elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    answer
}

fn timed_out(after: Duration) -> Problem {
    let after = humantime::format_duration(after);
    Problem::new(
        Kind::Timeout,
        format!("no answer within {after}; what was asked for may have been done"),
    )
}

/// A refusal becomes problem details, whoever made it.
fn one_form(response: Response, id: &RequestId, head: bool) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        // Made whole elsewhere.
        None if parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == CONTENT_TYPE) =>
        {
            return Response::from_parts(parts, body);
        }
        None => {
            if status.is_server_error() {
                tracing::error!(request_id = %id, status = status.as_u16(), "an answer that nobody vouches for");
            }
            Problem::from(status)
        }
    };
    let mut rendered = problem.render(id.as_str());
    if let Some(allow) = parts.headers.remove(header::ALLOW) {
        rendered.headers_mut().insert(header::ALLOW, allow);
    }
    if let Some(actor) = parts.extensions.remove::<AskedBy>() {
        rendered.extensions_mut().insert(actor);
    }
    if head {
        *rendered.body_mut() = Body::empty();
    }
    rendered
}

fn dressed(mut answer: Response, id: &RequestId) -> Response {
    let kept = answer.status() == StatusCode::NOT_MODIFIED || answer.headers().contains_key(header::ETAG);
    let headers: &mut HeaderMap = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, value);
    }
    // What has a tag may be kept by the client itself, if it asks each time.
    let cache = if kept { "private, no-cache" } else { "no-store" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization, Accept"));
    if let Some(id) = id.as_header() {
        headers.insert(REQUEST_ID, id);
    }
    answer
}

/// The method, as one of few.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
