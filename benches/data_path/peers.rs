//! The other clients, each by its own API and with its own defaults.

#![expect(clippy::expect_used, reason = "a call that fails ends the benchmark")]

use anyhow::{Context as _, Result};
use bytes::Bytes;
use deadpool_redis::{Config, Pool, Runtime};
use fred::interfaces::{ClientLike as _, KeysInterface as _};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use rustis::commands::StringCommands as _;
use rustis::resp::{BulkString, RefBulkString};

use crate::arguments::Servers;
use crate::contender::{Contender, VALUE};

/// The `redis` crate: one connection for all tasks.
#[derive(Clone)]
pub(crate) struct Redis<C>(C);

impl Redis<MultiplexedConnection> {
    /// Connects to a single server.
    pub(crate) async fn single(address: &str) -> Result<Self> {
        let client = redis::Client::open(format!("redis://{address}/?protocol=resp3"))?;
        Ok(Self(client.get_multiplexed_async_connection().await?))
    }
}

impl Redis<ClusterConnection> {
    /// Connects to a cluster.
    pub(crate) async fn cluster(address: &str) -> Result<Self> {
        let client = ClusterClient::new(vec![format!("redis://{address}/?protocol=resp3")])?;
        Ok(Self(client.get_async_connection().await?))
    }
}

impl<C: AsyncCommands + Clone + Send + Sync + 'static> Contender for Redis<C> {
    async fn get(&mut self, key: &str) -> usize {
        let value: Vec<u8> = self.0.get(key).await.expect("get");
        value.len()
    }
    async fn set(&mut self, key: &str) {
        let () = self.0.set(key, &VALUE[..]).await.expect("set");
    }
}

/// `fred`: one client for all tasks.
#[derive(Clone)]
pub(crate) struct Fred(fred::clients::Client);

impl Fred {
    /// Connects.
    pub(crate) async fn connect(servers: Servers, address: &str) -> Result<Self> {
        let scheme = match servers {
            Servers::Single => "redis",
            Servers::Cluster => "redis-cluster",
        };
        let config = fred::types::config::Config::from_url(&format!("{scheme}://{address}"))?;
        let client = fred::clients::Client::new(config, None, None, None);
        client.init().await.context("fred connects")?;
        Ok(Self(client))
    }
}

impl Contender for Fred {
    async fn get(&mut self, key: &str) -> usize {
        let value: Bytes = self.0.get(key).await.expect("get");
        value.len()
    }
    async fn set(&mut self, key: &str) {
        let () = self.0.set(key, &VALUE[..], None, None, false).await.expect("set");
    }
}

/// `rustis`: one client for all tasks.
#[derive(Clone)]
pub(crate) struct Rustis(rustis::client::Client);

impl Rustis {
    /// Connects.
    pub(crate) async fn connect(servers: Servers, address: &str) -> Result<Self> {
        let scheme = match servers {
            Servers::Single => "redis",
            Servers::Cluster => "redis+cluster",
        };
        let client = rustis::client::Client::connect(format!("{scheme}://{address}"));
        Ok(Self(client.await.context("rustis connects")?))
    }
}

impl Contender for Rustis {
    async fn get(&mut self, key: &str) -> usize {
        let value: BulkString = self.0.get(key).await.expect("get");
        value.len()
    }
    async fn set(&mut self, key: &str) {
        self.0.set(key, RefBulkString::new(&VALUE)).await.expect("set");
    }
}

/// `deadpool-redis`: ten connections, one checked out for each call.
#[derive(Clone)]
pub(crate) struct Checkout(Pool);

impl Checkout {
    /// Makes the pool.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let config = Config::from_url(format!("redis://{address}/"));
        Ok(Self(
            config.builder()?.max_size(10).runtime(Runtime::Tokio1).build()?,
        ))
    }
}

impl Contender for Checkout {
    async fn get(&mut self, key: &str) -> usize {
        let value: Vec<u8> = self.0.get().await.expect("checkout").get(key).await.expect("get");
        value.len()
    }
    async fn set(&mut self, key: &str) {
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
