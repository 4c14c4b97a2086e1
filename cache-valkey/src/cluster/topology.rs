//! The topology of a cluster: its shards and the slots that each of them serves.
//!
//! Plain data. Not in here: reading it, see `report.rs`; routing by it, see `table.rs`; the public view, see
//! `view.rs`.

use std::ops::RangeInclusive;

use cache_core::config::Address;
use cache_core::slot::SLOTS;

use crate::identity::{Ids, NodeId};

/// The topology of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClusterTopology {
    /// The cluster's epoch; 0 if the user may not ask for it.
    pub(super) epoch: u64,
    /// The shards that serve slots and can be reached, in the order of their primaries' addresses.
    pub(super) shards: Vec<ClusterShard>,
    /// Addresses that several nodes claim. Their primaries cannot be reached reliably.
    pub(super) shared: Vec<AmbiguousAddress>,
}

/// A node: its id, and its address today.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClusterNode {
    pub(super) address: Address,
    /// `None` if the servers do not name ids.
    pub(super) id: Option<NodeId>,
}

/// An address that several nodes claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AmbiguousAddress {
    pub(super) address: Address,
    /// All nodes that claim it, in order.
    pub(super) nodes: Vec<NodeId>,
    /// The slots of the primaries among them, if there are several.
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

/// A primary, its replicas, and the slots they serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClusterShard {
    /// The node that takes writes.
    pub(super) primary: ClusterNode,
    /// The nodes that copy it, in the order of their addresses.
    pub(super) replicas: Vec<ClusterNode>,
    /// The slots, in order; adjacent ranges are merged.
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

impl ClusterTopology {
    /// The nodes that it names.
    pub(super) fn ids(&self) -> Ids {
        let shared = self.shared.iter().flat_map(|shared| &shared.nodes);
        self.nodes()
            .filter_map(|node| node.id.as_ref())
            .chain(shared)
            .cloned()
            .collect()
    }

    /// The nodes that can be reached.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &ClusterNode> {
        self.shards
            .iter()
            .flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas))
    }

    /// The shard that serves `slot`.
    #[cfg(test)]
    pub(super) fn shard_of(&self, slot: u16) -> Option<&ClusterShard> {
        self.shards
            .iter()
            .find(|shard| shard.slots.iter().any(|range| range.contains(&slot)))
    }

    /// The slots that no shard serves, in order.
    pub(super) fn unserved(&self) -> Vec<RangeInclusive<u16>> {
        let mut served = vec![false; usize::from(SLOTS)];
        for range in self.shards.iter().flat_map(|shard| &shard.slots) {
            for slot in range.clone() {
                if let Some(place) = served.get_mut(usize::from(slot)) {
                    *place = true;
                }
            }
        }
        merge((0..SLOTS).filter(|&slot| !served[usize::from(slot)]))
    }
}

impl ClusterShard {
    pub(super) fn new(
        primary: impl Into<ClusterNode>,
        replicas: Vec<impl Into<ClusterNode>>,
        slots: Vec<RangeInclusive<u16>>,
    ) -> Self {
        let mut replicas: Vec<ClusterNode> = replicas.into_iter().map(Into::into).collect();
        replicas.sort_unstable();
        replicas.dedup();
        Self {
            primary: primary.into(),
            replicas,
            slots,
        }
    }
}

impl ClusterNode {
    /// Whether both are the same node, as far as known.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let may_have_one_id = match (&self.id, &other.id) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.address == other.address && may_have_one_id
    }
}

impl From<Address> for ClusterNode {
    fn from(address: Address) -> Self {
        Self { address, id: None }
    }
}

impl std::fmt::Display for AmbiguousAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nodes: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        write!(
            f,
            "the nodes {} all go by the address {}",
            nodes.join(", "),
            self.address
        )
    }
}

/// Merges slots in ascending order into ranges.
pub(super) fn merge(slots: impl Iterator<Item = u16>) -> Vec<RangeInclusive<u16>> {
    let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
    for slot in slots {
        match ranges.last_mut() {
            Some(last) if last.end() + 1 == slot => *last = *last.start()..=slot,
            _ => ranges.push(slot..=slot),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unserved_slots_are_merged_into_ranges() {
        let shard = |port, slots| ClusterShard::new(Address::new("a", port), Vec::<Address>::new(), slots);
        let topology = ClusterTopology {
            epoch: 1,
            shards: vec![
                shard(1, vec![0..=9, 20..=29]),
                shard(2, vec![10..=18, 31..=16_383]),
            ],
            shared: Vec::new(),
        };
        assert_eq!(topology.unserved(), [19..=19, 30..=30]);
        assert_eq!(
            topology.shard_of(18).map(|shard| shard.primary.address.port),
            Some(2)
        );
        assert_eq!(topology.shard_of(19), None);
        assert_eq!(ClusterTopology::default().unserved(), [0..=16_383]);
    }
}
