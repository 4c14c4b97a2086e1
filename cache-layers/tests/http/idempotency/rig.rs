//! A router that counts its orders, and a client of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::any;
use cache_core::{CacheClient, Keyspace, MemoryCache};
use cache_layers::http::{IdempotencyLayer, IdempotencyOutcome};
use cache_layers::{Idempotency, IdempotencyConfig};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How often the handlers ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Arc<AtomicU32>);

impl Runs {
    pub(crate) fn one_more(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) outcome: Option<IdempotencyOutcome>,
}

impl Answer {
    pub(crate) async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
            outcome: parts.extensions.get().copied(),
        }
    }

    pub(crate) fn is_replayed(&self) -> bool {
        self.headers
            .get("idempotency-replayed")
            .is_some_and(|value| value == "true")
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> String {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        problem["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn recipe(client: Arc<dyn CacheClient>) -> Idempotency {
    Idempotency::new(
        client,
        Keyspace::new("billing").unwrap(),
        IdempotencyConfig::default(),
    )
}

pub(crate) fn layer() -> IdempotencyLayer {
    over(recipe(Arc::new(MemoryCache::default())))
}

/// The layer of a service with one client.
pub(crate) fn over(recipe: Idempotency) -> IdempotencyLayer {
    IdempotencyLayer::new(recipe, |_| Some(String::new()))
}

/// A router whose `/orders` and `/refunds` take 100 ms each and give back what they were given.
pub(crate) fn shop(layer: IdempotencyLayer, runs: &Runs) -> Router {
    let runs = runs.clone();
    let handler = any(move |body: String| {
        let runs = runs.clone();
        async move {
            tokio::time::sleep(ms(100)).await;
            let number = runs.one_more();
            let location = [("location", format!("/orders/{number}")), ("x-trace", "1".into())];
            (StatusCode::CREATED, location, format!("{number} {body}"))
        }
    });
    Router::new()
        .route("/orders", handler.clone())
        .route("/refunds", handler)
        .layer(layer)
}

/// A router with one handler, which counts its runs by itself.
pub(crate) fn one<T, F>(
    layer: IdempotencyLayer,
    handler: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> Router
where
    T: IntoResponse,
    F: Future<Output = T> + Send,
{
    Router::new().route("/orders", any(handler)).layer(layer)
}

pub(crate) fn request(key: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/orders")
        .header("idempotency-key", key)
        .body(body.into())
        .unwrap()
}

pub(crate) async fn send(app: &Router, request: Request<Body>) -> Answer {
    Answer::of(app.clone().oneshot(request).await.unwrap()).await
}

/// An order with [`KEY`].
pub(crate) async fn order(app: &Router) -> Answer {
    send(app, request(KEY, "tea")).await
}
