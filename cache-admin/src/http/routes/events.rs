//! `/cache/jobs/{id}/events`: what happens to a job, as it happens.

use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use futures::{FutureExt as _, StreamExt as _};
use std::time::Duration;

use super::jobs::seen;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsEvents, NoQuery, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::jobs::JobEvent;

/// The number of the last event that a client has.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a client that lost its connection waits before it comes again.
const RETRY: Duration = Duration::from_secs(2);

refusals!(Refusals: Unauthorized, Forbidden, RateLimited, InvalidHeader, NoSuchJob);

/// The events of a job, from the first that is kept or the one after `Last-Event-ID`, until it ends, as server-sent
/// events: `id` is the number, `event` the type, `data` the event. A comment comes where nothing happens for 15
/// seconds. 204 says that there is nothing more to come: do not ask again. Scope `list` or `purge` for all that the
/// job's patterns match.
#[utoipa::path(
    get,
    path = "/cache/jobs/{id}/events",
    operation_id = "follow_job",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job", pattern = "^[0-9a-zA-Z]{26}$"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The number of the last event that the client has",
            minimum = 0, maximum = 9007199254740991_i64),
    ),
    responses(
        (status = 200, description = "Events; the data of each is a JobEvent", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The job has ended and the client has all of its events"),
        Refusals,
    ),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn follow(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsEvents,
    _: Query<NoQuery>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> answer!(Result<Response, Problem>) {
    let job = seen(&service, &caller, &id)?;
    let after = last_event(&headers)?;
    let mut events = service
        .jobs()
        .events(job.id, after)
        .ok_or_else(|| Problem::new(Kind::NoSuchJob, "the job is gone"))?;
    let first = match events.next().now_or_never() {
        Some(None) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Some(first) => first,
        None => None,
    };
    let place = service.streams().try_take(caller.actor.name()).ok_or_else(|| {
        let detail = "as many streams of events as there may be are open";
        Problem::new(Kind::Busy, detail).retry_after(RETRY)
    })?;
    let mut stopping = service.stopping();
    let further = stream::unfold((events, place), |(mut events, place)| async move {
        let event = events.next().await?;
        Some((event, (events, place)))
    });
    let stopped = async move {
        // An error would say that the service is gone.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let all = stream::iter(first).chain(further).take_until(Box::pin(stopped));
    Ok(answer(all, service.limits().heartbeat))
}

fn answer(events: impl Stream<Item = JobEvent> + Send + 'static, heartbeat: Duration) -> Response {
    let events = events.map(|event| Ok::<_, Infallible>(sent(&event)));
    let alive = KeepAlive::new().interval(heartbeat);
    // Proxies hold back what they buffer.
    let unbuffered = [("x-accel-buffering", "no")];
    (unbuffered, Sse::new(events).keep_alive(alive)).into_response()
}

fn sent(event: &JobEvent) -> Event {
    let data = serde_json::to_string(event).unwrap_or_default();
    Event::default()
        .id(event.sequence.to_string())
        .event(event.what.name())
        .retry(RETRY)
        .data(data)
}

fn last_event(headers: &HeaderMap) -> Result<u64, Problem> {
    let mut given = headers.get_all(LAST_EVENT_ID).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(0),
        (Some(one), None) => one
            .to_str()
            .ok()
            .and_then(|one| one.trim().parse().ok())
            .ok_or(()),
        _ => Err(()),
    }
    .map_err(|()| {
        Problem::new(
            Kind::InvalidHeader,
            "Last-Event-ID: has to be the number of an event",
        )
    })
}
