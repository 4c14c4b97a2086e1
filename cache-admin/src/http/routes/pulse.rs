//! `/cache/pulse`: how the primaries do since an earlier look.
//!
//! Rates need two looks. What the first leaves behind is handed out, sealed, and comes back with the next request: nothing
//! is kept here, each reader has an interval of their own, and one request is one look.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Scope;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsJson, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::seal::{Binding, Purpose, Unsealed};
use crate::{Beat, Pulse, Reading};

/// How long a reading is good for.
const LIFE: Duration = Duration::from_secs(3_600);

/// The primaries of which a reading tells, and its bytes before it is sealed: what fits a query.
const MOST: (usize, usize) = (1_024, 11_000);

/// Since when.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    /// The `reading` of an earlier answer: rates are of the time since then. Without one they are the servers' own, or
    /// missing.
    #[param(min_length = 1, max_length = 16_384)]
    since: Option<String>,
}

/// One look, and what the next one goes on from.
#[derive(Serialize, ToSchema)]
pub(super) struct Looked {
    #[serde(flatten)]
    beat: Beat,
    /// What `since` takes in the next request. Good for an hour.
    reading: String,
}

refusals!(Refusals: Unauthorized, Forbidden, RateLimited, InvalidCursor, Unsupported, CacheRefused, CacheUnavailable);

/// How each primary does: rates since an earlier look, and the latest calls that took long, without what they were about.
/// One question to each primary. Scope `list`.
#[utoipa::path(
    get,
    path = "/cache/pulse",
    operation_id = "look_at_pulse",
    tag = "cache",
    params(Since),
    responses((status = 200, description = "The look", body = Looked), Refusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn look(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(since): Query<Since>,
) -> answer!(Result<Json<Looked>, Problem>) {
    caller.needs(Scope::List)?;
    let mut pulse = Pulse::of(service.stack())?;
    if let Some(since) = &since.since {
        let reading = opened(&service, since)
            .map_err(|why| Problem::new(Kind::InvalidCursor, format!("since is not accepted: {why}")))?;
        pulse = pulse.after(reading);
    }
    let beat = pulse.beat().await?;
    Ok(Json(Looked {
        beat,
        reading: sealed(&service, &pulse),
    }))
}

fn opened(service: &Service, since: &str) -> Result<Reading, Unsealed> {
    let text = service
        .sealer()
        .open(Purpose::Reading, &binding(service), since)?;
    // Another version of this program may write them in another way.
    serde_json::from_slice(&text).map_err(|_| Unsealed::Foreign)
}

fn sealed(service: &Service, pulse: &Pulse) -> String {
    let mut most = MOST.0;
    let text = loop {
        let text = serde_json::to_vec(&pulse.reading(most)).unwrap_or_default();
        if text.len() <= MOST.1 {
            break text;
        }
        // Of those that are left out the next look tells what they say themselves.
        most /= 2;
    };
    service
        .sealer()
        .seal(Purpose::Reading, &binding(service), &text, LIFE)
}

/// Totals are the same for everybody who may look.
fn binding(service: &Service) -> Binding {
    Binding::new().with(service.configured().as_bytes())
}
