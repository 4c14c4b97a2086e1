//! Who calls: the tenant behind the `x-api-key` header, as an argument of a handler.
//!
//! A handler that takes a [`Caller`] or an [`Operator`] cannot be reached without one. Each request of a
//! known caller is counted.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::App;
use crate::answer::Refusal;
use crate::store::{Identity, Role};

/// Somebody with a valid API key.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Identity);

/// Somebody with an operator's API key.
#[derive(Debug)]
pub(crate) struct Operator(pub(crate) Identity);

impl FromRequestParts<App> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let presented = parts
            .headers
            .get("x-api-key")
            .and_then(|value| value.to_str().ok());
        let Some(api_key) = presented else {
            return Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "send your API key as x-api-key",
            ));
        };
        let (identity, _) = app.tenants.identify(api_key).await;
        let Some(identity) = identity else {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unknown API key"));
        };
        app.tenants.count(&identity.tenant).await?;
        Ok(Self(identity))
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let Caller(identity) = Caller::from_request_parts(parts, app).await?;
        match identity.role {
            Role::Operator => Ok(Self(identity)),
            Role::Tenant => Err(Refusal::new(StatusCode::FORBIDDEN, "operators only")),
        }
    }
}
