//! The routing table: maps a slot to the shard that serves it.
//!
//! Immutable: a change creates a new table that shares the shards with the old one. Not in here: when the
//! table changes, see `state.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache_core::config::Address;
use cache_core::slot::SLOTS;

use super::topology::{AmbiguousAddress, ClusterNode, ClusterShard, ClusterTopology, merge};

/// Marks a slot that no shard serves.
const UNSERVED: u16 = u16::MAX;

/// Maps slots to shards. `N` is the type that calls are sent to.
#[derive(Debug)]
pub(super) struct Table<N> {
    epoch: u64,
    shards: Vec<Arc<Shard<N>>>,
    /// Addresses that several nodes claim.
    shared: Vec<AmbiguousAddress>,
    owners: Box<[u16; SLOTS as usize]>,
}

/// A primary and its replicas.
#[derive(Debug)]
pub(super) struct Shard<N> {
    primary: (ClusterNode, N),
    replicas: Vec<(ClusterNode, N)>,
    /// Whether a discovery found it; a redirection names no replicas.
    discovered: bool,
    /// The next replica in turn.
    turn: AtomicUsize,
}

impl<N: Clone> Table<N> {
    /// A table without shards.
    pub(super) fn empty() -> Self {
        Self {
            epoch: 0,
            shards: Vec::new(),
            shared: Vec::new(),
            owners: Box::new([UNSERVED; SLOTS as usize]),
        }
    }

    /// The table of `topology`. `member` returns the target for calls to a node; its second argument says
    /// whether the node is a replica.
    pub(super) fn new(topology: &ClusterTopology, mut member: impl FnMut(&ClusterNode, bool) -> N) -> Self {
        let mut table = Self::empty();
        table.epoch = topology.epoch;
        table.shared.clone_from(&topology.shared);
        for shard in &topology.shards {
            let mut with = |node: &ClusterNode, replica| (node.clone(), member(node, replica));
            let index = table.push(Shard {
                primary: with(&shard.primary, false),
                replicas: shard.replicas.iter().map(|node| with(node, true)).collect(),
                discovered: true,
                turn: AtomicUsize::new(0),
            });
            for slot in shard.slots.iter().cloned().flatten() {
                table.owners[usize::from(slot)] = index;
            }
        }
        table
    }

    /// The shard that serves `slot`.
    #[inline]
    pub(super) fn shard(&self, slot: u16) -> Option<&Arc<Shard<N>>> {
        self.shards.get(self.index(slot))
    }

    /// The index in [`shards`](Self::shards) of the shard that serves `slot`; out of range if none does.
    #[inline]
    pub(super) fn index(&self, slot: u16) -> usize {
        usize::from(self.owners[usize::from(slot % SLOTS)])
    }

    /// The slots that have an owner here and another owner, or none, in `next`.
    pub(super) fn slots_lost_in(&self, next: &Self) -> Vec<u16> {
        let mut last = None;
        let mut is_lost = false;
        let lost = (0..SLOTS).filter(|&slot| {
            let pair = (self.index(slot), next.index(slot));
            // Adjacent slots usually have the same owners.
            if last.replace(pair) != Some(pair) {
                is_lost = match (self.shard(slot), next.shard(slot)) {
                    (Some(old), Some(new)) => !old.primary.0.is_same_as(&new.primary.0),
                    (old, _) => old.is_some(),
                };
            }
            is_lost
        });
        lost.collect()
    }

    /// All shards. After redirections, some may serve no slots.
    pub(super) fn shards(&self) -> &[Arc<Shard<N>>] {
        &self.shards
    }

    /// The shards that serve slots.
    pub(super) fn serving(&self) -> impl Iterator<Item = &Arc<Shard<N>>> {
        let mut serves = vec![false; self.shards.len()];
        for &owner in self.owners.iter() {
            if let Some(serves) = serves.get_mut(usize::from(owner)) {
                *serves = true;
            }
        }
        self.shards
            .iter()
            .zip(serves)
            .filter_map(|(shard, serves)| serves.then_some(shard))
    }

    /// Whether some shards are known from redirections only, and therefore without replicas.
    pub(super) fn has_undiscovered_shards(&self) -> bool {
        self.shards.iter().any(|shard| !shard.discovered)
    }

    /// Whether every slot has an owner.
    pub(super) fn is_complete(&self) -> bool {
        !self.owners.contains(&UNSERVED)
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Addresses that several nodes claim.
    pub(super) fn shared(&self) -> &[AmbiguousAddress] {
        &self.shared
    }

    /// The table after a redirection of `slot` to `to`; `None` if it is known already.
    ///
    /// A replica that serves a slot of its own shard was promoted and takes over all of its slots: after a
    /// failover one redirection is enough.
    pub(super) fn moved(
        &self,
        slot: u16,
        to: &Address,
        member: impl FnOnce(&ClusterNode) -> N,
    ) -> Option<Self> {
        let from = self.shard(slot);
        if from.is_some_and(|shard| shard.primary.0.address == *to) {
            return None;
        }
        let mut table = Self {
            epoch: self.epoch,
            shards: self.shards.clone(),
            shared: self.shared.clone(),
            owners: self.owners.clone(),
        };
        if let Some(shard) = from
            && let Some((promoted, _)) = shard.replicas.iter().find(|(node, _)| node.address == *to)
        {
            let rest = shard.replicas.iter().filter(|(node, _)| node != promoted);
            table.shards[self.index(slot)] = Arc::new(Shard {
                primary: (promoted.clone(), member(promoted)),
                replicas: rest.cloned().collect(),
                discovered: shard.discovered,
                turn: AtomicUsize::new(0),
            });
            return Some(table);
        }
        let known = table
            .shards
            .iter()
            .position(|shard| shard.primary.0.address == *to);
        let new = ClusterNode::from(to.clone());
        table.owners[usize::from(slot % SLOTS)] = match known.and_then(|index| u16::try_from(index).ok()) {
            Some(index) => index,
            None => table.push(Shard {
                primary: (new.clone(), member(&new)),
                replicas: Vec::new(),
                discovered: false,
                turn: AtomicUsize::new(0),
            }),
        };
        Some(table)
    }

    /// The topology of this table, without shards that serve no slots.
    pub(super) fn topology(&self) -> ClusterTopology {
        let mut slots = vec![Vec::new(); self.shards.len()];
        for slot in 0..SLOTS {
            if let Some(list) = slots.get_mut(self.index(slot)) {
                list.push(slot);
            }
        }
        let mut shards: Vec<_> = self
            .shards
            .iter()
            .zip(slots)
            .filter(|(_, slots)| !slots.is_empty())
            .map(|(shard, slots)| {
                let replicas = shard.replicas.iter().map(|(node, _)| node.clone());
                ClusterShard::new(
                    shard.primary.0.clone(),
                    replicas.collect::<Vec<ClusterNode>>(),
                    merge(slots.into_iter()),
                )
            })
            .collect();
        shards.sort_unstable_by(|a, b| a.primary.cmp(&b.primary));
        ClusterTopology {
            epoch: self.epoch,
            shards,
            shared: self.shared.clone(),
        }
    }

    fn push(&mut self, shard: Shard<N>) -> u16 {
        // A cluster has at most as many primaries as slots, so the index always fits.
        let index = u16::try_from(self.shards.len()).unwrap_or(UNSERVED);
        self.shards.push(Arc::new(shard));
        index
    }
}

impl<N> Shard<N> {
    pub(super) const fn primary(&self) -> &N {
        &self.primary.1
    }

    pub(super) fn replicas(&self) -> impl Iterator<Item = &N> {
        self.replicas.iter().map(|(_, node)| node)
    }

    /// The next replica in turn that `usable` accepts.
    pub(super) fn replica(&self, usable: impl Fn(&N) -> bool) -> Option<&N> {
        let count = self.replicas.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..count)
            .map(|step| &self.replicas[turn.wrapping_add(step) % count].1)
            .find(|node| usable(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address::new("n", port)
    }

    fn table() -> Table<u16> {
        let topology = ClusterTopology {
            epoch: 3,
            shards: vec![
                ClusterShard::new(at(1), vec![at(11), at(12)], vec![0..=99]),
                ClusterShard::new(at(2), vec![at(21)], vec![100..=199, 300..=301]),
            ],
            shared: Vec::new(),
        };
        Table::new(&topology, |node, _| node.address.port)
    }

    fn owner(table: &Table<u16>, slot: u16) -> Option<u16> {
        table.shard(slot).map(|shard| *shard.primary())
    }

    #[test]
    fn table_maps_every_slot_and_returns_its_topology() {
        let table = table();
        assert_eq!(owner(&table, 0), Some(1));
        assert_eq!(owner(&table, 301), Some(2));
        assert_eq!(owner(&table, 200), None);
        assert_eq!(owner(&Table::<u16>::empty(), 0), None);
        let again = Table::new(&table.topology(), |node, _| node.address.port);
        assert_eq!(again.topology(), table.topology());
        assert_eq!(table.topology().shards[1].slots, [100..=199, 300..=301]);
    }

    #[test]
    fn moved_slot_is_patched_alone() {
        let table = table().moved(50, &at(2), |_| 2).unwrap();
        assert_eq!(owner(&table, 50), Some(2));
        assert_eq!(owner(&table, 51), Some(1));
        assert!(table.moved(50, &at(2), |_| 2).is_none(), "known already");
        let table = table.moved(200, &at(9), |_| 9).unwrap();
        assert_eq!(owner(&table, 200), Some(9));
        let primaries =
            |table: &Table<u16>| table.serving().map(|shard| *shard.primary()).collect::<Vec<_>>();
        assert_eq!(primaries(&table), [1, 2, 9]);
        let table = table.moved(200, &at(1), |_| 1).unwrap();
        assert_eq!(
            primaries(&table),
            [1, 2],
            "what serves nothing any more is no primary in use"
        );
        assert!(!table.is_complete());
        assert!(table.has_undiscovered_shards());
        let discovered = Table::new(&table.topology(), |node, _| node.address.port);
        assert!(!discovered.has_undiscovered_shards());
    }

    #[test]
    fn slots_are_lost_only_with_their_primary() {
        let old = table();
        let served: Vec<u16> = (0..SLOTS).filter(|slot| old.shard(*slot).is_some()).collect();
        assert!(old.slots_lost_in(&old).is_empty() && Table::empty().slots_lost_in(&old).is_empty());
        assert_eq!(
            old.slots_lost_in(&Table::empty()),
            served,
            "nobody is somebody else, too"
        );
        let mut topology = old.topology();
        topology.shards[0].replicas.pop();
        topology.shards[1].slots.push(500..=600);
        let more = Table::new(&topology, |node, _| node.address.port);
        assert!(
            old.slots_lost_in(&more).is_empty(),
            "replicas went and slots came"
        );
        // Where a replica takes over, it takes all slots of its shard.
        let whole: Vec<u16> = (0..100).collect();
        for (slot, to, lost) in [(50, 2, vec![50]), (50, 12, whole), (199, 9, vec![199])] {
            assert_eq!(
                old.slots_lost_in(&old.moved(slot, &at(to), |_| to).unwrap()),
                lost
            );
        }
        assert!(
            old.slots_lost_in(&old.moved(200, &at(9), |_| 9).unwrap())
                .is_empty()
        );
    }

    #[test]
    fn another_node_at_the_same_address_is_another_owner() {
        let with = |id| {
            let primary = ClusterNode {
                address: at(1),
                id: crate::identity::NodeId::new(id),
            };
            let shard = ClusterShard::new(primary, Vec::<Address>::new(), vec![0..=0]);
            let topology = ClusterTopology {
                epoch: 1,
                shards: vec![shard],
                shared: Vec::new(),
            };
            Table::new(&topology, |node, _| node.address.port)
        };
        assert_eq!(with("a").slots_lost_in(&with("b")), [0]);
        assert!(with("a").slots_lost_in(&with("a")).is_empty());
        let unnamed = with("");
        assert!(
            unnamed.slots_lost_in(&with("a")).is_empty(),
            "a redirection named the address alone"
        );
    }

    #[test]
    fn promoted_replica_takes_all_slots_of_its_shard() {
        let table = table().moved(50, &at(12), |_| 12).unwrap();
        assert_eq!((owner(&table, 0), owner(&table, 99)), (Some(12), Some(12)));
        assert_eq!(owner(&table, 100), Some(2));
        let table = table.moved(301, &at(21), |_| 21).unwrap();
        assert_eq!(
            [0, 100, 300].map(|slot| owner(&table, slot)),
            [Some(12), Some(21), Some(21)]
        );
        let shard = table.shard(0).unwrap();
        assert_eq!(shard.replicas().copied().collect::<Vec<_>>(), [11]);
    }

    #[test]
    fn replicas_take_turns_and_down_ones_are_skipped() {
        let table = table();
        let shard = table.shard(0).unwrap();
        let mut seen: Vec<_> = (0..4).map(|_| *shard.replica(|_| true).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [11, 11, 12, 12]);
        for _ in 0..3 {
            assert_eq!(shard.replica(|node| *node != 11), Some(&12));
        }
        assert_eq!(shard.replica(|_| false), None);
    }
}
