//! Refusals and failures, as problem details (RFC 9457).
//!
//! A handler answers a [`Problem`]; the outermost layer renders it, so that each tells the request's id. Not in
//! here: which errors of the cache become which problem ([`of_cache`]).

mod kind;
mod of_cache;

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

pub(crate) use kind::{Kind, TYPE_PREFIX};

/// The media type of problem details.
pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

/// When there may be a place again.
const SOON: Duration = Duration::from_secs(5);

/// Why a request was not served, for people and for programs.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    header: Option<(HeaderName, HeaderValue)>,
    members: Map<String, Value>,
}

impl Problem {
    /// One of this kind. `detail` says what to do about it; it holds no value and no secret.
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            retry_after: None,
            header: None,
            members: Map::new(),
        }))
    }

    /// A defect; what it is stays in the log.
    pub(crate) fn internal() -> Self {
        Self::new(
            Kind::Internal,
            "a defect of the service; its log has more under the request's id",
        )
    }

    /// As many do this already as may at once.
    pub(crate) fn busy(detail: &'static str) -> Self {
        Self::new(Kind::Busy, detail).retry_after(SOON)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    pub(crate) fn retry_after(mut self, time: Duration) -> Self {
        self.0.retry_after = Some(time);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// With a member besides the standard ones.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(member.to_owned(), value.into());
        self
    }

    /// The response, for the request of this id.
    pub(crate) fn render(self, request_id: &str) -> Response {
        let inner = *self.0;
        let status = inner.kind.status();
        let mut members = inner.members;
        members.insert("type".to_owned(), inner.kind.uri().into());
        members.insert("title".to_owned(), inner.kind.title().into());
        members.insert("status".to_owned(), status.as_u16().into());
        members.insert("detail".to_owned(), inner.detail.into_owned().into());
        members.insert("request_id".to_owned(), request_id.into());
        let mut text = Value::Object(members).to_string();
        text.push('\n');
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(time) = inner.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(time)));
        }
        if let Some((name, value)) = inner.header {
            headers.insert(name, value);
        }
        response
    }
}

/// Bare: the outermost layer renders it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind().status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StatusCode> for Problem {
    fn from(status: StatusCode) -> Self {
        match Kind::of_status(status) {
            Kind::NotFound => Self::new(Kind::NotFound, "no route has this path; /openapi.json lists them"),
            Kind::MethodNotAllowed => Self::new(
                Kind::MethodNotAllowed,
                "this path does not take this method; the header Allow says which it takes",
            ),
            Kind::Internal => Self::internal(),
            kind => Self::new(kind, status.canonical_reason().unwrap_or("refused")),
        }
    }
}

/// Rounded up, at least 1: `Retry-After: 0` would ask for a retry that is in vain.
fn whole_seconds(time: Duration) -> u64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    seconds.max(1)
}
