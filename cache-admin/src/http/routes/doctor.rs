//! `/cache/doctor`: what is wrong with the cache, as a client of it would find.
//!
//! It writes a few keys with a short life and removes them, which is why the scopes have to be granted for what these
//! begin with. Not in here: the examination.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use cache_core::CacheConfig;
use cache_core::config::Backend;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Scope;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsJson, Query, within};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::{Doctor, Finding, Health};

/// How long a check may take, in milliseconds. The checks are made in five steps at most, and all of them have to end
/// before the request does.
const DEADLINE: std::ops::RangeInclusive<u32> = 100..=4_000;

/// How it is done.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// What the few keys begin with that are written and removed. Default: `cachectl-doctor:`.
    #[param(min_length = 1, max_length = 1024)]
    prefix: Option<String>,
    /// How long each check may take, in milliseconds.
    #[param(minimum = 100, maximum = 4000, default = 4000)]
    deadline_ms: Option<u32>,
}

/// What was found.
#[derive(Serialize, ToSchema)]
pub(super) struct Examined {
    /// The worst state of all.
    worst: Health,
    /// One for each check, always in the same order.
    findings: Vec<Finding>,
}

refusals!(Refusals: Unauthorized, Forbidden, RateLimited);

/// Examines the cache: names, connections, certificates, permissions, the cluster, clocks, latency, and that the changes
/// of others are heard. One examination at a time. Scopes `list`, `invalidate` and `acl` for the prefix of the keys that
/// it writes.
#[utoipa::path(
    get,
    path = "/cache/doctor",
    operation_id = "examine",
    tag = "cache",
    params(How),
    responses((status = 200, description = "What was found; also where nothing is well", body = Examined), Refusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn examine(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(how): Query<How>,
) -> answer!(Result<Json<Examined>, Problem>) {
    let prefix = how.prefix.as_deref().unwrap_or(Doctor::PREFIX);
    for scope in [Scope::List, Scope::Invalidate, Scope::Acl] {
        caller.needs_prefix(scope, prefix.as_bytes())?;
    }
    if !(1..=1_024).contains(&prefix.chars().count()) {
        let wrong = "prefix: has to be of 1 to 1024 characters";
        return Err(Problem::new(Kind::InvalidQuery, wrong));
    }
    let deadline = within(Kind::InvalidQuery, "deadline_ms", how.deadline_ms, DEADLINE)?;
    let deadline = Duration::from_millis(deadline.unwrap_or(*DEADLINE.end()).into());
    let _place = service
        .examinations()
        .try_acquire()
        .map_err(|_| Problem::busy("another examination is under way"))?;
    let doctor = Doctor::new(hurried(service.stack().config(), deadline))
        .with_deadline(deadline)
        .with_key_prefix(prefix);
    let diagnosis = Box::pin(doctor.examine()).await;
    Ok(Json(Examined {
        worst: diagnosis.worst(),
        findings: diagnosis.findings,
    }))
}

/// A node that lets us wait for a connection must not hold up the answer for longer than the checks do.
fn hurried(config: &CacheConfig, deadline: Duration) -> CacheConfig {
    let mut config = config.clone();
    if let Backend::Valkey(valkey) = &mut config.backend {
        valkey.dial_timeout = valkey.dial_timeout.min(deadline);
    }
    config
}
