//! The upstream over HTTP.

use std::time::Duration;

use axum::http::StatusCode;

use super::{MintError, Minting, Upstream};
use crate::http_client::Http;
use crate::profiles::Order;
use crate::token::Minted;

/// How long to leave an upstream alone whose 429 does not say, in seconds.
const PAUSE: u64 = 1;

/// An upstream at an address.
#[derive(Debug)]
pub(crate) struct RemoteUpstream {
    http: Http,
}

impl RemoteUpstream {
    pub(crate) const fn new(http: Http) -> Self {
        Self { http }
    }

    async fn ask(&self, order: &Order) -> Result<Minted, MintError> {
        let failed = |detail: String| MintError::Failed { detail };
        let body = serde_json::to_vec(order).map_err(|error| failed(error.to_string()))?;
        let reply = self.http.send("POST", "/access_tokens", &body).await;
        let reply = reply.map_err(|error| failed(format!("{error:#}")))?;
        match reply.status {
            // The error of a malformed answer could quote it: it is not passed on.
            StatusCode::CREATED => serde_json::from_slice(&reply.body)
                .map_err(|_| failed("its answer is not a token with an expiry".into())),
            StatusCode::TOO_MANY_REQUESTS => Err(MintError::RateLimited {
                retry_after: Duration::from_secs(reply.retry_after.unwrap_or(PAUSE)),
            }),
            status => Err(failed(format!("it answered {status}"))),
        }
    }
}

impl Upstream for RemoteUpstream {
    fn mint<'a>(&'a self, order: &'a Order) -> Minting<'a> {
        Box::pin(self.ask(order))
    }
}
