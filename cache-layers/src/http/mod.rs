//! The recipes as HTTP middleware, for [`tower`](https://docs.rs/tower) and frameworks built on it, such as `axum`.
//! Feature `tower`.
//!
//! In here: [`IdempotencyLayer`] over [`Idempotency`](crate::Idempotency), and [`RateLimitLayer`] over
//! [`RateLimiter`](crate::RateLimiter). Not in here: what the recipes do.
//!
//! All refusals are `application/problem+json` (RFC 9457): `title` and `detail` for people, and a member `code` for
//! programs. `type` is `about:blank` unless one is registered, or a page of yours [is
//! set](IdempotencyLayer::documentation).

mod body;
mod future;
mod idempotency;
mod problem;
mod rate_limit;

use std::sync::Arc;

use ::http::request::Parts;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use idempotency::{IdempotencyLayer, IdempotencyOutcome, IdempotencyService, NotKept, Unprotected};
pub use rate_limit::{RateLimitLayer, RateLimitPolicy, RateLimitService};

/// A function of the service that reads something from a request.
type Reads<T> = Arc<dyn Fn(&Parts) -> Option<T> + Send + Sync>;
