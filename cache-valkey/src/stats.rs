//! Counts connections, reconnects and refreshes of a client.
//!
//! Not in here: metrics, which `cache-stack` derives from these counts.

use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::config::Address;

/// Statistics of a client's connections, returned by [`ValkeyClient::stats`](crate::ValkeyClient::stats).
///
/// Counts start when the client is created. Connections of administration and to sentinels are not included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// The nodes that the client has connections to, or had a moment ago, by address.
    pub nodes: Vec<NodeStats>,
    /// Connections opened to a node that had lost its last one.
    pub reconnects: u64,
    /// Attempts Failed attempts to open a connection: name, TCP, TLS, login.
    pub dial_failures: u64,
    /// Topology refreshes: of a cluster, from sentinels, or of a primary's replicas.
    pub refreshes: u64,
}

impl ConnectionStats {
    /// The open connections to all nodes.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.nodes.iter().map(|node| node.connections).sum()
    }
}

/// Statistics of a client's connections to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStats {
    /// The node's address.
    pub address: Address,
    /// Open connections.
    pub connections: usize,
    /// Calls that wait for a reply.
    pub calls_in_flight: u64,
    /// Bytes of requests that are encoded but not yet written to the socket.
    pub bytes_in_flight: u64,
}

impl NodeStats {
    pub(crate) const fn new(address: Address) -> Self {
        Self {
            address,
            connections: 0,
            calls_in_flight: 0,
            bytes_in_flight: 0,
        }
    }
}

/// Counters that are updated as events happen.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    reconnects: AtomicU64,
    dial_failures: AtomicU64,
    refreshes: AtomicU64,
}

impl Counts {
    pub(crate) fn reconnected(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dial_failed(&self) {
        self.dial_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refreshing(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts, with the statistics of `nodes`. Two entries for one address are merged.
    pub(crate) fn with(&self, nodes: impl IntoIterator<Item = NodeStats>) -> ConnectionStats {
        let mut nodes: Vec<NodeStats> = nodes.into_iter().collect();
        nodes.sort_by_cached_key(|node| node.address.to_string());
        nodes.dedup_by(|next, first| {
            let is_same = next.address == first.address;
            if is_same {
                first.connections += next.connections;
                first.calls_in_flight += next.calls_in_flight;
                first.bytes_in_flight += next.bytes_in_flight;
            }
            is_same
        });
        ConnectionStats {
            nodes,
            reconnects: self.reconnects.load(Ordering::Relaxed),
            dial_failures: self.dial_failures.load(Ordering::Relaxed),
            refreshes: self.refreshes.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_merge_entries_of_one_address() {
        let node = |port, connections| NodeStats {
            connections,
            ..NodeStats::new(Address::new("a", port))
        };
        let counts = Counts::default();
        counts.refreshing();
        // A cluster knows a node as one that reads and as one that writes.
        let stats = counts.with([node(2, 1), node(1, 1), node(2, 3)]);
        assert_eq!(stats.nodes, [node(1, 1), node(2, 4)]);
        assert_eq!((stats.connections(), stats.refreshes), (5, 1));
    }
}
