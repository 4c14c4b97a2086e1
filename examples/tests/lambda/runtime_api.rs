//! A stand-in for the Lambda Runtime API: hands out events, and takes what the function answers.
//!
//! Not in here: what real Lambda does with a function that does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// How long a test waits for an answer.
const LIMIT: Duration = Duration::from_secs(30);

/// The stand-in, on a free port. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    /// For `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) address: String,
    /// What an invocation may take.
    pub(crate) timeout: Duration,
    events: mpsc::UnboundedSender<Event>,
    posts: Mutex<mpsc::UnboundedReceiver<Post>>,
    count: AtomicU64,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Event {
    id: String,
    deadline: Duration,
    body: String,
}

/// What the function posted.
#[derive(Debug)]
pub(crate) struct Post {
    /// `invocation/ID/response`, `invocation/ID/error` or `init/error`.
    pub(crate) path: String,
    pub(crate) body: Value,
}

#[derive(Clone)]
struct Shared {
    events: Arc<Mutex<mpsc::UnboundedReceiver<Event>>>,
    posts: mpsc::UnboundedSender<Post>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Result<Self> {
        let (events, queue) = mpsc::unbounded_channel();
        let (posts, posted) = mpsc::unbounded_channel();
        let shared = Shared {
            events: Arc::new(Mutex::new(queue)),
            posts,
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/{*path}", post(take))
            .with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let server = tokio::spawn(async move {
            // It is aborted, and does not end by itself.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            timeout: Duration::from_secs(10),
            events,
            posts: Mutex::new(posted),
            count: AtomicU64::new(0),
            server,
        })
    }

    /// Hands out an event, and does not wait for the answer; the invocation's id.
    pub(crate) fn send(&self, event: &str) -> Result<String> {
        let id = format!("invocation-{}", self.count.fetch_add(1, Ordering::Relaxed));
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        self.events.send(Event {
            id: id.clone(),
            deadline: now + self.timeout,
            body: event.to_owned(),
        })?;
        Ok(id)
    }

    /// The next thing that the function posts.
    pub(crate) async fn posted(&self) -> Result<Post> {
        let mut posts = self.posts.lock().await;
        let post = tokio::time::timeout(LIMIT, posts.recv()).await;
        post.context("the function posted nothing")?
            .context("no more posts")
    }

    /// The answer to the invocation `id`, which must not be an error.
    pub(crate) async fn answer_to(&self, id: &str) -> Result<Value> {
        let Post { path, body } = self.posted().await?;
        ensure!(path == format!("invocation/{id}/response"), "{path}: {body}");
        Ok(body)
    }

    /// Hands out an event; the answer.
    pub(crate) async fn invoke(&self, event: &str) -> Result<Value> {
        self.answer_to(&self.send(event)?).await
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(shared): State<Shared>) -> impl IntoResponse {
    let event = shared.events.lock().await.recv().await;
    let Some(event) = event else {
        return StatusCode::GONE.into_response();
    };
    let headers = [
        ("lambda-runtime-aws-request-id", event.id),
        (
            "lambda-runtime-deadline-ms",
            event.deadline.as_millis().to_string(),
        ),
    ];
    (headers, event.body).into_response()
}

async fn take(State(shared): State<Shared>, Path(path): Path<String>, body: String) -> StatusCode {
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    match shared.posts.send(Post { path, body }) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::GONE,
    }
}
