//! A server that goes and comes back: the scenarios of the conformance suite that need an outage, over what connects again
//! by itself. A bare connection does not.

#![expect(clippy::expect_used, reason = "servers that cannot be hurt end the test")]

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use cache_core::conformance::reachability::ping_fails_while_a_primary_is_gone;
use cache_core::conformance::{Outage, Subject};
use cache_redis::RedisCache;
use redis::cluster::ClusterClientBuilder;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

use crate::{LIMIT, managed};

struct OfServer(Arc<Server>);

#[async_trait]
impl Outage for OfServer {
    async fn begin(&self) {
        self.0.kill().expect("the server is killed");
    }

    async fn end(&self) {
        self.0.restart().await.expect("the server starts again");
    }
}

struct OfPrimary(Arc<Cluster>);

#[async_trait]
impl Outage for OfPrimary {
    async fn begin(&self) {
        self.0.kill(1).expect("the primary is killed");
    }

    async fn end(&self) {
        self.0.restart(1).await.expect("the primary starts again");
        self.0.wait_until_ok().await.expect("the cluster is whole again");
    }
}

async fn server() -> Result<Arc<Server>> {
    Ok(Arc::new(
        Server::start(ServerOptions::new(Version::Valkey8)).await?,
    ))
}

#[tokio::test]
async fn manager_fails_while_its_server_is_gone_and_comes_back() -> Result<()> {
    let server = server().await?;
    let cache = managed(&server.address()).await?;
    ping_fails_while_a_primary_is_gone(&Subject::new(cache).with_outage(OfServer(server))).await;
    Ok(())
}

#[tokio::test]
async fn pool_fails_while_its_server_is_gone_and_comes_back() -> Result<()> {
    let server = server().await?;
    let manager = deadpool_redis::Manager::new(format!("redis://{}", server.address()))?;
    let pool = deadpool_redis::Pool::builder(manager).max_size(4).build()?;
    let cache = RedisCache::from_pool(pool);
    ping_fails_while_a_primary_is_gone(&Subject::new(cache).with_outage(OfServer(server))).await;
    Ok(())
}

#[tokio::test]
async fn cluster_connection_fails_while_a_primary_is_gone_and_comes_back() -> Result<()> {
    for retries in [16, 0] {
        let cluster = Arc::new(Cluster::start(ClusterOptions::new(3, 0)).await?);
        let builder = ClusterClientBuilder::new([format!("redis://{}", cluster.node(0).address())]);
        let client = builder.retries(retries).response_timeout(LIMIT).build()?;
        let cache = RedisCache::from_cluster(client.get_async_connection().await?);
        ping_fails_while_a_primary_is_gone(&Subject::new(cache).with_outage(OfPrimary(cluster))).await;
    }
    Ok(())
}

#[tokio::test]
async fn cluster_pool_fails_while_a_primary_is_gone_and_comes_back() -> Result<()> {
    let cluster = Arc::new(Cluster::start(ClusterOptions::new(3, 0)).await?);
    let seeds = vec![format!("redis://{}", cluster.node(0).address())];
    let manager = deadpool_redis::cluster::Manager::new(seeds, false)?;
    let pool = deadpool_redis::cluster::Pool::builder(manager)
        .max_size(2)
        .build()?;
    let cache = RedisCache::from_cluster_pool(pool);
    ping_fails_while_a_primary_is_gone(&Subject::new(cache).with_outage(OfPrimary(cluster))).await;
    Ok(())
}
