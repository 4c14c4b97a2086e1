//! The clients, each by its own API.

#![expect(clippy::expect_used, reason = "a call that fails ends the benchmark")]

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use cache_core::config::Address;
use cache_core::{CacheClient, Ttl};
use deadpool_redis::{Config, Pool, Runtime};
use fred::clients::Client;
use fred::interfaces::{ClientLike as _, KeysInterface as _};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;

use crate::VALUE;

/// A client under load. A call that fails ends the benchmark.
pub(crate) trait Contender: Send + Sync + 'static {
    /// Reads a key; the length of its value.
    fn get(&self, key: &str) -> impl Future<Output = usize> + Send;
    /// Writes a key.
    fn set(&self, key: &str) -> impl Future<Output = ()> + Send;
}

/// This project, as services use it.
pub(crate) struct Ours(pub(crate) Arc<dyn CacheClient>);

impl Contender for Ours {
    async fn get(&self, key: &str) -> usize {
        self.0.get(key).await.expect("get").len()
    }
    async fn set(&self, key: &str) {
        self.0
            .set(key, Bytes::from_static(&VALUE), Ttl::Forever)
            .await
            .expect("set");
    }
}

/// The `redis` crate: one multiplexed connection for all tasks.
pub(crate) struct Redis(MultiplexedConnection);

impl Redis {
    /// Connects.
    pub(crate) async fn connect(address: &Address) -> Result<Arc<Self>> {
        let client = redis::Client::open(format!("redis://{address}/?protocol=resp3"))?;
        Ok(Arc::new(Self(client.get_multiplexed_async_connection().await?)))
    }
}

impl Contender for Redis {
    async fn get(&self, key: &str) -> usize {
        let value: Vec<u8> = self.0.clone().get(key).await.expect("get");
        value.len()
    }
    async fn set(&self, key: &str) {
        let () = self.0.clone().set(key, &VALUE[..]).await.expect("set");
    }
}

/// The `redis` crate's cluster client.
pub(crate) struct RedisCluster(ClusterConnection);

impl RedisCluster {
    /// Connects.
    pub(crate) async fn connect(address: &Address) -> Result<Arc<Self>> {
        let client = ClusterClient::new(vec![format!("redis://{address}/?protocol=resp3")])?;
        Ok(Arc::new(Self(client.get_async_connection().await?)))
    }
}

impl Contender for RedisCluster {
    async fn get(&self, key: &str) -> usize {
        let value: Vec<u8> = self.0.clone().get(key).await.expect("get");
        value.len()
    }
    async fn set(&self, key: &str) {
        let () = self.0.clone().set(key, &VALUE[..]).await.expect("set");
    }
}

/// `fred`, one client for all tasks.
pub(crate) struct Fred(Client);

impl Fred {
    /// Connects to a single server.
    pub(crate) async fn single(address: &Address) -> Result<Arc<Self>> {
        Self::connect(&format!("redis://{address}")).await
    }

    /// Connects to a cluster.
    pub(crate) async fn cluster(address: &Address) -> Result<Arc<Self>> {
        Self::connect(&format!("redis-cluster://{address}")).await
    }

    async fn connect(url: &str) -> Result<Arc<Self>> {
        let client = Client::new(fred::types::config::Config::from_url(url)?, None, None, None);
        client.init().await.context("fred connects")?;
        Ok(Arc::new(Self(client)))
    }
}

impl Contender for Fred {
    async fn get(&self, key: &str) -> usize {
        let value: Bytes = self.0.get(key).await.expect("get");
        value.len()
    }
    async fn set(&self, key: &str) {
        let () = self.0.set(key, &VALUE[..], None, None, false).await.expect("set");
    }
}

/// `deadpool-redis`, ten connections, one checked out for each call.
pub(crate) struct Checkout(Pool);

impl Checkout {
    /// A pool of ten.
    pub(crate) fn connect(address: &Address) -> Result<Arc<Self>> {
        let config = Config::from_url(format!("redis://{address}/"));
        Ok(Arc::new(Self(
            config.builder()?.max_size(10).runtime(Runtime::Tokio1).build()?,
        )))
    }
}

impl Contender for Checkout {
    async fn get(&self, key: &str) -> usize {
        let value: Vec<u8> = self.0.get().await.expect("checkout").get(key).await.expect("get");
        value.len()
    }
    async fn set(&self, key: &str) {
        let () = self
            .0
            .get()
            .await
            .expect("checkout")
            .set(key, &VALUE[..])
            .await
            .expect("set");
    }
}
