//! Makes a service's unsafe methods idempotent, for clients that send `Idempotency-Key`.
//!
//! In here: [`IdempotencyLayer`] and its choices. The way of a request is in `service.rs`. Not in here: what
//! a claim is, and how long things live; that is the recipe's.

mod key;
mod problems;
mod service;
mod stored;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, Method, StatusCode, header};
use tower_layer::Layer;

pub use service::IdempotencyService;

use super::Reads;
use crate::Idempotency;

/// Middleware that runs a request with an `Idempotency-Key` once, and gives its retries the same response.
///
/// After draft-ietf-httpapi-idempotency-key-header-07; where that leaves a choice, as
/// [Stripe](https://docs.stripe.com/api/idempotent_requests) does.
///
/// # What a client sees
///
/// | it sends | it gets |
/// |---|---|
/// | a key that is new, or whose request failed | the service's response |
/// | a key whose request has run | that response again, with `Idempotency-Replayed: true` |
/// | a key whose request is running | 409, code `idempotency-in-progress`, `Retry-After` |
/// | a key whose response was not kept (too large, a stream) | 409, code `idempotency-not-replayable`, with `original-status` |
/// | a key that stands for another request: method, target or body differ | 422, code `idempotency-mismatch` |
/// | what is no key: empty, over 255 bytes, twice | 400, code `idempotency-key-malformed` |
/// | no key where one is [required](Self::required) | 400, code `idempotency-key-missing` |
/// | a body that is larger than [a limit](Self::max_request) | 413, code `idempotency-request-too-large` |
/// | a key while the cache is down, if the recipe [refuses](crate::idempotency::OnFailure) then | 503, code `idempotency-unavailable`, `Retry-After` |
///
/// A key is a string of a structured field, `Idempotency-Key: "8e03978e"`, or bare. The target is the path
/// and the query as this layer sees them: in a nested router, without what was cut off before it.
///
/// # What is kept
///
/// The status, [some header lines](Self::headers) and the body, for as long as the recipe says. Responses that
/// say "not now" or "not you" [are not](Self::keep): after them the key is free, and a retry runs. So it is
/// after an error of the service, a panic, and a body that breaks off.
///
/// A response body is read up to [`max_response`](Idempotency::max_response) before it is sent on. What is
/// larger, what has trailers, `text/event-stream`, and what the service marks by the extension [`NotKept`] is
/// passed on as it comes, and a retry is told that it cannot be replayed: run again it would be done twice.
///
/// # Clients that leave
///
/// With a key the service runs in a task of its own: a client that goes away, or runs into a timeout layer
/// outside of this one, cancels nothing, and its retry gets the response. Task-locals of outer layers are not
/// seen in it; the `tracing` span is.
///
/// # The right place
///
/// Inside of authentication (it is what tells [scopes](Self::new) apart, and a response must not be replayed
/// to whom it was not for), of rate limits and of compression; outside of body limits of the service, and of
/// whatever it does. The [`IdempotencyOutcome`] of a response is in its extensions.
///
/// ```
/// use std::sync::Arc;
/// use axum::{Router, routing::post};
/// use cache_core::{Keyspace, MemoryCache};
/// use cache_layers::http::IdempotencyLayer;
/// use cache_layers::{Idempotency, IdempotencyConfig};
///
/// let recipe = Idempotency::new(
///     Arc::new(MemoryCache::default()),
///     Keyspace::new("billing")?,
///     IdempotencyConfig::default(),
/// );
/// let app: Router = Router::new()
///     .route("/orders", post(|| async { "order 7" }))
///     .layer(IdempotencyLayer::new(recipe, |request| {
///         // Put there by authentication: who asks. Without it the request is refused.
///         request.extensions.get::<Arc<str>>().map(|tenant| tenant.to_string())
///     }));
/// # let _ = app;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct IdempotencyLayer {
    recipe: Idempotency,
    choices: Arc<Choices>,
}

#[derive(Clone)]
struct Choices {
    methods: Vec<Method>,
    required: bool,
    max_request: usize,
    scope: Reads<String>,
    headers: Vec<HeaderName>,
    keep: Arc<dyn Fn(StatusCode) -> bool + Send + Sync>,
    retry_after: Duration,
    documentation: Option<String>,
}

/// An extension by which a service says that its response is not to be kept, for example since it is a
/// stream. It is passed on as it comes; a retry is told that it cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotKept;

/// An extension of a request that runs without protection: the cache is down, and the recipe
/// [runs](crate::idempotency::OnFailure::RunUnprotected) all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected;

/// What became of a request with a key, as an extension of its response: for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdempotencyOutcome {
    /// It ran, and retries get its response.
    Stored,
    /// It ran, and retries are told that its response was not kept.
    NotKept,
    /// It ran, and a retry runs again: see [`IdempotencyLayer::keep`].
    Released,
    /// It ran, but its claim had expired, and another run has the key.
    Overtaken,
    /// It ran, and the cache did not take its response at once; it is tried again in the background.
    Unconfirmed,
    /// It ran without protection, as the cache is down.
    Unprotected,
    /// It had run before: this is its response again.
    Replayed,
    /// It did not run: the response says why.
    Refused,
}

impl IdempotencyLayer {
    /// The middleware over `recipe`. `scope` says whose key a request's key is: a tenant or an account, from what
    /// authentication put into the extensions.
    ///
    /// Two scopes never see each other's requests. `None` refuses the request with 400, code
    /// `idempotency-scope-missing`. A service with one client only answers the same text for all requests; with more
    /// than one, a client that sends another's key, path and body would get the other's response.
    pub fn new(
        recipe: Idempotency,
        scope: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            recipe,
            choices: Arc::new(Choices {
                methods: vec![Method::POST, Method::PATCH],
                required: false,
                max_request: 1024 * 1024,
                scope: Arc::new(scope),
                headers: vec![
                    header::CONTENT_TYPE,
                    header::CONTENT_ENCODING,
                    header::CONTENT_LANGUAGE,
                    header::CONTENT_DISPOSITION,
                    header::CACHE_CONTROL,
                    header::ETAG,
                    header::LAST_MODIFIED,
                    header::LINK,
                    header::LOCATION,
                    header::VARY,
                ],
                keep: Arc::new(is_final),
                retry_after: Duration::from_secs(1),
                documentation: None,
            }),
        }
    }

    /// The methods whose keys count; of others they are ignored. Default: `POST` and `PATCH`.
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.with(|choices| choices.methods = methods.into_iter().collect())
    }

    /// Whether a request without a key is refused. Default: not, it runs as if this layer were not there.
    pub fn required(self, required: bool) -> Self {
        self.with(|choices| choices.required = required)
    }

    /// The largest body of a request with a key, in bytes; it is read before it runs. Default: 1 MiB.
    pub fn max_request(self, bytes: usize) -> Self {
        self.with(|choices| choices.max_request = bytes)
    }

    /// The header lines that are kept and replayed. Others, `Set-Cookie` among them, are the first response's
    /// alone. Default: `Content-Type`, `Content-Encoding`, `Content-Language`, `Content-Disposition`,
    /// `Cache-Control`, `ETag`, `Last-Modified`, `Link`, `Location`, `Vary`.
    pub fn headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|choices| choices.headers = names.into_iter().collect())
    }

    /// Which responses are kept; after another one the key is free. Default: all but 5xx, and 401, 407,
    /// 408, 425 and 429, after which the same request may well succeed.
    pub fn keep(self, status: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.with(|choices| choices.keep = Arc::new(status))
    }

    /// What `Retry-After` says where the request is running, or the cache is down; in whole seconds.
    /// Default: 1 second.
    pub fn retry_after(self, time: Duration) -> Self {
        self.with(|choices| choices.retry_after = time)
    }

    /// The page that explains how this API uses keys: the `type` of a problem becomes this URL with the code
    /// as its fragment. Default: none, the type is `about:blank`.
    pub fn documentation(self, url: impl Into<String>) -> Self {
        self.with(|choices| choices.documentation = Some(url.into()))
    }

    fn with(mut self, change: impl FnOnce(&mut Choices)) -> Self {
        change(Arc::make_mut(&mut self.choices));
        self
    }
}

/// Whether the same request, sent again, would have the same response.
fn is_final(status: StatusCode) -> bool {
    !status.is_server_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_EARLY
                | StatusCode::TOO_MANY_REQUESTS
        )
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService::new(inner, self.recipe.clone(), Arc::clone(&self.choices))
    }
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choices")
            .field("methods", &self.methods)
            .field("required", &self.required)
            .field("max_request", &self.max_request)
            .field("headers", &self.headers)
            .field("retry_after", &self.retry_after)
            .field("documentation", &self.documentation)
            .finish_non_exhaustive()
    }
}
