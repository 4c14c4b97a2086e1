//! A cluster of three primaries without replicas, of which one is taken away.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::config::{Address, Topology, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_core::{CacheClient, Ttl};
use cache_layers::{Guarded, GuardedConfig};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};

/// How long a test waits for what must come.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How the primary is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Connections are reset, and nothing listens any more. It comes back empty.
    Killed,
    /// Connections stay open, and nothing answers.
    Paused,
}

/// The cluster, whose node 0 is the one that is taken away.
#[derive(Debug)]
pub(crate) struct Outage {
    cluster: Cluster,
    blow: Blow,
}

impl Outage {
    /// All three are there.
    pub(crate) async fn prepare(blow: Blow) -> Result<Self> {
        let node = ServerOptions::new(Version::Valkey8).line("cluster-require-full-coverage no");
        let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
        Ok(Self { cluster, blow })
    }

    /// A guarded client, as that of one process.
    pub(crate) async fn connect(&self) -> Result<Arc<dyn CacheClient>> {
        let address = |server: &Server| Address::new(server.host().to_string(), server.port());
        let seeds = self.cluster.nodes().iter().map(address);
        let config = ValkeyConfig::new(Topology::cluster(seeds));
        let client = Arc::new(ValkeyClient::builder(&config).connect().await?);
        let nodes = Arc::clone(&client);
        let guard = GuardedConfig::builder()
            .part_of(move |key| nodes.part_of(key))
            .deadline(Duration::from_secs(1))
            .slow_call(Duration::from_millis(500));
        Ok(Arc::new(Guarded::new(client, guard.build()?)))
    }

    /// Takes the primary away; returns when `client` has noticed.
    pub(crate) async fn strike(&self, client: &dyn CacheClient) -> Result<()> {
        match self.blow {
            Blow::Killed => self.cluster.kill(0)?,
            Blow::Paused => self.cluster.pause(0)?,
        }
        let lost = &names("noticed", Shard::Lost, 1)[0];
        until(LIMIT, "the loss to be noticed", || async {
            Ok(client
                .set(lost, "1".into(), Ttl::secs(60))
                .await
                .is_err()
                .then_some(()))
        })
        .await
    }
}

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shard {
    /// On the primary that is taken away.
    Lost,
    /// On one of the other two.
    Spared,
}

/// Keys of a shard, without hash tags.
pub(crate) fn names(prefix: &str, shard: Shard, count: usize) -> Vec<String> {
    (0..)
        .map(|number| format!("{prefix}:{number}"))
        .filter(|name| shard_of(name) == shard)
        .take(count)
        .collect()
}

pub(crate) fn shard_of(key: &str) -> Shard {
    // The servers share the slots evenly.
    if slot_of(key.as_bytes()) < 5_461 {
        Shard::Lost
    } else {
        Shard::Spared
    }
}
