//! The suite over connections that a service made itself: every kind that `cache-redis` takes.
//!
//! Left out: the scenarios that need an outage on a bare connection, which does not come back by itself.

#![expect(clippy::expect_used, reason = "servers that are not there end the test")]

use std::sync::Arc;
use std::time::Duration;

use cache_core::config::NearConfig;
use cache_core::conformance::Subject;
use cache_core::{CacheConfig, MAX_KEY_LEN};
use cache_redis::RedisCache;
use redis::AsyncConnectionConfig;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use tests::{Kind, shared};

/// Longer than any call may take on a machine under load; the crate's own default is 0.5 s.
const PATIENCE: Duration = Duration::from_secs(30);

cache_core::conformance_tests! {
    mod redis_connection in real time = async { subject(connection(Kind::Single).await) };
}

cache_core::conformance_tests! {
    mod redis_connection_to_valkey_9 in real time = async { subject(connection(Kind::Valkey9).await) };
}

cache_core::conformance_tests! {
    mod redis_connection_to_redis_7 in real time = async { subject(connection(Kind::Redis7).await) };
}

cache_core::conformance_tests! {
    mod redis_connection_manager in real time = async { subject(manager().await) };
}

cache_core::conformance_tests! {
    mod redis_cluster_connection in real time = async { subject(cluster(Kind::Cluster, None).await) };
}

cache_core::conformance_tests! {
    mod redis_cluster_connection_without_retries in real time = async {
        subject(cluster(Kind::Valkey9Cluster, Some(0)).await)
    };
}

cache_core::conformance_tests! {
    mod redis_pool in real time = async { subject(pool().await) };
}

cache_core::conformance_tests! {
    mod redis_cluster_pool in real time = async { subject(cluster_pool().await) };
}

cache_core::conformance_tests! {
    mod whole_stack_on_a_redis_cluster_connection in real time = async {
        let prefix = "conformance-brought:";
        let config = CacheConfig::builder()
            .key_prefix(prefix)
            .op_timeout(PATIENCE)
            .near(NearConfig::new(16 << 20, Duration::from_millis(20)))
            .build()
            .expect("a good configuration");
        let client = Arc::new(cluster(Kind::Cluster, None).await);
        let stack = cache_stack::wrap(client, &config).await.expect("the layers fit");
        let outline = stack.describe();
        assert!(
            outline.starts_with("Prefixed(Observed(Tiered(Observed(Guarded(RedisCache(cluster connection"),
            "{outline}"
        );
        Subject::new(stack.client)
            .with_longest_key(MAX_KEY_LEN - prefix.len())
            .with_drops(1_000)
            .with_load(20, 200)
    };
}

fn subject(client: RedisCache) -> Subject {
    let client = client.with_deadline(PATIENCE).expect("a good deadline");
    Subject::new(client).with_drops(2_000).with_load(20, 500)
}

/// The address of the shared server of that kind; of one of its nodes, if it is a cluster.
async fn url(kind: Kind) -> String {
    let servers = shared(kind).await.expect("the shared servers start");
    format!("redis://{}", servers.addresses[0])
}

async fn connection(kind: Kind) -> RedisCache {
    let client = redis::Client::open(url(kind).await).expect("a good URL");
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await;
    RedisCache::from_connection(connection.expect("it connects"))
}

async fn manager() -> RedisCache {
    let client = redis::Client::open(url(Kind::Single).await).expect("a good URL");
    let config = ConnectionManagerConfig::new().set_response_timeout(Some(PATIENCE));
    let manager = ConnectionManager::new_with_config(client, config).await;
    RedisCache::from_manager(manager.expect("it connects"))
}

async fn cluster(kind: Kind, retries: Option<u32>) -> RedisCache {
    let mut builder = ClusterClientBuilder::new([url(kind).await]).response_timeout(PATIENCE);
    if let Some(retries) = retries {
        builder = builder.retries(retries);
    }
    let client = builder.build().expect("a good URL");
    RedisCache::from_cluster(client.get_async_connection().await.expect("it connects"))
}

async fn pool() -> RedisCache {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let manager =
        deadpool_redis::Manager::new_with_config(url(Kind::Single).await, config).expect("a good URL");
    let pool = deadpool_redis::Pool::builder(manager).max_size(8).build();
    RedisCache::from_pool(pool.expect("a good pool"))
}

async fn cluster_pool() -> RedisCache {
    let manager =
        deadpool_redis::cluster::Manager::new(vec![url(Kind::Cluster).await], false).expect("a good URL");
    let pool = deadpool_redis::cluster::Pool::builder(manager)
        .max_size(4)
        .build();
    RedisCache::from_cluster_pool(pool.expect("a good pool"))
}
