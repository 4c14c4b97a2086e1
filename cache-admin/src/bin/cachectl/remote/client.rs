//! HTTP to the service: requests, answers as JSON, refusals as failures.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::Rng as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem;
use super::target::Target;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long the service may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one request waits in all for a service that takes no more at the moment.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// The longest answer that is read.
const LONGEST: usize = 64 * 1024 * 1024;

/// How often a request is made whose answer was lost.
const TRIES: u32 = 3;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A service.
pub(crate) struct Client {
    base: String,
    token: Option<HeaderValue>,
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What is asked of it.
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    /// With the query.
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    pub(super) accept: &'static str,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

/// A refusal of the service.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(Duration::from_secs(10)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(target.tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Self {
            base: target.base,
            token: target.token,
            http: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// What is at `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(Asked::new(Method::GET, path)).await
    }

    /// The answer to a `POST` without a body.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(Asked::new(Method::POST, path)).await
    }

    /// The answer to a `DELETE`.
    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(Asked::new(Method::DELETE, path)).await
    }

    /// The answer to a `POST`, or why it was refused. Made again where the answer was lost, and done once all the
    /// same.
    pub(super) async fn once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Result<T, Refusal>, Failure> {
        let key = format!("{:032x}", rand::rng().random::<u128>());
        let key = HeaderValue::try_from(key).map_err(|error| Failure::Usage(error.to_string()))?;
        let mut tries = 0;
        loop {
            let mut asked = Asked::new(Method::POST, path);
            asked.body = body;
            asked.header = Some((IDEMPOTENCY_KEY, key.clone()));
            tries += 1;
            match self.ask(asked).await {
                Err(failure) if tries < TRIES && failure.exit() == Exit::Unavailable => {}
                answer => return answer,
            }
        }
    }

    /// The answer, as JSON.
    async fn json<T: DeserializeOwned>(&self, asked: Asked<'_>) -> Result<T, Failure> {
        let response = self.send(asked).await?;
        let body = self.body(response).await?;
        serde_json::from_slice(&body)
            .map_err(|error| self.strange(&format!("its answer is not what it should be: {error}")))
    }

    /// The answer, where it is none of refusal.
    pub(super) async fn send(&self, asked: Asked<'_>) -> Result<Response<Incoming>, Failure> {
        let response = self.call(asked).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.body(response).await.unwrap_or_default();
        Err(problem::failure(&self.base, status, &body))
    }

    /// The answer, as JSON, or with what status it was refused and why.
    async fn ask<T: DeserializeOwned>(&self, asked: Asked<'_>) -> Result<Result<T, Refusal>, Failure> {
        let response = self.call(asked).await?;
        let status = response.status();
        let body = self.body(response).await?;
        if !status.is_success() {
            return Ok(Err(Refusal { status, body }));
        }
        let read = serde_json::from_slice(&body);
        read.map(Ok)
            .map_err(|error| self.strange(&format!("its answer is not what it should be: {error}")))
    }

    /// What the refusal means.
    pub(super) fn refused(&self, refusal: &Refusal) -> Failure {
        problem::failure(&self.base, refusal.status, &refusal.body)
    }

    /// The answer. A refusal because of too many requests is waited out, as long as the service says, within a limit: nothing
    /// was done, so the request may be made again.
    async fn call(&self, asked: Asked<'_>) -> Result<Response<Incoming>, Failure> {
        let mut left = LONGEST_WAIT;
        loop {
            let response = self.call_once(&asked).await?;
            if response.status() != StatusCode::TOO_MANY_REQUESTS {
                return Ok(response);
            }
            let wait = response.headers().get(RETRY_AFTER);
            let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
            let wait = Duration::from_secs(wait.unwrap_or(1)).max(Duration::from_millis(100));
            let Some(rest) = left.checked_sub(wait) else {
                return Ok(response);
            };
            left = rest;
            tokio::time::sleep(wait).await;
        }
    }

    async fn call_once(&self, asked: &Asked<'_>) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder()
            .method(asked.method.clone())
            .uri(format!("{}{}", self.base, asked.path))
            .header(ACCEPT, asked.accept);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        if let Some((name, value)) = &asked.header {
            request = request.header(name, value);
        }
        let body = match asked.body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        let request = request
            .body(body)
            .map_err(|error| Failure::Usage(format!("--server: {error}")))?;
        match tokio::time::timeout(PATIENCE, self.http.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.unreachable(&causes(&error))),
            Err(_) => Err(self.unreachable("it does not answer")),
        }
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let body = Limited::new(response.into_body(), LONGEST).collect();
        match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.unreachable(&format!("its answer ends within: {error}"))),
            Err(_) => Err(self.unreachable("its answer does not end")),
        }
    }

    pub(super) fn unreachable(&self, reason: &str) -> Failure {
        self.service(Exit::Unavailable, "unavailable", reason)
    }

    pub(super) fn strange(&self, reason: &str) -> Failure {
        self.service(Exit::Failed, "corrupt", reason)
    }

    fn service(&self, exit: Exit, kind: &str, reason: &str) -> Failure {
        Failure::Service {
            exit,
            kind: kind.to_owned(),
            message: format!("the service {}: {reason}", self.base),
        }
    }
}

impl<'a> Asked<'a> {
    pub(super) fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            body: None,
            accept: "application/json",
            header: None,
        }
    }
}

/// The last cause is what helps: that a connection was refused, that a certificate is not trusted.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

/// `text` as a part of a path or of a query.
pub(crate) fn encoded(text: &[u8]) -> String {
    text.iter()
        .map(|&byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// A query parameter, in base64 where it is no text.
pub(super) fn parameter(name: &str, bytes: &[u8]) -> String {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{name}={}", encoded(text.as_bytes())),
        Err(_) => {
            let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
            format!("{name}_base64={text}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_in_a_name_stays_in_its_place() {
        assert_eq!(
            parameter("pattern", "a&b=c d/é?*".as_bytes()),
            "pattern=a%26b%3Dc%20d%2F%C3%A9%3F%2A"
        );
        assert_eq!(parameter("pattern", b"\xff\xfe"), "pattern_base64=__4");
    }
}
