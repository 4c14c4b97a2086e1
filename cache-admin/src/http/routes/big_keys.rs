//! `/cache/big-keys`: what takes the most memory, by a sample.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::access::Scope;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsJson, KeyText, Query, within};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::{BigKeys, BigKeysOptions};

/// The most keys that are drawn for one request, and that are named in its answer.
const MOST: (u16, u16) = (20_000, 1_000);

/// After how long no more keys are drawn, so that the answer comes in time.
const TIME: Duration = Duration::from_secs(15);

/// Which keys, and how many.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The pattern of the keys: *, ?, [abc], [^abc], and \ before a byte that means itself. Without one, all keys.
    #[param(min_length = 1, max_length = 16_384)]
    pattern: Option<String>,
    /// The pattern in base64 of either alphabet, padded or not, where it is no text.
    #[param(min_length = 2, max_length = 21_848, pattern = "^[A-Za-z0-9+/_-]+={0,2}$")]
    pattern_base64: Option<String>,
    /// How many keys are drawn at random, matching or not; with as many as there are, all are looked at. Fewer are, where
    /// the servers take too long.
    #[param(minimum = 1, maximum = 20000, default = 10_000)]
    samples: Option<u16>,
    /// How many of the largest are named.
    #[param(minimum = 0, maximum = 1000, default = 20)]
    top: Option<u16>,
}

refusals!(Refusals: Unauthorized, Forbidden, RateLimited, InvalidArgument, Unsupported, CacheRefused, CacheUnavailable);

/// The largest of keys that are drawn at random, and what kinds of keys take the memory. The work is bounded, and two
/// such searches are made at once. Scope `list` for all that the pattern could match.
#[utoipa::path(
    get,
    path = "/cache/big-keys",
    operation_id = "find_big_keys",
    tag = "cache",
    params(Which),
    responses((status = 200, description = "What was found, and by how many keys", body = BigKeys), Refusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn search(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(which): Query<Which>,
) -> answer!(Result<Json<BigKeys>, Problem>) {
    let given = KeyText {
        name: "pattern",
        kind: Kind::InvalidQuery,
        text: which.pattern.as_deref(),
        base64: which.pattern_base64.as_deref(),
    };
    let pattern = given.pattern_or_all()?;
    caller.needs_pattern(Scope::List, &pattern)?;
    let samples = within(Kind::InvalidQuery, "samples", which.samples, 1..=MOST.0)?.unwrap_or(10_000);
    let top = within(Kind::InvalidQuery, "top", which.top, 0..=MOST.1)?.unwrap_or(20);
    let options = BigKeysOptions::default()
        .with_pattern(pattern)
        .with_samples(samples.into())
        .with_top(top.into())
        .with_time(TIME);
    let _place = service
        .searches()
        .try_acquire()
        .map_err(|_| Problem::busy("others search for big keys; as many as may at once"))?;
    let found = Box::pin(BigKeys::of(service.stack(), &options)).await?;
    Ok(Json(found))
}
