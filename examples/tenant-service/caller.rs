//! Who calls: the tenant behind the `x-api-key` header.
//!
//! [`identify`] stands in front of every route that needs a caller: it turns away who has no valid key, and
//! leaves a [`Caller`] for what comes after it (limits, idempotency, handlers). Each request of a known
//! caller is counted.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use crate::App;
use crate::answer::Refusal;
use crate::store::{Identity, Role};

/// Somebody with a valid API key.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Arc<Identity>);

/// Somebody with an operator's API key.
#[derive(Debug)]
pub(crate) struct Operator(pub(crate) Arc<Identity>);

/// Lets a request through whose API key is valid, with its [`Caller`] among its extensions.
pub(crate) async fn identify(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let presented = request.headers().get("x-api-key");
    let Some(api_key) = presented.and_then(|value| value.to_str().ok()) else {
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "send your API key as x-api-key",
        ));
    };
    let (identity, _) = app.tenants.identify(api_key).await?;
    let Some(identity) = identity else {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unknown API key"));
    };
    app.tenants.count(&identity.tenant).await?;
    request.extensions_mut().insert(Caller(identity));
    Ok(next.run(request).await)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "send your API key as x-api-key"))
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Caller(identity) = Caller::from_request_parts(parts, state).await?;
        match identity.role {
            Role::Operator => Ok(Self(identity)),
            Role::Tenant => Err(Refusal::new(StatusCode::FORBIDDEN, "operators only")),
        }
    }
}
