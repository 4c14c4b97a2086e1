//! Reads what a node says about its cluster.
//!
//! Pure: replies in, a [`Report`] out. Not in here: which nodes are asked, see `discovery.rs`; which report
//! is accepted, see `known_cluster.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use cache_core::config::Address;
use cache_core::slot::SLOTS;
use cache_core::{CacheError, ConfigError};

use super::topology::{AmbiguousAddress, ClusterNode, ClusterShard, ClusterTopology, merge};
use crate::dial::server_check::id_of;
use crate::identity::{Ids, NodeId};
use crate::reply::{Reply, ServerError};

/// One node's view of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The node that was asked.
    pub(super) asked: Address,
    /// Whether the node considers the cluster healthy. A node that is cut off or has just started does not.
    pub(super) ok: bool,
    pub(super) topology: ClusterTopology,
}

impl Report {
    /// Reads the replies of the node at `asked` to `CLUSTER SLOTS` and `CLUSTER INFO`.
    pub(super) fn read(slots: &Reply, info: &Reply, asked: &Address) -> Result<Self, CacheError> {
        if let Reply::Error(error) = slots {
            return Err(refused(error));
        }
        // A user that may not run CLUSTER INFO can still use the cluster, but without the epoch to tell old
        // views from new ones.
        let info = info.as_text().unwrap_or_default();
        let (shards, shared) = read_slots(slots, asked)?;
        let topology = ClusterTopology {
            epoch: epoch_of(info).unwrap_or(0),
            shards,
            shared,
        };
        Ok(Self {
            asked: asked.clone(),
            ok: field(info, "cluster_state") != Some("fail"),
            topology,
        })
    }
}

/// The address in a redirection or a topology. An empty host means the node that was asked.
pub(super) fn address(host: Option<&str>, port: u16, asked: &Address) -> Option<Address> {
    match host {
        None | Some("") => Some(Address::new(asked.host.clone(), port)),
        // The server is configured to announce host names and has none for this node.
        Some("?") => None,
        Some(host) => Some(Address::new(host, port)),
    }
}

/// The cluster's epoch in a reply to `CLUSTER INFO`.
pub(super) fn epoch_of(info: &str) -> Option<u64> {
    field(info, "cluster_current_epoch")?.parse().ok()
}

fn refused(error: &ServerError) -> CacheError {
    if error.detail.contains("cluster support disabled") {
        return CacheError::Config(ConfigError::one(
            "CACHE_MODE",
            "the server is not part of a cluster; set CACHE_MODE=single",
        ));
    }
    crate::error::from_server(error, "CLUSTER SLOTS")
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// A shard under construction: the primary, the replicas, the slots.
type Parts = (ClusterNode, Vec<ClusterNode>, Vec<RangeInclusive<u16>>);

/// Reads `CLUSTER SLOTS`: entries of `[first, last, primary, replica...]`, one per slot range. A shard may
/// have several entries; nodes are matched by address and id.
fn read_slots(
    reply: &Reply,
    asked: &Address,
) -> Result<(Vec<ClusterShard>, Vec<AmbiguousAddress>), CacheError> {
    let Reply::Array(entries) = reply else {
        return Err(reply.unexpected("an array of slot ranges"));
    };
    let mut shards: BTreeMap<(Address, Option<NodeId>), Parts> = BTreeMap::new();
    for entry in entries {
        let Reply::Array(parts) = entry else {
            return Err(entry.unexpected("a slot range"));
        };
        let [first, last, primary, replicas @ ..] = parts.as_slice() else {
            return Err(entry.unexpected("a slot range with a primary"));
        };
        let range = slot(first)?..=slot(last)?;
        // A primary without an address cannot be reached: its slots have no owner.
        let Some(primary) = node(primary, asked)? else {
            continue;
        };
        let shard = shards
            .entry((primary.address.clone(), primary.id.clone()))
            .or_insert_with(|| (primary, Vec::new(), Vec::new()));
        for replica in replicas {
            shard.1.extend(node(replica, asked)?);
        }
        shard.2.push(range);
    }
    let shards = shards.into_values().map(|(primary, replicas, mut ranges)| {
        ranges.sort_unstable_by_key(|range| *range.start());
        ClusterShard::new(primary, replicas, merge(ranges.into_iter().flatten()))
    });
    Ok(set_apart(shards.collect()))
}

/// Removes nodes that share an address with another node.
///
/// If several primaries share an address, a connection may lead to either, so their slots have no owner. A
/// replica that shares an address with another node is left out; the primary is kept, and its connections are
/// checked.
fn set_apart(shards: Vec<ClusterShard>) -> (Vec<ClusterShard>, Vec<AmbiguousAddress>) {
    let mut claims: BTreeMap<Address, (Ids, Ids)> = BTreeMap::new();
    for shard in &shards {
        let primary = shard
            .primary
            .id
            .iter()
            .map(|id| (&shard.primary.address, id, true));
        let replicas = shard.replicas.iter();
        let replicas = replicas.filter_map(|node| Some((&node.address, node.id.as_ref()?, false)));
        for (address, id, is_primary) in primary.chain(replicas) {
            let (all, primaries) = claims.entry(address.clone()).or_default();
            all.insert(id.clone());
            if is_primary {
                primaries.insert(id.clone());
            }
        }
    }
    claims.retain(|_, (all, _)| all.len() > 1);
    if claims.is_empty() {
        return (shards, Vec::new());
    }
    let is_ambiguous = |node: &ClusterNode| {
        claims
            .get(&node.address)
            .is_some_and(|(_, primaries)| primaries.len() > 1)
    };
    let (lost, mut kept): (Vec<_>, Vec<_>) =
        shards.into_iter().partition(|shard| is_ambiguous(&shard.primary));
    for shard in &mut kept {
        shard.replicas.retain(|node| !claims.contains_key(&node.address));
    }
    let shared = claims.iter().map(|(address, (all, _))| {
        let slots = lost.iter().filter(|shard| shard.primary.address == *address);
        let slots: BTreeSet<u16> = slots
            .flat_map(|shard| shard.slots.iter().cloned().flatten())
            .collect();
        AmbiguousAddress {
            address: address.clone(),
            nodes: all.iter().cloned().collect(),
            slots: merge(slots.into_iter()),
        }
    });
    let shared = shared.collect();
    (kept, shared)
}

/// Reads `[host, port, id, metadata]`. Old servers lack the last two.
fn node(reply: &Reply, asked: &Address) -> Result<Option<ClusterNode>, CacheError> {
    let Reply::Array(parts) = reply else {
        return Err(reply.unexpected("a node"));
    };
    let [host, port, rest @ ..] = parts.as_slice() else {
        return Err(reply.unexpected("a node with host and port"));
    };
    let Reply::Int(port) = port else {
        return Err(port.unexpected("a port"));
    };
    let Some(port) = u16::try_from(*port).ok().filter(|port| *port != 0) else {
        // The port is 0 if the node does not listen for this kind of connection.
        return Ok(None);
    };
    let by_name = address(host.as_text(), port, asked);
    let metadata = rest.get(1);
    let other = |name| metadata?.field(name)?.as_text().filter(|text| !text.is_empty());
    let address = by_name.or_else(|| {
        other("ip")
            .or_else(|| other("hostname"))
            .map(|host| Address::new(host, port))
    });
    Ok(address.map(|address| ClusterNode {
        address,
        id: id_of(reply),
    }))
}

fn slot(reply: &Reply) -> Result<u16, CacheError> {
    match reply {
        Reply::Int(value) => u16::try_from(*value)
            .ok()
            .filter(|slot| *slot < SLOTS)
            .ok_or_else(|| reply.unexpected("a slot")),
        other => Err(other.unexpected("a slot")),
    }
}

#[cfg(test)]
mod tests;
