//! The Lambda Runtime API: three requests over loopback.
//!
//! Without the crate `lambda_runtime`: the API is small and stable, and the HTTP client is one that this workspace has
//! already. A function that needs streamed answers or the types of AWS events takes that crate.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::http::{HeaderMap, Method, Request};
use bytes::Bytes;
use cache_layers::{SystemClock, WallClock as _};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// What is kept of an invocation's time for the answer itself.
const RESERVE: Duration = Duration::from_millis(100);

/// Where invocations come from and answers go.
#[derive(Debug)]
pub(crate) struct Runtime {
    http: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

/// One event to handle.
#[derive(Debug)]
pub(crate) struct Invocation {
    id: String,
    /// When Lambda ends the invocation, since 1970.
    deadline: Duration,
    pub(crate) event: Bytes,
}

impl Runtime {
    /// For the address in `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn new(address: &str) -> Self {
        Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
            base: format!("http://{address}/2018-06-01/runtime"),
        }
    }

    /// Waits for the next invocation. Lambda freezes the process while it waits here.
    pub(crate) async fn next(&self) -> anyhow::Result<Invocation> {
        let (headers, event) = self.send(Method::GET, "/invocation/next", Bytes::new()).await?;
        let header = |name: &str| {
            let value = headers.get(name).with_context(|| format!("no header {name}"))?;
            Ok::<_, anyhow::Error>(value.to_str()?)
        };
        let deadline = header("lambda-runtime-deadline-ms")?.parse()?;
        Ok(Invocation {
            id: header("lambda-runtime-aws-request-id")?.to_owned(),
            deadline: Duration::from_millis(deadline),
            event,
        })
    }

    /// The result of an invocation.
    pub(crate) async fn answer(&self, invocation: &Invocation, answer: Vec<u8>) -> anyhow::Result<()> {
        let path = format!("/invocation/{}/response", invocation.id);
        self.send(Method::POST, &path, answer.into()).await?;
        Ok(())
    }

    /// Says that an invocation failed. The process goes on with the next one.
    pub(crate) async fn fail(&self, invocation: &Invocation, error: &anyhow::Error) -> anyhow::Result<()> {
        let path = format!("/invocation/{}/error", invocation.id);
        self.send_error(&path, "Function.Failed", error).await
    }

    /// Says that the function could not start. The process ends after that.
    pub(crate) async fn fail_start(&self, error: &anyhow::Error) -> anyhow::Result<()> {
        self.send_error("/init/error", "Function.NotStarted", error).await
    }

    async fn send_error(&self, path: &str, kind: &str, error: &anyhow::Error) -> anyhow::Result<()> {
        tracing::error!(error = format!("{error:#}"), kind);
        let body = serde_json::json!({ "errorType": kind, "errorMessage": format!("{error:#}") });
        self.send(Method::POST, path, body.to_string().into()).await?;
        Ok(())
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<(HeaderMap, Bytes)> {
        let uri = format!("{}{path}", self.base);
        let request = Request::builder()
            .method(method)
            .uri(&uri)
            .body(Full::new(body))?;
        let response = self.http.request(request).await;
        let response = response.with_context(|| format!("ask the Runtime API at {uri}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        ensure!(head.status.is_success(), "{uri} answered {}", head.status);
        Ok((head.headers, body))
    }
}

impl Invocation {
    /// How long the handler may take.
    pub(crate) fn time_left(&self) -> Duration {
        let now = SystemClock.since_epoch();
        self.deadline.saturating_sub(now).saturating_sub(RESERVE)
    }
}
