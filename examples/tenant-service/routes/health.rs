//! `/health`: whether the process lives, and whether it should get traffic.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::App;
use crate::answer::Answer;

/// How the service does.
#[derive(Debug, Default, Serialize)]
pub(super) struct Health {
    status: &'static str,
    /// Whether the cache answers; if not, why, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    /// Whether calls get through to its servers: `closed` if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit: Option<String>,
}

pub(super) async fn live() -> Answer<Health> {
    Answer::new(Health {
        status: "live",
        ..Health::default()
    })
}

/// Asks the cache and says what it found, with 200 also if it is away: the service answers from its database then, and a
/// readiness that failed would take all instances out of service at once. It fails while the service is about to stop.
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, Answer<Health>) {
    if app.leaving.has_begun() {
        let health = Health {
            status: "stopping",
            ..Health::default()
        };
        return (StatusCode::SERVICE_UNAVAILABLE, Answer::new(health));
    }
    let (status, cache) = match app.tenants.ping().await {
        Ok(()) => ("ready", "ok"),
        Err(error) => ("degraded", error.kind()),
    };
    let health = Health {
        status,
        cache: Some(cache),
        circuit: app.guard.as_ref().map(|guard| guard.state().to_string()),
    };
    (StatusCode::OK, Answer::new(health))
}
