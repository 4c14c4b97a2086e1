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
    /// The cluster's current epoch, where it told it.
    pub epoch: Option<u64>,
    /// The nodes, primaries first, in the order of their slots.
    pub nodes: Vec<NodeView>,
    /// Slots that no primary serves. Always empty outside of a cluster.
    pub uncovered: Vec<RangeInclusive<u16>>,
    /// Addresses that several nodes claim. A client cannot choose among them, so that the slots of primaries that share
    /// one are not served.
    pub shared_addresses: Vec<SharedAddress>,
}

/// An address that several nodes of a cluster claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedAddress {
    /// The address.
    pub address: Address,
    /// The ids of the nodes.
    pub nodes: Vec<String>,
    /// The slots of the primaries among them that cannot be reached for it. None if only one is a primary.
    pub slots: Vec<RangeInclusive<u16>>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeView {
    /// The id that it gave itself; `None` outside of a cluster, or if it is not known.
    pub id: Option<String>,
    /// Where it is.
    pub address: Address,
    /// What it is.
    pub role: Role,
    /// The slots it serves; empty outside of a cluster.
    pub slots: Vec<RangeInclusive<u16>>,
    /// The primary that a replica copies, where that is known.
    pub primary: Option<Address>,
    /// What the server calls itself, such as `valkey`; empty before the first connection.
    pub server: String,
    /// Its version; empty before the first connection.
    pub version: String,
    /// Whether it can be used, as far as is known.
    pub reachable: bool,
    /// Why it cannot be used, as far as this client has tried.
    pub trouble: Option<String>,
}

impl NodeView {
    /// Which server has to answer at its address.
    pub(super) fn expected(&self) -> Expected {
        let id = self.id.as_deref().and_then(NodeId::new);
        Expected::node(id.as_ref())
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Copies a primary.
    Replica,
}
