//! `/cache/namespaces/{namespace}/generation`: which one it is, and all keys of a namespace out of reach at once.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cache_core::CacheError;
use cache_layers::idempotency::{Acquired, Fingerprint};

use crate::access::Scope;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::etag;
use crate::http::extract::{AcceptsJson, NoQuery, Query, RetryKey};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::http::written::{begun, written};
use crate::jobs::{AuditAction, AuditRecord};
use crate::{Bumped, NamespaceState, namespace};

refusals!(ShowRefusals: Unauthorized, Forbidden, RateLimited, InvalidArgument, NotFound, CacheRefused, CacheUnavailable);
refusals!(StepRefusals: Unauthorized, Forbidden, RateLimited, InvalidHeader, InvalidArgument, NotFound, InProgress, KeyReused,
    CacheRefused, CacheUnavailable);

/// The generation of a namespace, asked anew; none is begun. Scope `list` for all of its keys.
#[utoipa::path(
    get,
    path = "/cache/namespaces/{namespace}/generation",
    operation_id = "show_generation",
    tag = "cache",
    params(
        ("namespace" = String, Path, description = "SERVICE, SERVICE/{TENANT} for a tenant in one slot, or SERVICE/@TENANT, \
            percent-encoded", min_length = 1, max_length = 512),
        ("If-None-Match" = Option<String>, Header, description = "The tag of what the client has"),
    ),
    responses(
        (status = 200, description = "The generation; null where there is none so far", body = NamespaceState,
            headers(("ETag" = String, description = "Its tag"))),
        (status = 304, description = "It is as the client has it"),
        ShowRefusals,
    ),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn show(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    _: Query<NoQuery>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> answer!(Result<Response, Problem>) {
    let name = named(path)?;
    caller.needs(Scope::List)?;
    let namespace = namespace(&name)?;
    caller.needs_prefix(Scope::List, namespace.prefix().as_bytes())?;
    let state = service.namespaces().show(&namespace).await?;
    let tag = etag::of(&state);
    if etag::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(([(header::ETAG, tag)], Json(state)).into_response())
}

/// Steps a namespace to a new generation. Its old keys are out of reach at once, however many they are; a purge of
/// the pattern `reclaim` gives back their memory. Scope `purge` for all of its keys.
#[utoipa::path(
    post,
    path = "/cache/namespaces/{namespace}/generation",
    operation_id = "step_generation",
    tag = "cache",
    params(
        ("namespace" = String, Path, description = "SERVICE, SERVICE/{TENANT} for a tenant in one slot, or SERVICE/@TENANT, \
            percent-encoded", min_length = 1, max_length = 512),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request with the same key is one step",
            min_length = 1, max_length = 255, pattern = "^[!#-\\[\\]-~]+$"),
    ),
    responses((status = 200, description = "The step", body = Bumped), StepRefusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn step(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    _: Query<NoQuery>,
    RetryKey(key): RetryKey,
    path: Result<Path<String>, PathRejection>,
) -> answer!(Result<Json<Bumped>, Problem>) {
    let name = named(path)?;
    caller.needs(Scope::Purge)?;
    let Some(key) = key else {
        return bump(&service, &caller, &name).await.map(Json);
    };
    let request = Fingerprint::of(["generation", name.as_str()]);
    match service.acquire(caller.actor.name(), &key, request).await? {
        Acquired::Run(claim) => match bump(&service, &caller, &name).await {
            Ok(bumped) => {
                let text = serde_json::to_vec(&bumped).unwrap_or_default();
                // Where it cannot be kept, a retry makes another step, which does no harm.
                let _ = claim.complete(text).await?;
                Ok(Json(bumped))
            }
            Err(problem) => {
                claim.release().await?;
                Err(problem)
            }
        },
        Acquired::Replay(text) => serde_json::from_slice(&text).map(Json).map_err(|_| {
            Problem::from(CacheError::Corrupt {
                detail: "the answer that is kept for the idempotency key is none".into(),
                source: None,
            })
        }),
        Acquired::InProgress { remaining } => Err(Problem::new(
            Kind::InProgress,
            "a request with this idempotency key is under way",
        )
        .retry_after(remaining)),
        Acquired::Mismatch | Acquired::NotReplayable => Err(Problem::new(
            Kind::KeyReused,
            "the idempotency key was used for another request; take a new one",
        )),
    }
}

fn named(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let Path(name) = path.map_err(|_| Problem::new(Kind::InvalidArgument, "namespace: has to be UTF-8"))?;
    Ok(name)
}

async fn bump(service: &Service, caller: &Caller, name: &str) -> Result<Bumped, Problem> {
    let namespace = namespace(name)?;
    caller.needs_prefix(Scope::Purge, namespace.prefix().as_bytes())?;
    let record = AuditRecord::new(&caller.who(), AuditAction::GenerationBump).on("namespace", name);
    begun(service, record.clone().result("begun")).await?;
    let bumped = service.namespaces().bump(&namespace).await;
    written(service, record, &bumped, |record, bumped| {
        record.on("generation", bumped.generation.to_string())
    })
    .await;
    Ok(bumped?)
}
