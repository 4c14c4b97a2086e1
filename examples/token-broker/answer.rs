//! What the broker says over HTTP: JSON with a line end, never to be stored by anyone in between.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::broker::Refused;
use crate::profiles::NoSuchToken;

/// When to ask again where nothing says it.
const USUAL_RETRY: Duration = Duration::from_secs(1);

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer<T>(T);

impl<T: Serialize> Answer<T> {
    pub(crate) const fn new(body: T) -> Self {
        Self(body)
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let Ok(mut text) = serde_json::to_vec(&self.0) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        text.push(b'\n');
        let headers = [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (headers, text).into_response()
    }
}

/// A refusal: the status, a sentence for the caller, and when to ask again.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after: None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.message });
        let mut response = (self.status, Answer::new(body)).into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs_f64().ceil().max(1.0).to_string();
            if let Ok(seconds) = seconds.parse() {
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
            }
        }
        response
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSuch(NoSuchToken::App) => Self::new(StatusCode::NOT_FOUND, "no such app"),
            Refused::NoSuch(NoSuchToken::Profile) => {
                Self::new(StatusCode::NOT_FOUND, "the app has no such profile")
            }
            Refused::NoSuch(NoSuchToken::RepositoryNeeded) => Self::new(
                StatusCode::BAD_REQUEST,
                "this profile is for one repository; name it as repository=NAME",
            ),
            Refused::NoSuch(NoSuchToken::RepositoryMalformed) => Self::new(
                StatusCode::BAD_REQUEST,
                "repository takes a name alone: letters, digits, '-', '_' and '.'",
            ),
            Refused::NoSuch(NoSuchToken::RepositoryNotCovered) => Self::new(
                StatusCode::FORBIDDEN,
                "the profile does not cover this repository",
            ),
            Refused::Input(error) => Self::new(StatusCode::BAD_REQUEST, error.to_string()),
            Refused::NoToken { why, cache_fails } => {
                let also = if cache_fails { ", and the cache fails" } else { "" };
                Self {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    message: format!("no valid token: {why}{also}"),
                    retry_after: Some(why.retry_after().unwrap_or(USUAL_RETRY)),
                }
            }
        }
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(
            rejection.status(),
            format!(
                "{}; ask for /token?app=APP&profile=PROFILE",
                rejection.body_text()
            ),
        )
    }
}
