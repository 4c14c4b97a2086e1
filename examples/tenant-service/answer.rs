//! What the service says over HTTP: JSON with a line end, and where it came from.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cache_core::CacheError;
use cache_layers::read_through::ReadError;
use serde::Serialize;

use crate::read_through::Source;

/// A successful answer. Its line end is for whoever tries the service in a terminal.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    body: T,
    source: Option<Source>,
}

impl<T: Serialize> Answer<T> {
    pub(crate) const fn new(body: T) -> Self {
        Self { body, source: None }
    }

    /// Says in `x-cache` whether the cache had it.
    pub(crate) const fn from_source(body: T, source: Source) -> Self {
        Self {
            body,
            source: Some(source),
        }
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let mut text = match serde_json::to_vec(&self.body) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!("an answer has no JSON form: {error}");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        };
        text.push(b'\n');
        let json = [("content-type", "application/json")];
        match self.source {
            Some(source) => (json, [("x-cache", source.as_header())], text).into_response(),
            None => (json, text).into_response(),
        }
    }
}

/// A refusal: the status and a sentence for the caller. What lies behind it goes into the log, not out.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.message });
        (self.status, Answer::new(body)).into_response()
    }
}

impl From<CacheError> for Refusal {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::InvalidInput { .. } => Self::new(StatusCode::BAD_REQUEST, error.to_string()),
            error => {
                tracing::warn!(kind = error.kind(), "no answer without the cache: {error}");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the cache does not answer, try again",
                )
            }
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Input(error) => error.into(),
            error => {
                tracing::warn!("no answer: {error}");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no answer at present, try again")
            }
        }
    }
}

impl From<axum::extract::rejection::JsonRejection> for Refusal {
    fn from(rejection: axum::extract::rejection::JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// A JSON body whose faults are refused as everything else is.
pub(crate) type Body<T> = Result<Json<T>, axum::extract::rejection::JsonRejection>;
