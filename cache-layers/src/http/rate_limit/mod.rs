//! Limits how much a caller may ask of a service, and reports what is left.
//!
//! In here: [`RateLimitLayer`] and its configuration. The handling of a request is in `service.rs`, the header fields
//! of a response in `fields.rs`. Not in here: counting. The recipe does that.

mod fields;
mod service;

use std::fmt;
use std::sync::Arc;

use cache_core::{CacheError, Keyspace};
use http::request::Parts;
use tower_layer::Layer;

pub use service::RateLimitService;

use super::Reads;
use crate::refuse::refuse;
use crate::{Quota, RateLimiter};

/// Middleware that lets a request through if its subject's quota allows it.
///
/// Its header fields are those of draft-ietf-httpapi-ratelimit-headers (RateLimit header fields for HTTP). Each
/// response to a limited request has `RateLimit-Policy: "default";q=100;w=60`. If the request was counted, it also
/// has `RateLimit: "default";r=99;t=60`. `t` is the time until the whole quota is available again. For a denied
/// request it is the time until the request would be allowed, which is also its `Retry-After`. Times are whole
/// seconds, rounded up. A window that is not whole seconds has no `w`.
///
/// # What a client sees
///
/// | its request is | it gets |
/// |---|---|
/// | within the quota | the service's response, with the fields |
/// | beyond it | 429, code `quota-exceeded`, type and `violated-policies` as the draft has them, `Retry-After` |
/// | not counted because the cache is down | by the limiter's [`OnError`](crate::rate_limiter::OnError): the service's response, or 503, code `rate-limit-unavailable`, `Retry-After` |
///
/// # The right place
///
/// Inside authentication, which identifies the caller. Outside [`IdempotencyLayer`](super::IdempotencyLayer), so that
/// a denied request does not claim its key. With several of these layers, all have to allow a request. The outer one
/// counts it even if the inner one denies it.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use cache_core::{Keyspace, MemoryCache};
/// use cache_layers::http::{RateLimitLayer, RateLimitPolicy};
/// use cache_layers::{Quota, RateLimiter, RateLimiterConfig};
///
/// let limiter = RateLimiter::new(Arc::new(MemoryCache::default()), RateLimiterConfig::default());
/// let free = RateLimitPolicy::new("free", Quota::sliding(100, Duration::from_secs(60)))?;
/// let paid = RateLimitPolicy::new("paid", Quota::sliding(10_000, Duration::from_secs(60)))?;
///
/// let limits = RateLimitLayer::new(limiter, Keyspace::new("billing")?, free)
///     // Who asks. A request of nobody is not limited.
///     .subject(|request| Some(request.headers.get("x-tenant")?.to_str().ok()?.to_owned()))
///     // Which policy is theirs, where it is not the first.
///     .policy(move |request| request.headers.contains_key("x-paid").then(|| paid.clone()));
/// let app: Router = Router::new()
///     .route("/orders", get(|| async { "none" }))
///     .layer(limits);
/// # let _ = app;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RateLimitLayer {
    limiter: RateLimiter,
    choices: Arc<Choices>,
}

#[derive(Clone)]
struct Choices {
    keyspace: Keyspace,
    usual: RateLimitPolicy,
    subject: Reads<String>,
    policy: Reads<RateLimitPolicy>,
}

/// A quota and the name under which clients know it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitPolicy {
    name: Arc<str>,
    quota: Quota,
}

impl RateLimitPolicy {
    /// Creates the policy `name`. Policies with different names count separately.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a name that is not 1 to 64 printable ASCII characters, or for an invalid
    /// quota.
    pub fn new(name: &str, quota: Quota) -> Result<Self, CacheError> {
        if !(1..=64).contains(&name.len()) || !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return refuse("name", "takes 1 to 64 printable ASCII characters");
        }
        quota.check(1)?;
        Ok(Self {
            name: name.into(),
            quota,
        })
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its quota.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }
}

impl RateLimitLayer {
    /// Creates the middleware over `limiter`, with `policy` for all requests. It counts under
    /// `KEYSPACE:rate-limit:POLICY:SUBJECT`.
    pub fn new(limiter: RateLimiter, keyspace: Keyspace, policy: RateLimitPolicy) -> Self {
        Self {
            limiter,
            choices: Arc::new(Choices {
                keyspace,
                usual: policy,
                subject: Arc::new(|_| Some(String::new())),
                policy: Arc::new(|_| None),
            }),
        }
    }

    /// Sets the subject of a request: a tenant, an API key, an address. `None` lets the request through without
    /// counting. Default: all requests have one subject.
    pub fn subject(self, of: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.with(|choices| choices.subject = Arc::new(of))
    }

    /// Sets the policy of a request, for example by the tier of its tenant. `None` means the policy given to `new`.
    /// Default: that one for all.
    pub fn policy(self, of: impl Fn(&Parts) -> Option<RateLimitPolicy> + Send + Sync + 'static) -> Self {
        self.with(|choices| choices.policy = Arc::new(of))
    }

    fn with(mut self, change: impl FnOnce(&mut Choices)) -> Self {
        change(Arc::make_mut(&mut self.choices));
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService::new(inner, self.limiter.clone(), Arc::clone(&self.choices))
    }
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choices")
            .field("keyspace", &self.keyspace)
            .field("usual", &self.usual)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_policy_has_a_name_that_a_field_can_hold_and_a_quota_that_can_be() {
        let minute = |limit| Quota::fixed(limit, Duration::from_secs(60));
        assert!(RateLimitPolicy::new("per \"tenant\"", minute(1)).is_ok());
        for name in ["", "größe", "a\r\nb", &"n".repeat(65)] {
            let error = RateLimitPolicy::new(name, minute(1)).unwrap_err().to_string();
            assert_eq!(error, "invalid name: takes 1 to 64 printable ASCII characters");
        }
        assert!(RateLimitPolicy::new("none", minute(0)).is_err());
    }
}
