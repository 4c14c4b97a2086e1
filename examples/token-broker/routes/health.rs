//! `/health`: whether the process runs, and whether its cache answers.

use axum::extract::State;
use serde::Serialize;

use super::App;
use crate::answer::Answer;

#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    /// Why the cache does not answer, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
}

pub(super) async fn live() -> Answer<Health> {
    Answer::new(Health {
        status: "live",
        cache: None,
    })
}

/// Always with 200: without its cache the broker serves what it remembers and mints, within bounds.
pub(super) async fn ready(State(app): State<App>) -> Answer<Health> {
    let error = app.broker.ping().await.err();
    Answer::new(Health {
        status: if error.is_some() { "degraded" } else { "ready" },
        cache: error.map(|error| error.kind()),
    })
}
