//! The topology as a client sees it.

use std::ops::RangeInclusive;

use cache_core::config::Address;

use crate::identity::{Expected, NodeId};

/// The topology as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopologyView {
    /// Whether this is a cluster.
    pub cluster: bool,
    /// The cluster's current epoch, if the cluster reported it.
    pub epoch: Option<u64>,
    /// The nodes, primaries first, in the order of their slots.
    pub nodes: Vec<NodeView>,
    /// Slots that no primary serves. Always empty outside of a cluster.
    pub uncovered: Vec<RangeInclusive<u16>>,
    /// Addresses that several nodes announce. A client cannot choose among them, so it does not serve the slots of
    /// primaries that share one.
    pub shared_addresses: Vec<SharedAddress>,
}

/// An address that several nodes of a cluster announce.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedAddress {
    /// The address.
    pub address: Address,
    /// The ids of the nodes.
    pub nodes: Vec<String>,
    /// The slots of the primaries among them, which cannot be reached for this reason. Empty if only one is a
    /// primary.
    pub slots: Vec<RangeInclusive<u16>>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeView {
    /// The id that it gave itself; `None` outside of a cluster, or if unknown.
    pub id: Option<String>,
    /// Its address.
    pub address: Address,
    /// Its role.
    pub role: Role,
    /// The slots that it serves; empty outside of a cluster.
    pub slots: Vec<RangeInclusive<u16>>,
    /// The primary that a replica copies, if known.
    pub primary: Option<Address>,
    /// The server's product name, such as `valkey`; empty before the first connection.
    pub server: String,
    /// Its version; empty before the first connection.
    pub version: String,
    /// Whether it can be used, as far as known.
    pub reachable: bool,
    /// Why it cannot be used, as far as this client has tried.
    pub trouble: Option<String>,
}

impl NodeView {
    /// The server that has to answer at its address.
    pub(super) fn expected(&self) -> Expected {
        let id = self.id.as_deref().and_then(NodeId::new);
        Expected::node(id.as_ref())
    }
}

/// The role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The node that takes writes.
    Primary,
    /// A copy of a primary.
    Replica,
}
