//! Makes a service's unsafe methods idempotent, for clients that send `Idempotency-Key`.
//!
//! In here: [`IdempotencyLayer`] and its configuration. The handling of a request is in `service.rs`. Not in here:
//! claims and TTLs. They belong to the recipe.

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
/// It follows draft-ietf-httpapi-idempotency-key-header-07. If the draft leaves a choice, it follows
/// [Stripe](https://docs.stripe.com/api/idempotent_requests).
///
/// # What a client sees
///
/// | it sends | it gets |
/// |---|---|
/// | a key that is new, or whose request failed | the service's response |
/// | a key whose request has run | that response again, with `Idempotency-Replayed: true` |
/// | a key whose request is running | 409, code `idempotency-in-progress`, `Retry-After` |
/// | a key whose response was not kept (too large, a stream) | 409, code `idempotency-not-replayable`, with `original-status` |
/// | a key that belongs to another request: method, target or body differ | 422, code `idempotency-mismatch` |
/// | an invalid key: empty, over 255 bytes, twice | 400, code `idempotency-key-malformed` |
/// | no key where one is [required](Self::required) | 400, code `idempotency-key-missing` |
/// | a body that is larger than [a limit](Self::max_request) | 413, code `idempotency-request-too-large` |
/// | a key while the cache is down, if the recipe [refuses](crate::idempotency::OnFailure) then | 503, code `idempotency-unavailable`, `Retry-After` |
///
/// A key is a string of a structured field, `Idempotency-Key: "8e03978e"`, or bare. The target is the path and the
/// query as this layer sees them: in a nested router, without the part that was cut off before it.
///
/// # What is kept
///
/// The status, [some header lines](Self::headers) and the body, for as long as the recipe says. Responses that mean
/// "not now" or "not you" [are not kept](Self::keep): after them the key is free, and a retry runs. The same holds
/// after an error of the service, a panic, and a body that breaks off.
///
/// A response body is read up to [`max_response`](Idempotency::max_response) before it is sent on. Some responses are
/// passed on as they come, and a retry learns that they cannot be replayed, because another run would do the work
/// twice. These are larger ones, those with trailers, `text/event-stream`, and those that the service marks with the
/// extension [`NotKept`].
///
/// # Clients that leave
///
/// With a key the service runs in a separate task. So a client that disconnects, or runs into a timeout layer outside
/// this one, cancels nothing, and its retry gets the response. The task does not see task-locals of outer layers. It
/// does see the `tracing` span.
///
/// # The right place
///
/// - Inside authentication, which separates [scopes](Self::new): a response must not be replayed to a caller that it
///   was not for.
/// - Inside rate limits and compression.
/// - Outside body limits of the service, and outside its work.
///
/// The [`IdempotencyOutcome`] of a response is in its extensions.
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

/// An extension by which a service says that its response must not be kept, for example because it is a stream. The
/// response is passed on as it comes, and a retry learns that it cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotKept;

/// An extension of a request that runs without protection: the cache is down, and the recipe
/// [runs](crate::idempotency::OnFailure::RunUnprotected) the request anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected;

/// What happened to a request with a key, as an extension of its response. For logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdempotencyOutcome {
    /// It ran, and retries get its response.
    Stored,
    /// It ran, and retries learn that its response was not kept.
    NotKept,
    /// It ran, and a retry runs again: see [`IdempotencyLayer::keep`].
    Released,
    /// It ran, but its claim had expired, and another run has the key.
    Overtaken,
    /// It ran, but the cache did not store its response at once. It is tried again in the background.
    Unconfirmed,
    /// It ran without protection, because the cache is down.
    Unprotected,
    /// It had run before, and this is its response again.
    Replayed,
    /// It did not run: the response says why.
    Refused,
}

impl IdempotencyLayer {
    /// Creates the middleware over `recipe`. `scope` returns the owner of a request's key: a tenant or an account,
    /// from what authentication put into the extensions.
    ///
    /// Two scopes never see each other's requests. `None` refuses the request with 400, code
    /// `idempotency-scope-missing`. If a service has only one client, `scope` can return the same text for all
    /// requests. If it has more, that would give a client that sends another one's key, path and body the other's
    /// response.
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

    /// The methods whose keys are used. Keys of other methods are ignored. Default: `POST` and `PATCH`.
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.with(|choices| choices.methods = methods.into_iter().collect())
    }

    /// Whether a request without a key is refused. Default: no, it runs as if this layer did not exist.
    pub fn required(self, required: bool) -> Self {
        self.with(|choices| choices.required = required)
    }

    /// The largest body of a request with a key, in bytes. The body is read before the request runs. Default: 1 MiB.
    pub fn max_request(self, bytes: usize) -> Self {
        self.with(|choices| choices.max_request = bytes)
    }

    /// The header lines that are kept and replayed. Others, including `Set-Cookie`, are only in the first response.
    /// Default: `Content-Type`, `Content-Encoding`, `Content-Language`, `Content-Disposition`, `Cache-Control`,
    /// `ETag`, `Last-Modified`, `Link`, `Location`, `Vary`.
    pub fn headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|choices| choices.headers = names.into_iter().collect())
    }

    /// Which responses are kept. After any other response the key is free. Default: all but 5xx, and 401, 407, 408,
    /// 425 and 429, after which the same request may well succeed.
    pub fn keep(self, status: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.with(|choices| choices.keep = Arc::new(status))
    }

    /// The `Retry-After` if the request is running, or the cache is down, in whole seconds. Default: 1 second.
    pub fn retry_after(self, time: Duration) -> Self {
        self.with(|choices| choices.retry_after = time)
    }

    /// The page that explains how this API uses keys. The `type` of a problem becomes this URL with the code as its
    /// fragment. Default: none, the type is `about:blank`.
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
