//! What a cluster is made of: how many nodes, and how each of them is started.

use std::time::Duration;

use crate::install::Version;
use crate::server::ServerOptions;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    pub(super) primaries: usize,
    pub(super) replicas: usize,
    pub(super) node_timeout: Duration,
    pub(super) node: ServerOptions,
    pub(super) each: Vec<(usize, String)>,
}

impl ClusterOptions {
    /// That many primaries with that many replicas each, Valkey 8, a node timeout of one second.
    #[must_use]
    pub fn new(primaries: usize, replicas: usize) -> Self {
        Self {
            primaries,
            replicas,
            node_timeout: Duration::from_secs(1),
            node: ServerOptions::new(Version::Valkey8),
            each: Vec::new(),
        }
    }

    /// What every node is started with: version, TLS, users, lines. Default: a plain Valkey 8.
    #[must_use]
    pub fn node(mut self, node: ServerOptions) -> Self {
        self.node = node;
        self
    }

    /// A configuration line for one node only: `cluster-announce-hostname one.test`.
    #[must_use]
    pub fn line_for(mut self, node: usize, line: impl Into<String>) -> Self {
        self.each.push((node, line.into()));
        self
    }

    /// How long a node is silent before the others hold it for dead. Default: one second.
    #[must_use]
    pub fn node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = timeout;
        self
    }

    pub(super) fn for_node(&self, index: usize) -> ServerOptions {
        let mut options = self
            .node
            .clone()
            .cluster_node()
            .line(format!("cluster-node-timeout {}", self.node_timeout.as_millis()))
            .line("cluster-allow-replica-migration no");
        for (_, line) in self.each.iter().filter(|(node, _)| *node == index) {
            options = options.line(line.clone());
        }
        options
    }
}
