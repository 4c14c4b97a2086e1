//! Handles a request in the middleware.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::super::body::ResponseBody;
use super::super::future::ResponseFuture;
use super::{Choices, RateLimitPolicy, fields};
use crate::RateLimiter;

/// The first part of every key.
const PART: &str = "rate-limit";
/// The `Retry-After` if the limiter failed.
const SOON: Duration = Duration::from_secs(1);

/// A service behind a [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Clone, Debug)]
pub struct RateLimitService<S> {
    inner: S,
    limiter: RateLimiter,
    choices: Arc<Choices>,
}

impl<S> RateLimitService<S> {
    pub(super) const fn new(inner: S, limiter: RateLimiter, choices: Arc<Choices>) -> Self {
        Self {
            inner,
            limiter,
            choices,
        }
    }

    /// The service inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, B, R> Service<Request<B>> for RateLimitService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let subject = (self.choices.subject)(&parts);
        let policy = (self.choices.policy)(&parts);
        let request = Request::from_parts(parts, body);
        let Some(subject) = subject else {
            return ResponseFuture::passed(self.inner.call(request));
        };
        let policy = policy.unwrap_or_else(|| self.choices.usual.clone());
        let key = self.choices.keyspace.key([PART, &policy.name, &subject]);
        let clone = self.inner.clone();
        // The service that is ready is used, and the clone stays.
        let ready = std::mem::replace(&mut self.inner, clone);
        ResponseFuture::boxed(Box::pin(run(ready, request, key, policy, self.limiter.clone())))
    }
}

async fn run<S, B, R>(
    mut inner: S,
    request: Request<B>,
    key: String,
    policy: RateLimitPolicy,
    limiter: RateLimiter,
) -> Result<Response<ResponseBody<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    let decision = limiter.check(&key, &policy.quota).await.ok();
    let mut response = match &decision {
        Some(decision) if decision.allowed => inner.call(request).await?.map(ResponseBody::untouched),
        Some(decision) => fields::denied(&policy, decision)
            .response(None)
            .map(ResponseBody::whole),
        None => fields::unavailable(SOON).response(None).map(ResponseBody::whole),
    };
    fields::add(response.headers_mut(), &policy, decision.as_ref());
    Ok(response)
}
