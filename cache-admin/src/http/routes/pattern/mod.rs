//! `/cache/pattern`: counting and removing by pattern.
//!
//! [`body`] and [`query`] are the two ways to ask, [`asked`] what is then done in one way.

mod asked;
mod body;
mod query;

use axum::extract::State;
use axum::response::Response;

use self::body::PatternRequest;
use self::query::{Counting, Removal};
use crate::access::Scope;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsJson, Body, NoQuery, OptionalBody, Query, RetryKey};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::jobs::{Job, Mode};

refusals!(StartRefusals: Unauthorized, Forbidden, RateLimited, InvalidBody, InvalidHeader, InvalidArgument, RequestTimeout,
    Overlaps, OtherCache, TooLarge, MediaType, KeyReused, Unconfirmed, CacheRefused, CacheUnavailable);
refusals!(CountRefusals: Unauthorized, Forbidden, RateLimited, InvalidHeader, InvalidArgument, OtherCache, KeyReused, CacheRefused,
    CacheUnavailable);

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
    let asked = request.asked(Mode::Count)?;
    asked.start(&service, &caller, key).await
}

/// Counts the keys that match, on all primaries at once: `POST` with `mode` `count`, in short. Removes nothing. Scope
/// `list` for all that the pattern could match.
#[utoipa::path(
    get,
    path = "/cache/pattern",
    operation_id = "count_by_pattern",
    tag = "cache",
    params(Counting),
    responses(
        (status = 200, description = "The job, which has ended", body = Job),
        (status = 202, description = "The job", body = Job, headers(("Location" = String, description = "Where it is"))),
        CountRefusals,
    ),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn count(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(counting): Query<Counting>,
) -> answer!(Result<Response, Problem>) {
    caller.needs(Scope::List)?;
    let asked = counting.asked()?;
    asked.start(&service, &caller, RetryKey(None)).await
}

/// Removes the keys that match, on all primaries at once, as a job. Takes either the query or the body of `POST`, whose
/// `mode` is then `execute` unless it says something else. Scope `purge` for all that the pattern could match.
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
    request_body = PatternRequest,
    responses(
        (status = 200, description = "The job of a count or a dry run, which has ended", body = Job),
        (status = 202, description = "The job", body = Job, headers(("Location" = String, description = "Where it is"))),
        StartRefusals,
    ),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn remove(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(removal): Query<Removal>,
    key: RetryKey,
    OptionalBody(request): OptionalBody<PatternRequest>,
) -> answer!(Result<Response, Problem>) {
    let asked = match request {
        None => {
            caller.needs(Scope::Purge)?;
            removal.asked()?
        }
        Some(request) if removal.is_empty() => request.asked(Mode::Execute)?,
        Some(_) => {
            caller.needs(Scope::Purge)?;
            let detail = "the query and the body exclude each other: what is removed is said in one of them";
            return Err(Problem::new(Kind::InvalidQuery, detail));
        }
    };
    asked.start(&service, &caller, key).await
}
