//! `cache-redis` over connections that a service made: what it does when they are lost, late, or lead elsewhere. That it
//! keeps the contract is in the conformance suite.

mod cluster;
mod outage;
mod pool;
mod single;

use std::time::Duration;

use anyhow::Result;
use cache_redis::RedisCache;
use redis::AsyncConnectionConfig;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

/// How long a test waits for something that must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A bare connection, whose only deadline is the client's.
pub(crate) async fn bare(address: &str) -> Result<RedisCache> {
    let client = redis::Client::open(format!("redis://{address}"))?;
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(Some(LIMIT));
    let connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    Ok(RedisCache::from_connection(connection))
}

/// A connection manager, whose only deadline is the client's.
pub(crate) async fn managed(address: &str) -> Result<RedisCache> {
    let client = redis::Client::open(format!("redis://{address}"))?;
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(Some(LIMIT))
        .set_max_delay(Duration::from_millis(100));
    Ok(RedisCache::from_manager(
        ConnectionManager::new_with_config(client, config).await?,
    ))
}
