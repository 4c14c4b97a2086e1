//! What can be taken away: all of it, killed or stalled.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::config::{Address, Startup, Topology, ValkeyConfig};
use cache_core::{CacheClient, MemoryCache};
use cache_mock::{Fault, Faults, FaultyCache, Operation};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

/// How long a test waits for what must come.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A backend of the test's own.
#[derive(Debug)]
pub(crate) enum Backend {
    /// The embedded client, whose calls fail or hang on demand.
    Memory(Arc<MemoryCache>, Faults),
    Single(Server),
    /// Three primaries without replicas: nobody takes over.
    Cluster(Cluster),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Connections are reset, and nothing listens any more. Servers come back empty.
    Killed,
    /// Connections stay open, and nothing answers.
    Stalled,
}

impl Backend {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::default(), Faults::default())
    }

    pub(crate) async fn single() -> Result<Self> {
        Ok(Self::Single(
            Server::start(ServerOptions::new(Version::Valkey8)).await?,
        ))
    }

    pub(crate) async fn cluster() -> Result<Self> {
        Ok(Self::Cluster(Cluster::start(ClusterOptions::new(3, 0)).await?))
    }

    /// A client with the default timeouts, which are longer than any deadline of these tests.
    pub(crate) async fn connect(&mut self, startup: Startup) -> Result<Arc<dyn CacheClient>> {
        let topology = match self {
            Self::Memory(memory, faults) => {
                let client = FaultyCache::new(Arc::clone(memory));
                *faults = client.faults().clone();
                return Ok(Arc::new(client));
            }
            Self::Single(server) => Topology::Single {
                addresses: vec![address(server)],
                db: 0,
            },
            Self::Cluster(cluster) => Topology::cluster(cluster.nodes().iter().map(address)),
        };
        let config = ValkeyConfig::new(topology);
        let client = ValkeyClient::builder(&config).startup(startup).connect().await?;
        Ok(Arc::new(client))
    }

    pub(crate) fn strike(&self, blow: Blow) -> Result<()> {
        if let Self::Memory(_, faults) = self {
            let fault = match blow {
                Blow::Killed => Fault::connection_lost(),
                Blow::Stalled => Fault::Hang,
            };
            faults.always(Operation::ALL, &fault);
        }
        self.servers().iter().try_for_each(|server| match blow {
            Blow::Killed => server.kill(),
            Blow::Stalled => server.pause(),
        })
    }

    /// Undoes a blow; returns when the backend answers.
    pub(crate) async fn restore(&self, blow: Blow) -> Result<()> {
        if let Self::Memory(_, faults) = self {
            faults.heal();
        }
        for server in self.servers() {
            match blow {
                Blow::Killed => server.restart().await?,
                Blow::Stalled => server.resume()?,
            }
        }
        match self {
            Self::Cluster(cluster) => cluster.wait_until_ok().await,
            _ => Ok(()),
        }
    }

    fn servers(&self) -> &[Server] {
        match self {
            Self::Memory(..) => &[],
            Self::Single(server) => std::slice::from_ref(server),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }
}

fn address(server: &Server) -> Address {
    Address::new(server.host().to_string(), server.port())
}
