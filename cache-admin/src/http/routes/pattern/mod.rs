//! `/cache/pattern`: counting and removing by pattern.
//!
//! [`body`] and [`query`] are the two ways to ask, [`asked`] what is then done in one way.

mod asked;
mod body;
mod query;

use axum::extract::State;
use axum::response::Response;

use self::body::PatternRequest;
use self::query::Removal;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsJson, Body, NoQuery, Query, RetryKey};
use crate::http::problem::Problem;
use crate::http::service::Service;
use crate::jobs::Job;

refusals!(StartRefusals: Unauthorized, Forbidden, RateLimited, InvalidBody, InvalidHeader, InvalidArgument, RequestTimeout,
    Overlaps, OtherCache, TooLarge, MediaType, KeyReused, Unconfirmed, CacheRefused, CacheUnavailable);
refusals!(RemoveRefusals: Unauthorized, Forbidden, RateLimited, InvalidHeader, InvalidArgument, Overlaps, OtherCache, KeyReused,
    Unconfirmed, CacheRefused, CacheUnavailable);

/// Counts or removes the keys that match, on all primaries at once. A count that ends within 2 seconds is answered at
/// once; all else is a job. Scope `list` for a count and a dry run, `purge` for a removal, for all that the patterns
/// could match.
#[utoipa::path(
    post,
    path = "/cache/pattern",
    operation_id = "start_by_pattern",
    tag = "cache",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same request with the same key is one job",
        min_length = 1, max_length = 255, pattern = "^[!#-\\[\\]-~]+$")),
    request_body = PatternRequest,
    responses(
        (status = 200, description = "The job, which has ended", body = Job),
        (status = 202, description = "The job", body = Job, headers(("Location" = String, description = "Where it is"))),
        StartRefusals,
    ),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn start(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    _: Query<NoQuery>,
    key: RetryKey,
    Body(request): Body<PatternRequest>,
) -> answer!(Result<Response, Problem>) {
    let asked = request.asked()?;
    asked.start(&service, &caller, key).await
}

/// Removes the keys that match, on all primaries at once, as a job: `POST` with `mode` `execute`, in short. Scope
/// `purge` for all that the pattern could match.
#[utoipa::path(
    delete,
    path = "/cache/pattern",
    operation_id = "remove_by_pattern",
    tag = "cache",
    params(
        Removal,
        ("Idempotency-Key" = Option<String>, Header, description = "The same request with the same key is one job",
            min_length = 1, max_length = 255, pattern = "^[!#-\\[\\]-~]+$"),
    ),
    responses(
        (status = 202, description = "The job", body = Job, headers(("Location" = String, description = "Where it is"))),
        RemoveRefusals,
    ),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn remove(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(removal): Query<Removal>,
    key: RetryKey,
) -> answer!(Result<Response, Problem>) {
    let asked = removal.asked()?;
    asked.start(&service, &caller, key).await
}
