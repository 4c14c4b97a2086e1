//! `/settings`: what the caller's tenant has set, cached.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::App;
use crate::answer::{Answer, Body, Refusal};
use crate::caller::Caller;
use crate::store::Settings;

/// Settings, and what it took to answer.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    tenant: String,
    settings: Settings,
    served_from: &'static str,
    database_reads: u64,
}

/// Settings that were replaced.
#[derive(Debug, Serialize)]
pub(super) struct Replaced {
    tenant: String,
    settings: Settings,
}

pub(super) async fn show(State(app): State<App>, Caller(caller): Caller) -> Result<Answer<Shown>, Refusal> {
    let (settings, source) = app.tenants.settings(&caller.tenant).await?;
    let Some(settings) = settings else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "the tenant has no settings"));
    };
    let shown = Shown {
        tenant: caller.tenant.clone(),
        settings: Settings::clone(&settings),
        served_from: source.served_from(),
        database_reads: app.tenants.database_reads(),
    };
    Ok(Answer::from_source(shown, source))
}

pub(super) async fn replace(
    State(app): State<App>,
    Caller(caller): Caller,
    body: Body<Settings>,
) -> Result<Answer<Replaced>, Refusal> {
    let settings = body?.0;
    app.tenants
        .update_settings(&caller.tenant, settings.clone())
        .await?;
    Ok(Answer::new(Replaced {
        tenant: caller.tenant.clone(),
        settings,
    }))
}
