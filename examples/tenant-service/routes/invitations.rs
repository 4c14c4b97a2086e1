//! `/invitations`: somebody is invited, once however often the request arrives.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::App;
use crate::answer::{Answer, Body, Refusal};
use crate::caller::Caller;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invite {
    email: String,
}

pub(super) async fn create(
    State(app): State<App>,
    Caller(caller): Caller,
    body: Body<Invite>,
) -> Result<Response, Refusal> {
    let invitation = app.tenants.invite(&caller.tenant, body?.0.email);
    Ok((StatusCode::CREATED, Answer::new(invitation)).into_response())
}
