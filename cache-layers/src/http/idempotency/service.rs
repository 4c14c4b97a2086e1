//! Handles a request in the middleware.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body::Body;
use tower_service::Service;
use tracing::Instrument as _;

use super::super::body::{Read, ResponseBody, Unread, read_request, read_response};
use super::super::future::ResponseFuture;
use super::super::problem::Problem;
use super::stored::Stored;
use super::{Choices, IdempotencyOutcome, NotKept, Unprotected, key, problems};
use crate::idempotency::{Acquired, Claim, Completion, Fingerprint, Idempotency};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A service behind an [`IdempotencyLayer`](super::IdempotencyLayer).
#[derive(Clone, Debug)]
pub struct IdempotencyService<S> {
    inner: S,
    recipe: Idempotency,
    choices: Arc<Choices>,
}

impl<S> IdempotencyService<S> {
    pub(super) const fn new(inner: S, recipe: Idempotency, choices: Arc<Choices>) -> Self {
        Self {
            inner,
            recipe,
            choices,
        }
    }

    /// The service inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, B, R> Service<Request<B>> for IdempotencyService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Body + From<Bytes> + Send + 'static,
    B::Data: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let choices = &self.choices;
        if !choices.methods.contains(request.method()) {
            return ResponseFuture::passed(self.inner.call(request));
        }
        let key = match key::of(request.headers()) {
            Ok(Some(key)) => key,
            Ok(None) if choices.required => {
                return ResponseFuture::refused(refusal(choices, problems::key_missing()));
            }
            Ok(None) => return ResponseFuture::passed(self.inner.call(request)),
            Err(key::Malformed) => {
                return ResponseFuture::refused(refusal(choices, problems::key_malformed()));
            }
        };
        let clone = self.inner.clone();
        // The service that is ready is used, and the clone stays.
        let ready = std::mem::replace(&mut self.inner, clone);
        let run = run(ready, request, key, self.recipe.clone(), Arc::clone(choices));
        ResponseFuture::boxed(Box::pin(run))
    }
}

/// Handles a request with a key, up to its response.
async fn run<S, B, R>(
    mut inner: S,
    request: Request<B>,
    key: String,
    recipe: Idempotency,
    choices: Arc<Choices>,
) -> Result<Response<ResponseBody<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Body + From<Bytes> + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    let (mut parts, body) = request.into_parts();
    let Some(scope) = (choices.scope)(&parts) else {
        return Ok(refusal(&choices, problems::scope_missing()));
    };
    let body = match read_request(body, choices.max_request).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => return Ok(refusal(&choices, problems::request_too_large())),
        Err(Unread::Failed) => return Ok(refusal(&choices, problems::request_broke_off())),
    };
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let fingerprint = Fingerprint::of([parts.method.as_str().as_bytes(), target.as_bytes(), &body]);
    let claim = match recipe.acquire(&scope, &key, fingerprint).await {
        Ok(Acquired::Run(claim)) => claim,
        Ok(Acquired::Replay(stored)) => return Ok(replay(&choices, stored)),
        Ok(other) => return Ok(refusal(&choices, problem_of(&other, &choices))),
        Err(_) => {
            let problem = problems::unavailable().retry_after(choices.retry_after);
            return Ok(refusal(&choices, problem));
        }
    };
    if !claim.is_protected() {
        parts.extensions.insert(Unprotected);
    }
    let request = Request::from_parts(parts, B::from(body));
    let answered = async move {
        let answered = inner.call(request).await;
        finish(answered, claim, recipe.max_response(), &choices).await
    };
    // In a separate task, so that a client that leaves does not cancel work that may be half done.
    match tokio::spawn(answered.in_current_span()).await {
        Ok(response) => response,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is about to end, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Stores what the service's answer asks for, and passes the answer on.
async fn finish<R, E>(
    answered: Result<Response<R>, E>,
    claim: Claim,
    max_response: usize,
    choices: &Choices,
) -> Result<Response<ResponseBody<R>>, E>
where
    R: Body<Data = Bytes>,
{
    let (mut parts, body) = match answered {
        Ok(response) => response.into_parts(),
        Err(error) => {
            // If that fails, it is tried again in the background.
            let _released = claim.release().await;
            return Err(error);
        }
    };
    let mut stored = Stored::head(&parts, &choices.headers);
    let body = if !(choices.keep)(parts.status) {
        Read::Failed(ResponseBody::untouched(body))
    } else if is_stream(&parts) {
        Read::NotKept(ResponseBody::untouched(body))
    } else {
        // A head that does not fit leaves no room for the body, even an empty one.
        match max_response.checked_sub(stored.head_len()) {
            Some(room) => read_response(body, room).await,
            None => Read::NotKept(ResponseBody::untouched(body)),
        }
    };
    let (body, kept) = match body {
        Read::Whole(bytes) => {
            stored.body = Some(bytes.clone());
            (ResponseBody::whole(bytes), true)
        }
        Read::NotKept(body) => (body, true),
        Read::Failed(body) => (body, false),
    };
    let outcome = if !claim.is_protected() {
        IdempotencyOutcome::Unprotected
    } else if kept {
        complete(claim, &stored).await
    } else {
        let _released = claim.release().await;
        IdempotencyOutcome::Released
    };
    parts.extensions.insert(outcome);
    Ok(Response::from_parts(parts, body))
}

async fn complete(claim: Claim, stored: &Stored) -> IdempotencyOutcome {
    // No server sends a head that exceeds the layout's numbers. If one did, the recipe would store an empty response.
    // A retry cannot read that, and learns that it cannot be replayed.
    let bytes = stored.encode().unwrap_or_default();
    match claim.complete(bytes).await {
        Ok(Completion::Stored) if stored.body.is_some() => IdempotencyOutcome::Stored,
        Ok(Completion::Stored | Completion::NotKept) => IdempotencyOutcome::NotKept,
        Ok(Completion::Overtaken) => IdempotencyOutcome::Overtaken,
        Ok(Completion::Unprotected) => IdempotencyOutcome::Unprotected,
        Err(_) => IdempotencyOutcome::Unconfirmed,
    }
}

/// Whether the response is known to have no end that could be waited for.
fn is_stream(parts: &http::response::Parts) -> bool {
    parts.extensions.get::<NotKept>().is_some()
        || parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

fn problem_of(acquired: &Acquired, choices: &Choices) -> Problem {
    match acquired {
        Acquired::InProgress { .. } => problems::in_progress().retry_after(choices.retry_after),
        Acquired::Mismatch => problems::mismatch(),
        Acquired::Run(_) | Acquired::Replay(_) | Acquired::NotReplayable => problems::not_replayable(),
    }
}

/// Returns the response of a request that has run.
fn replay<R: Body>(choices: &Choices, stored: Bytes) -> Response<ResponseBody<R>> {
    let Some(stored) = Stored::decode(stored) else {
        // Stored by another version: it has run, and nothing else is known.
        return refusal(choices, problems::not_replayable());
    };
    let Some(body) = stored.body else {
        let problem = problems::not_replayable().with("original-status", stored.status.as_u16());
        return refusal(choices, problem);
    };
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = stored.status;
    *response.headers_mut() = stored.headers;
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    response.extensions_mut().insert(IdempotencyOutcome::Replayed);
    response
}

fn refusal<R: Body>(choices: &Choices, problem: Problem) -> Response<ResponseBody<R>> {
    let mut response = problem
        .response(choices.documentation.as_deref())
        .map(ResponseBody::whole);
    response.extensions_mut().insert(IdempotencyOutcome::Refused);
    response
}
