//! What a service that migrates has in one crate: its own client beside ours, and every feature of both.
//!
//! Only checked, never run. What matters most is that the crates below it compile; the code here shows that a service's
//! own does, too, where inference meets our traits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheClient, CacheClientExt as _, CacheConfig, CacheError, Ttl};
use cache_redis::RedisCache;
use redis::AsyncCommands as _;
use redis::aio::ConnectionManager;
use serde::{Deserialize, Serialize};

/// A value with a number that `serde_json` reads in another way when `arbitrary_precision` is on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub seats: u64,
    pub price: f64,
}

/// Calls that have moved, and calls that have not.
pub struct Service {
    pub old: ConnectionManager,
    pub cache: Arc<dyn CacheClient>,
}

impl Service {
    pub async fn new(old: ConnectionManager, config: &CacheConfig) -> Result<Self, CacheError> {
        let mine = RedisCache::from_manager(old.clone()).with_deadline(Duration::from_millis(500))?;
        let cache = cache_stack::wrap(Arc::new(mine), config).await?.client;
        Ok(Self { old, cache })
    }

    pub async fn plan(&self, tenant: &str) -> Result<Option<Plan>, CacheError> {
        self.cache.find_json(tenant).await
    }

    pub async fn store(&self, tenant: &str, plan: &Plan) -> Result<(), CacheError> {
        self.cache.set_json(tenant, plan, Ttl::secs(60)).await
    }

    pub async fn raw(&self, key: &str, value: &[u8]) -> Result<Bytes, CacheError> {
        self.cache
            .set(key, value.to_vec().into(), Duration::from_secs(1).into())
            .await?;
        self.cache.get(key).await
    }

    pub async fn visits(&mut self) -> redis::RedisResult<u64> {
        self.old.incr("visits", 1).await
    }
}

/// A cluster, the way a service with a pool has it.
pub fn over_a_cluster_pool(pool: deadpool_redis::cluster::Pool) -> RedisCache {
    RedisCache::from_cluster_pool(pool)
}
