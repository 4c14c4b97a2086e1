//! A near tier on a client of real servers, and a foreign client beside it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::CacheClient;
use cache_core::config::{Address, Topology, ValkeyConfig};
use cache_layers::tiered::{NearConfig, Tiered};
use cache_valkey::ValkeyClient;
use tests::Cluster;

/// Who reads, and who writes behind the reader's back.
pub(crate) struct Pair {
    pub(crate) near: Arc<dyn CacheClient>,
    pub(crate) far: Arc<dyn CacheClient>,
    /// The tier of `near`, for its counts.
    pub(crate) tier: Arc<Tiered>,
}

pub(crate) async fn single(server: &str) -> Result<Pair> {
    pair(ValkeyConfig::new(Topology::single(address(server)?))).await
}

pub(crate) async fn cluster(servers: &Cluster) -> Result<Pair> {
    let seeds = [address(&servers.addresses()[0])?];
    pair(ValkeyConfig::new(Topology::cluster(seeds))).await
}

/// The connections of both are replaced at this age.
pub(crate) async fn aging(server: &str, age: Duration) -> Result<Pair> {
    pair(ValkeyConfig::new(Topology::single(address(server)?)).with_max_connection_age(age)).await
}

async fn pair(config: ValkeyConfig) -> Result<Pair> {
    let client = ValkeyClient::connect(&config).await?;
    let tier = Arc::new(Tiered::new(Arc::new(client), NearConfig::default()));
    Ok(Pair {
        near: Arc::clone(&tier) as Arc<dyn CacheClient>,
        far: Arc::new(ValkeyClient::connect(&config).await?),
        tier,
    })
}

pub(crate) fn address(text: &str) -> Result<Address> {
    text.parse().with_context(|| format!("{text} is no host:port"))
}
