//! `/cache/jobs`: what runs and what ran, and steering it.
//!
//! A job is seen by whoever may list or purge all that its patterns match, and steered by whoever may do what it does.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cache_core::Pattern;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Scope;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::etag;
use crate::http::extract::{AcceptsJson, NoQuery, Query, within};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::jobs::{ControlError, Job, JobId, JobState, Mode};
use crate::unescaped;

/// The bytes of patterns after which a page of jobs ends.
const PAGE_BYTES: usize = 512 * 1024;

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those in this state.
    #[param(inline)]
    state: Option<JobState>,
    /// How many at most. There may be fewer on a page, and more on the next.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
    /// Where an earlier page ended.
    #[param(pattern = "^[0-7][0-9a-hjkmnp-tv-z]{25}$", min_length = 26, max_length = 26)]
    cursor: Option<String>,
}

/// A page of jobs, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct JobPage {
    jobs: Vec<Job>,
    /// Where the next page begins; null at the end.
    #[schema(required)]
    cursor: Option<String>,
}

refusals!(ListRefusals: Unauthorized, Forbidden, RateLimited);
refusals!(ShowRefusals: Unauthorized, Forbidden, RateLimited, NoSuchJob);
refusals!(ResumeRefusals: Unauthorized, Forbidden, RateLimited, NoSuchJob, JobState, Overlaps, OtherCache, CacheRefused,
    CacheUnavailable);
refusals!(SteerRefusals: Unauthorized, Forbidden, RateLimited, NoSuchJob, JobState, Overlaps);

/// The jobs that the caller may see, the newest first. Scope `list` or `purge`.
#[utoipa::path(
    get,
    path = "/cache/jobs",
    operation_id = "list_jobs",
    tag = "jobs",
    params(Which),
    responses((status = 200, description = "A page", body = JobPage), ListRefusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn list(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(which): Query<Which>,
) -> answer!(Result<Json<JobPage>, Problem>) {
    if caller.needs(Scope::Purge).is_err() {
        caller.needs(Scope::List)?;
    }
    let limit = within(Kind::InvalidQuery, "limit", which.limit, 1..=200)?.unwrap_or(50);
    let limit = usize::from(limit);
    let before =
        match &which.cursor {
            Some(cursor) => Some(cursor.parse::<JobId>().map_err(|_| {
                Problem::new(Kind::InvalidQuery, "cursor: has to be that of an earlier page")
            })?),
            None => None,
        };
    let states: Vec<JobState> = which.state.into_iter().collect();
    let mut jobs = service.jobs().list(&states, before, limit);
    let found = jobs.len();
    let mut bytes = 0;
    let fits = jobs.iter().take_while(|job| {
        bytes += job.patterns.iter().map(String::len).sum::<usize>();
        bytes <= PAGE_BYTES
    });
    // One is shown at least, so that each page gets somewhere.
    let fits = fits.count().max(1);
    jobs.truncate(fits);
    let last = jobs.last().filter(|_| found == limit || fits < found);
    let cursor = last.map(|job| job.id.to_string());
    let jobs = jobs.into_iter().filter(|job| is_seen(&caller, job));
    Ok(Json(JobPage {
        jobs: jobs.collect(),
        cursor,
    }))
}

/// One job. Scope `list` or `purge` for all that its patterns match.
#[utoipa::path(
    get,
    path = "/cache/jobs/{id}",
    operation_id = "show_job",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job", pattern = "^[0-9a-zA-Z]{26}$"),
        ("If-None-Match" = Option<String>, Header, description = "The tag of what the client has"),
    ),
    responses(
        (status = 200, description = "The job", body = Job, headers(("ETag" = String, description = "Its tag"))),
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
    Path(id): Path<String>,
    headers: HeaderMap,
) -> answer!(Result<Response, Problem>) {
    let job = seen(&service, &caller, &id)?;
    let tag = etag::of(&job);
    if etag::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(([(header::ETAG, tag)], Json(job)).into_response())
}

macro_rules! steer {
    ($($(#[doc = $doc:literal])* $name:ident at $path:literal as $id:literal;)*) => { $(
        $(#[doc = $doc])*
        #[utoipa::path(
            post,
            path = $path,
            operation_id = $id,
            tag = "jobs",
            params(("id" = String, Path, description = "The job", pattern = "^[0-9a-zA-Z]{26}$")),
            responses((status = 200, description = "The job as it is now", body = Job), SteerRefusals),
            security(("bearer" = []), ("certificate" = [])),
        )]
        pub(super) async fn $name(
            State(service): State<Service>,
            caller: Caller,
            _: AcceptsJson,
            _: Query<NoQuery>,
            Path(id): Path<String>,
        ) -> answer!(Result<Json<Job>, Problem>) {
            let job = steered(&service, &caller, &id)?;
            Ok(Json(service.jobs().$name(job.id, &caller.who()).await?))
        }
    )* };
}

steer! {
    /// Tells a job to stop; what it did until then is in its counts. The scope of what it does.
    cancel at "/cache/jobs/{id}/cancel" as "cancel_job";
    /// Tells a job to rest. The scope of what it does.
    pause at "/cache/jobs/{id}/pause" as "pause_job";
}

/// How a job goes on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct GoOn {
    /// Whether it goes on with the cache that is there now, although that is not, or cannot be proved to be, the one it
    /// belongs to.
    #[param(default = false)]
    accept_cache: Option<bool>,
}

/// Tells a job to go on that rests, or whose process has ended. It goes on with the cache that it belongs to only. The
/// scope of what it does.
#[utoipa::path(
    post,
    path = "/cache/jobs/{id}/resume",
    operation_id = "resume_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job", pattern = "^[0-9a-zA-Z]{26}$"), GoOn),
    responses((status = 200, description = "The job as it is now", body = Job), ResumeRefusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn resume(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(how): Query<GoOn>,
    Path(id): Path<String>,
) -> answer!(Result<Json<Job>, Problem>) {
    let job = steered(&service, &caller, &id)?;
    let (jobs, who) = (service.jobs(), caller.who());
    Ok(Json(match how.accept_cache {
        Some(true) => jobs.resume_on_this_cache(job.id, &who).await?,
        _ => jobs.resume(job.id, &who).await?,
    }))
}

/// The job of this name, for one who may see it; others learn nothing of it.
pub(super) fn seen(service: &Service, caller: &Caller, id: &str) -> Result<Job, Problem> {
    if caller.needs(Scope::Purge).is_err() {
        caller.needs(Scope::List)?;
    }
    let job = id.parse::<JobId>().ok().and_then(|id| service.jobs().get(id));
    job.filter(|job| is_seen(caller, job))
        .ok_or_else(|| Problem::new(Kind::NoSuchJob, "no job has this id, or no longer"))
}

fn steered(service: &Service, caller: &Caller, id: &str) -> Result<Job, Problem> {
    let job = seen(service, caller, id)?;
    for pattern in patterns(&job) {
        caller.needs_pattern(scope_of(job.mode), &pattern)?;
    }
    Ok(job)
}

/// The scope that what a job does needs.
pub(super) const fn scope_of(mode: Mode) -> Scope {
    match mode {
        Mode::Execute => Scope::Purge,
        Mode::Count | Mode::DryRun => Scope::List,
    }
}

/// What lists tells names of keys, so that the right to remove them is not enough to see it.
fn is_seen(caller: &Caller, job: &Job) -> bool {
    patterns(job).iter().all(|pattern| {
        [Scope::List, scope_of(job.mode)]
            .iter()
            .any(|scope| caller.actor.may_pattern(*scope, pattern).is_ok())
    })
}

/// Its patterns; one that cannot be read back counts as all keys.
fn patterns(job: &Job) -> Vec<Pattern> {
    let texts = job.patterns.iter().map(|text| unescaped(text));
    texts
        .map(|bytes| {
            bytes
                .and_then(|bytes| Pattern::new(bytes).ok())
                .unwrap_or_else(Pattern::all)
        })
        .collect()
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let text = error.to_string();
        match error {
            ControlError::Unknown { .. } => Self::new(Kind::NoSuchJob, text),
            ControlError::NotNow { state, .. } => Self::new(Kind::JobState, text).with("state", state.name()),
            ControlError::Overlaps { job, pattern } => Self::new(Kind::Overlaps, text)
                .with("job", job.to_string())
                .with("pattern", pattern),
            ControlError::OtherCache { .. } => Self::new(Kind::OtherCache, text),
            ControlError::Cache(error) => error.into(),
            ControlError::Kept(error) => not_kept(&error),
        }
    }
}

/// What cannot be kept or written down is not done.
pub(super) fn not_kept(error: &crate::jobs::JobsError) -> Problem {
    tracing::error!("a job was refused: {error}");
    Problem::new(
        Kind::Busy,
        "jobs cannot be kept or written down at the moment; nothing was done",
    )
    .retry_after(std::time::Duration::from_secs(5))
}
