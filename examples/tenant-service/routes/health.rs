//! `/health`: whether the process lives, and whether it should get traffic.

use axum::extract::State;
use serde::Serialize;

use crate::App;
use crate::answer::Answer;

/// How the service does.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
}

pub(super) async fn live() -> Answer<Health> {
    Answer::new(Health {
        status: "live",
        cache: None,
    })
}

/// Asks the cache and says what it found, always with 200: the service answers from its database while the
/// cache is away, and a readiness that failed would take all instances out of service at once.
pub(super) async fn ready(State(app): State<App>) -> Answer<Health> {
    Answer::new(match app.tenants.ping().await {
        Ok(()) => Health {
            status: "ready",
            cache: Some("ok"),
        },
        Err(error) => Health {
            status: "degraded",
            cache: Some(error.kind()),
        },
    })
}
