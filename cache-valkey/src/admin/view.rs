//! The topology as a client sees it.

use std::ops::RangeInclusive;

use cache_core::config::Address;

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
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeView {
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

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Copies a primary.
    Replica,
}
