//! `/cache/namespaces/{namespace}/generation`: all keys of a namespace out of reach, at once.

use axum::Json;
use axum::extract::{Path, State};
use cache_core::CacheError;
use cache_layers::idempotency::{Acquired, Fingerprint};

use crate::access::Scope;
use crate::http::document::refusals;
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsJson, NoQuery, Query, RetryKey};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::http::written::{begun, written};
use crate::jobs::{AuditAction, AuditRecord};
use crate::{Bumped, namespace};

refusals!(Refusals: Unauthorized, Forbidden, RateLimited, InvalidHeader, InvalidArgument, NotFound, InProgress, KeyReused,
    CacheRefused, CacheUnavailable);

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
    responses((status = 200, description = "The step", body = Bumped), Refusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn step(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    _: Query<NoQuery>,
    RetryKey(key): RetryKey,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Json<Bumped>, Problem> {
    let Ok(Path(name)) = path else {
        return Err(Problem::new(Kind::InvalidArgument, "namespace: has to be UTF-8"));
    };
    caller.needs(Scope::Purge)?;
    let Some(key) = key else {
        return bump(&service, &caller, &name).await.map(Json);
    };
    let request = Fingerprint::of(["generation", name.as_str()]);
    match service
        .retries()
        .acquire(caller.actor.name(), &key, request)
        .await?
    {
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

async fn bump(service: &Service, caller: &Caller, name: &str) -> Result<Bumped, Problem> {
    let namespace = namespace(name)?;
    caller.needs_prefix(Scope::Purge, namespace.prefix().as_bytes())?;
    let record = AuditRecord::new(&caller.who(), AuditAction::GenerationBump).on("namespace", name);
    begun(service, record.clone().result("begun")).await?;
    let bumped = service.namespaces().bump(&namespace).await;
    written(service, record, &bumped, |record, bumped| {
        record.number("generation", bumped.generation)
    })
    .await;
    Ok(bumped?)
}
