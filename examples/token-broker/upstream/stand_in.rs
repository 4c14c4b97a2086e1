//! The stand-in for GitHub: mints tokens that open nothing, slowly, with a rate limit, and keeps a ledger.
//!
//! Its switches make it fail or dawdle while it runs: `PUT /switches`. What it did is at `GET /ledger`, where a token
//! is a fingerprint.

use std::collections::VecDeque;
use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use cache_core::clock::{self, Instant};
use cache_layers::{SystemClock, WallClock as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use crate::profiles::Order;
use crate::times::Times;
use crate::token::{AccessToken, Minted};

/// The most requests that the ledger lists; the counters go on.
const LONGEST_LEDGER: usize = 100_000;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switches {
    /// Whether every request fails.
    #[serde(default)]
    pub(crate) failing: bool,
    /// How long an answer takes, in milliseconds.
    #[serde(default = "Switches::usual_delay")]
    pub(crate) delay_ms: u64,
    /// How many requests an hour it takes.
    #[serde(default = "Switches::usual_limit")]
    pub(crate) limit: usize,
}

impl Switches {
    const fn usual_delay() -> u64 {
        50
    }

    const fn usual_limit() -> usize {
        5_000
    }
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            failing: false,
            delay_ms: Self::usual_delay(),
            limit: Self::usual_limit(),
        }
    }
}

/// What it did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// Tokens.
    pub(crate) minted: u64,
    /// Requests over the rate limit.
    pub(crate) limited: u64,
    /// Requests that failed.
    pub(crate) failed: u64,
    /// Every request, in order.
    pub(crate) requests: Vec<Entry>,
}

/// One request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) app: String,
    pub(crate) profile: String,
    /// When it came, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// `minted`, `limited` or `failed`.
    pub(crate) outcome: String,
    /// The fingerprint of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

#[derive(Debug)]
struct StandIn {
    times: Times,
    state: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    switches: Switches,
    /// When the requests of the last hour came that were let through.
    recent: VecDeque<Instant>,
    /// How many tokens were made.
    number: u64,
    ledger: Ledger,
}

/// Listens at `address`; the address that it got, and what serves until it is dropped.
pub(crate) async fn listen(
    address: SocketAddr,
    times: Times,
    switches: Switches,
) -> anyhow::Result<(
    SocketAddr,
    impl Future<Output = std::io::Result<()>> + Send + 'static,
)> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("listen on {address} for the upstream's stand-in"))?;
    let address = listener.local_addr()?;
    let state = Inside {
        switches,
        ..Inside::default()
    };
    let stand_in = Arc::new(StandIn {
        times,
        state: Mutex::new(state),
    });
    let router = Router::new()
        .route("/access_tokens", post(mint))
        .route("/ledger", get(ledger))
        .route("/switches", put(switch))
        .with_state(stand_in);
    Ok((address, axum::serve(listener, router).into_future()))
}

async fn mint(State(stand_in): State<Arc<StandIn>>, Json(order): Json<Order>) -> Response {
    let at_ms = millis(SystemClock.since_epoch());
    let (switches, wait) = stand_in.admit();
    tokio::time::sleep(Duration::from_millis(switches.delay_ms)).await;
    if let Some(wait) = wait {
        stand_in.note(order, at_ms, "limited", None);
        let seconds = wait.as_secs_f64().ceil().to_string();
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds)]).into_response();
    }
    if switches.failing {
        stand_in.note(order, at_ms, "failed", None);
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let token = stand_in.token(&order);
    let minted = Minted {
        expires_ms: millis(SystemClock.since_epoch() + stand_in.times.validity()),
        token,
    };
    stand_in.note(order, at_ms, "minted", Some(minted.token.fingerprint()));
    (StatusCode::CREATED, Json(minted)).into_response()
}

async fn ledger(State(stand_in): State<Arc<StandIn>>) -> Json<Ledger> {
    Json(stand_in.inside().ledger.clone())
}

async fn switch(State(stand_in): State<Arc<StandIn>>, Json(switches): Json<Switches>) -> Json<Switches> {
    stand_in.inside().switches = switches;
    Json(switches)
}

impl StandIn {
    /// Counts a request against the limit: how to answer it, and after which time there is room again, if there is none.
    fn admit(&self) -> (Switches, Option<Duration>) {
        let hour = self.times.hour();
        let now = clock::now();
        let mut inside = self.inside();
        let switches = inside.switches;
        while inside.recent.front().is_some_and(|first| *first + hour <= now) {
            inside.recent.pop_front();
        }
        if inside.recent.len() < switches.limit {
            inside.recent.push_back(now);
            return (switches, None);
        }
        let first = inside.recent.front().copied().unwrap_or(now);
        (switches, Some(first + hour - now))
    }

    /// A token of its own for each request.
    fn token(&self, order: &Order) -> AccessToken {
        let number = {
            let mut inside = self.inside();
            inside.number += 1;
            inside.number
        };
        let seed = format!("{order:?} {:?} {number}", SystemClock.since_epoch());
        let digest = Sha256::digest(seed);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        AccessToken::new(format!("ghs_{}", &hex[..36]))
    }

    fn note(&self, order: Order, at_ms: u64, outcome: &str, token: Option<String>) {
        let mut inside = self.inside();
        let ledger = &mut inside.ledger;
        let counter = match outcome {
            "minted" => &mut ledger.minted,
            "limited" => &mut ledger.limited,
            _ => &mut ledger.failed,
        };
        *counter += 1;
        if ledger.requests.len() < LONGEST_LEDGER {
            ledger.requests.push(Entry {
                app: order.app,
                profile: order.profile,
                at_ms,
                outcome: outcome.to_owned(),
                token,
            });
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
