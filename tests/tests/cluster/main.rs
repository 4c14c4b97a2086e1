//! The cluster router against real clusters of one's own: where it gets its topology from, slots that move,
//! nodes that die, hang and come back. Each hazard has a file; what they share is here.

mod each;
mod failover;
mod load;
mod moving;
mod reachability;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use cache_core::config::{Address, Topology, ValkeyConfig};
use cache_core::{CacheClient, Ttl};
use cache_valkey::ValkeyClient;
use tests::Server;

/// How long a test waits for something that must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The deadline of every call.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

pub(crate) fn address(server: &Server) -> Address {
    Address::new(server.host().to_string(), server.port())
}

pub(crate) fn config(seeds: Vec<Address>) -> ValkeyConfig {
    let mut config = ValkeyConfig::new(Topology::Cluster { seeds });
    config.read_timeout = DEADLINE;
    config.write_timeout = DEADLINE;
    config
}

pub(crate) async fn connect(server: &Server) -> Result<Arc<dyn CacheClient>> {
    Ok(Arc::new(
        ValkeyClient::connect(&config(vec![address(server)])).await?,
    ))
}

/// Keys of all three shards.
pub(crate) fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key:{number}")).collect()
}

pub(crate) async fn store_all(client: &dyn CacheClient, keys: &[String]) -> Result<()> {
    let entries: Vec<_> = keys
        .iter()
        .map(|key| (key.as_str(), Bytes::from(key.clone())))
        .collect();
    Ok(client.set_many(&entries, Ttl::Forever).await?)
}

pub(crate) async fn expect_all(client: &dyn CacheClient, keys: &[String]) -> Result<()> {
    let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    let values = client.get_many(&asked).await?;
    for (key, value) in keys.iter().zip(values) {
        anyhow::ensure!(value.as_deref() == Some(key.as_bytes()), "{key} is {value:?}");
        let single = client.get(key).await.with_context(|| key.clone())?;
        anyhow::ensure!(single == key.as_bytes(), "{key} alone is {single:?}");
    }
    Ok(())
}
