//! What a fleet of brokers caches in: the same tests run on each, with values encrypted and a near cache, by
//! configuration alone.

use anyhow::Result;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

/// A cache for one fleet, gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Backing {
    /// The `CACHE_*` variables, and those of the AWS SDK, that lead a broker to it.
    pub(crate) variables: Vec<(String, String)>,
    /// What the broker's description of its cache holds.
    pub(crate) described: &'static str,
    servers: Servers,
}

#[derive(Debug)]
enum Servers {
    Single(Server),
    Cluster(Cluster),
}

/// What is configured on each of them.
const ALWAYS: [(&str, &str); 3] = [
    ("CACHE_L1_MAX_BYTES", "8MiB"),
    ("CACHE_ENCRYPTION_ENABLED", "true"),
    (
        "CACHE_ENCRYPTION_KEYSET_FILE",
        concat!(env!("CARGO_MANIFEST_DIR"), "/token-broker/demo/keyset.json"),
    ),
];

impl Backing {
    /// One Valkey of its own, so that it can be killed.
    pub(crate) async fn single() -> Result<Self> {
        let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
        let address = server.address();
        Ok(Self::of(
            "Valkey",
            &[("CACHE_ADDRS", &address)],
            Servers::Single(server),
        ))
    }

    /// A cluster of three primaries.
    pub(crate) async fn cluster() -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
        let addresses = cluster.addresses().join(",");
        let variables = [("CACHE_ADDRS", addresses.as_str()), ("CACHE_MODE", "cluster")];
        Ok(Self::of("cluster", &variables, Servers::Cluster(cluster)))
    }

    fn of(described: &'static str, variables: &[(&str, &str)], servers: Servers) -> Self {
        let variables = variables.iter().chain(&ALWAYS);
        Self {
            variables: variables
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            described,
            servers,
        }
    }

    /// The servers are gone from one moment to the next.
    pub(crate) fn kill(&self) -> Result<()> {
        match &self.servers {
            Servers::Single(server) => server.kill(),
            Servers::Cluster(cluster) => cluster.nodes().iter().try_for_each(Server::kill),
        }
    }
}
