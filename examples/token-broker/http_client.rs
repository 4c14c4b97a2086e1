//! HTTP to a loopback address: for the upstream's stand-in, and for the load generator.
//!
//! Not in here: time limits. The caller sets them.

use std::fmt;

use anyhow::{Context as _, ensure};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use cache_core::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The longest body that is read.
const LONGEST: usize = 16 * 1024 * 1024;

/// A client that keeps its connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Http {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    /// For `target`, which is `host:port` or `http://host:port`.
    pub(crate) fn new(target: &str) -> Self {
        let base = target.strip_prefix("http://").unwrap_or(target);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            base: format!("http://{}", base.trim_end_matches('/')),
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> anyhow::Result<Reply> {
        let uri = format!("{}{path}", self.base);
        let request = Request::builder()
            .method(method)
            .uri(&uri)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.unwrap_or_default()))?;
        let response = self.client.request(request).await;
        let response = response.with_context(|| format!("no answer from {}", self.base))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer of {} broke off: {error}", self.base))?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// What is at `path`, as JSON.
    pub(crate) async fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let reply = self.send(Method::GET, path, None).await?;
        ensure!(
            reply.status.is_success(),
            "{}{path} answered {}",
            self.base,
            reply.status
        );
        serde_json::from_slice(&reply.body).with_context(|| format!("what {}{path} answered", self.base))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({})", self.base)
    }
}
