//! A typical caller in a service: an expensive cached lookup, and a usage counter.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cache_core::{CacheClient, CacheClientExt, CacheError, Outcome, Ttl};

/// How long a plan is kept.
pub(crate) const KEPT: Ttl = Ttl::secs(300);
/// How long a lookup may wait for the cache.
const PATIENCE: Duration = Duration::from_millis(250);

/// Where plans come from when they are not cached.
#[derive(Default)]
pub(crate) struct Database {
    pub(crate) asked: AtomicU32,
}

impl Database {
    fn plan(&self, tenant: &str) -> String {
        self.asked.fetch_add(1, Ordering::Relaxed);
        format!("plan of {tenant}")
    }
}

/// The plan of a tenant, in any state of the cache.
pub(crate) async fn plan(cache: &dyn CacheClient, database: &Database, tenant: &str) -> String {
    let key = format!("plan:{tenant}");
    let cached = tokio::time::timeout(PATIENCE, cache.find_string(&key)).await;
    if let Ok(Ok(Some(plan))) = cached {
        return plan;
    }
    let plan = database.plan(tenant);
    // If the cache did not answer in time, do not store either.
    if cached.is_ok() {
        let _stored = tokio::time::timeout(PATIENCE, cache.set_string(&key, &plan, KEPT)).await;
    }
    plan
}

/// Counts a use at most once: not retried if the outcome of an attempt is unknown.
pub(crate) async fn count_use(cache: &dyn CacheClient, tenant: &str) -> Result<i64, CacheError> {
    let key = format!("uses:{tenant}");
    match cache.incr(&key).await {
        Err(error) if error.is_transient() && error.outcome() == Outcome::NotApplied => {
            cache.incr(&key).await
        }
        result => result,
    }
}

/// Deletes the plans of all these tenants.
pub(crate) async fn forget(cache: &dyn CacheClient, tenants: &[&str]) -> Result<(), CacheError> {
    let keys: Vec<String> = tenants.iter().map(|tenant| format!("plan:{tenant}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for _ in 0..3 {
        match cache.del(&keys).await {
            // Deleting twice is harmless, so an unknown outcome is retried.
            Err(error) if error.is_transient() => {}
            result => return result.map(drop),
        }
    }
    cache.del(&keys).await.map(drop)
}
