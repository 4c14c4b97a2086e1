//! The load generator: so many requests a second for so long, however the brokers answer, and what came back.
//!
//! What is reported, and how: `report.rs`.

mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::http::StatusCode;
use cache_core::clock;
use cache_layers::{SystemClock, WallClock as _};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::http_client::{Connection, Http};
use crate::routes::Shown;
use crate::upstream::stand_in::millis;

pub(crate) use report::Report;

use report::{Answered, Seen};

/// How many requests may be under way at once.
const AT_ONCE: u32 = 64;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to ask for, and of whom.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) brokers: Vec<String>,
    /// App and profile, asked for in turn.
    pub(crate) tokens: Vec<(String, String)>,
    /// Requests a second, of all together.
    pub(crate) rate: u32,
    pub(crate) span: Duration,
}

/// Asks as planned. A request that is late is made at once: the rate does not depend on how fast the answers are,
/// unless all places are taken.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<Report> {
    let begun = clock::now();
    let askers = AT_ONCE.min(plan.rate).max(1);
    let pause = Duration::from_secs(1) * askers / plan.rate;
    let turn = Arc::new(AtomicUsize::new(0));
    let plan = Arc::new(plan);
    let mut tasks = JoinSet::new();
    for asker in 0..askers {
        let (plan, turn) = (Arc::clone(&plan), Arc::clone(&turn));
        let first = begun + pause * asker / askers;
        let number = usize::try_from(asker)?;
        tasks.spawn(async move {
            let broker = &plan.brokers[number % plan.brokers.len()];
            let http = Http::new(broker);
            let mut connection = None;
            let mut seen = Seen::default();
            let mut ticks = tokio::time::interval_at(first, pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while clock::now() - begun < plan.span {
                ticks.tick().await;
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let (app, profile) = &plan.tokens[turn % plan.tokens.len()];
                let (asked, at) = (clock::now(), SystemClock.since_epoch());
                let answered = ask(&http, &mut connection, app, profile).await;
                seen.note((app, profile), millis(at), clock::now() - asked, answered);
            }
            seen
        });
    }
    let mut all = Seen::default();
    while let Some(seen) = tasks.join_next().await {
        all.merge(seen.context("a part of the load ended early")?);
    }
    Ok(all.report(clock::now() - begun))
}

/// Asks over the asker's connection, or over a new one where that is gone.
async fn ask(http: &Http, connection: &mut Option<Connection>, app: &str, profile: &str) -> Answered {
    let path = format!("/token?app={app}&profile={profile}");
    let asked = async {
        let mut open = match connection.take() {
            Some(open) => open,
            None => http.connect().await?,
        };
        let reply = open.send("GET", &path, &[]).await?;
        *connection = Some(open);
        anyhow::Ok(reply)
    };
    let reply = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => return Answered::Failed(format!("{error:#}")),
        Err(_) => return Answered::Failed(format!("no answer within {PATIENCE:?}")),
    };
    if reply.status == StatusCode::SERVICE_UNAVAILABLE {
        return Answered::Refused(String::from_utf8_lossy(&reply.body).trim_end().to_owned());
    }
    if !reply.status.is_success() {
        return Answered::Failed(format!("it answered {}", reply.status));
    }
    match serde_json::from_slice::<Shown>(&reply.body) {
        Ok(shown) => Answered::Token(shown),
        Err(_) => Answered::Failed("its answer is not a token".into()),
    }
}
