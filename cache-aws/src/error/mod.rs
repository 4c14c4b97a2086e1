//! Turns the AWS SDK's errors into [`CacheError`](cache_core::CacheError), the same way for every service.
//!
//! A service's client translates its own codes, such as a failed condition or a missing secret, and leaves
//! the rest to [`translate`]. No error keeps a response, which may hold a secret.
//!
//! Not in here: errors of a response's content.

pub(crate) mod credentials;
#[cfg(any(
    feature = "dynamodb",
    feature = "elasticache",
    feature = "keyset",
    feature = "secret"
))]
mod request;

#[cfg(any(
    feature = "dynamodb",
    feature = "elasticache",
    feature = "keyset",
    feature = "secret"
))]
pub(crate) use request::{Request, code, translate};
