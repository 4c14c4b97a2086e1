//! What stands between callers and handlers: how often a tenant may ask, by its plan, and that a request that
//! is sent again is not carried out again.

use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use cache_core::{CacheClient, CacheError};
use cache_layers::http::{IdempotencyLayer, RateLimitLayer, RateLimitPolicy};
use cache_layers::rate_limiter::Quota;
use cache_layers::{CacheMetrics, Idempotency, IdempotencyConfig, RateLimiter, RateLimiterConfig};

use crate::caller::Caller;
use crate::keys::Keys;
use crate::store::Plan;

const MINUTE: Duration = Duration::from_secs(60);

/// Requests of a tenant in any minute.
const fn quota(plan: Plan) -> Quota {
    match plan {
        Plan::Free => Quota::sliding(60, MINUTE),
        Plan::Team => Quota::sliding(1_200, MINUTE),
    }
}

/// Counts each tenant's requests against its plan. While the cache is away everybody is let through.
pub(crate) fn rate_limit(cache: Arc<dyn CacheClient>, keys: &Keys) -> Result<RateLimitLayer, CacheError> {
    let free = RateLimitPolicy::new("free", quota(Plan::Free))?;
    let team = RateLimitPolicy::new("team", quota(Plan::Team))?;
    let usual = free.clone();
    let config = RateLimiterConfig::builder().listener(CacheMetrics::global().listener());
    Ok(RateLimitLayer::new(
        RateLimiter::new(cache, config.build()?),
        keys.kept().clone(),
        usual,
    )
    .subject(tenant)
    .policy(move |request| {
        let Caller(identity) = request.extensions.get::<Caller>()?;
        Some(match identity.plan {
            Plan::Free => free.clone(),
            Plan::Team => team.clone(),
        })
    }))
}

/// Carries a request with an `Idempotency-Key` out once. While the cache is away such a request is refused:
/// whoever sends a key would rather wait than have it done twice.
pub(crate) fn idempotency(cache: Arc<dyn CacheClient>, keys: &Keys) -> Result<IdempotencyLayer, CacheError> {
    let config = IdempotencyConfig::builder().listener(CacheMetrics::global().listener());
    let recipe = Idempotency::new(cache, keys.kept().clone(), config.build()?);
    Ok(IdempotencyLayer::new(recipe, tenant))
}

fn tenant(request: &Parts) -> Option<String> {
    let Caller(identity) = request.extensions.get::<Caller>()?;
    Some(identity.tenant.clone())
}
