//! `/usage`: how much the caller's tenant asked in the present window.

use axum::extract::State;
use serde::Serialize;

use crate::App;
use crate::answer::{Answer, Refusal};
use crate::caller::Caller;
use crate::tenants::USAGE_WINDOW;

/// A tenant's requests, this one included.
#[derive(Debug, Serialize)]
pub(super) struct Usage {
    tenant: String,
    requests: u64,
    window_seconds: u64,
}

pub(super) async fn show(State(app): State<App>, Caller(caller): Caller) -> Result<Answer<Usage>, Refusal> {
    let requests = app.tenants.usage(&caller.tenant).await?;
    Ok(Answer::new(Usage {
        tenant: caller.tenant.clone(),
        requests,
        window_seconds: USAGE_WINDOW.as_secs(),
    }))
}
