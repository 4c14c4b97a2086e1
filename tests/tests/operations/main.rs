//! What operators look at, against real servers: the overview, one key, big keys, rates, generations.

mod big_keys;
mod generations;
mod inspecting;
mod overview;
mod pulse;

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::CacheConfig;
use cache_core::config::{Topology, ValkeyConfig};
use cache_stack::Stack;

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A client of the cluster, or of the one server, at these addresses.
async fn stack(addresses: &[String], clustered: bool) -> Result<Stack> {
    let config = CacheConfig::builder().valkey(valkey(addresses, clustered)?);
    Ok(Box::pin(cache_stack::assemble(&config.build()?)).await?)
}

fn valkey(addresses: &[String], clustered: bool) -> Result<ValkeyConfig> {
    let parsed = addresses.iter().map(|address| address.parse());
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    let topology = if clustered {
        Topology::cluster(parsed)
    } else {
        Topology::single(parsed.into_iter().next().context("no address")?)
    };
    Ok(ValkeyConfig::new(topology)
        .with_dial_timeout(Duration::from_secs(2))
        .with_read_timeout(Duration::from_secs(2)))
}
