//! Holds the router's state and applies redirections and discoveries to it.
//!
//! Pure: no sockets, no tasks; the time is an argument. Not in here: what a call does after a failure, see
//! `retry.rs`; when the cluster is asked, see `schedule.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::config::Address;

use super::members::Members;
use super::table::Table;
use super::topology::{ClusterNode, ClusterTopology};
use crate::identity::Expected;

/// How long a redirection takes precedence over a discovery. A change takes this long at most to reach all
/// nodes, and until then a discovery may ask a node that does not know it yet.
const REDIRECTION_TRUST: Duration = Duration::from_secs(1);

/// How many discoveries in a row are refused because they are older than the known epoch. After that the
/// cluster was set up again and counts from the start.
const REFUSALS: u32 = 5;

/// The router's state. `N` is the type that calls are sent to.
pub(super) struct State<N> {
    table: Arc<Table<N>>,
    members: Members<N>,
    /// Whether replicas serve reads, and therefore use read-only nodes.
    replicas_read: bool,
    /// Recent redirections, by slot.
    redirections: BTreeMap<u16, Redirection>,
    refused: u32,
}

struct Redirection {
    to: Address,
    at: Instant,
}

/// What a discovery changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The table.
    Table,
    /// Nothing, because the known topology is newer.
    Refused,
}

impl<N: Clone> State<N> {
    pub(super) fn new(members: Members<N>, replicas_read: bool) -> Self {
        Self {
            table: Arc::new(Table::empty()),
            members,
            replicas_read,
            redirections: BTreeMap::new(),
            refused: 0,
        }
    }

    pub(super) const fn table(&self) -> &Arc<Table<N>> {
        &self.table
    }

    /// The nodes in use.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &N> {
        self.members.nodes()
    }

    /// The node at `address`, which another node of the cluster named.
    pub(super) fn node(&mut self, address: &Address) -> N {
        self.members.get(address, false, &Expected::Member)
    }

    /// The node at a configured address, which may be any server until it is checked.
    pub(super) fn seed(&mut self, address: &Address) -> N {
        self.members.get(address, false, &Expected::AnyServer)
    }

    /// Forgets the topology: another cluster, with its own epochs, replaces this one.
    pub(super) fn start_over(&mut self) {
        self.table = Arc::new(Table::empty());
        self.redirections.clear();
        self.refused = 0;
    }

    /// Applies a redirection of `slot` to `to`. Returns whether it changed the table.
    pub(super) fn moved(&mut self, slot: u16, to: &Address, now: Instant) -> bool {
        let members = &mut self.members;
        let member = |node: &ClusterNode| members.get(&node.address, false, &expected(node));
        let Some(table) = self.table.moved(slot, to, member) else {
            return false;
        };
        self.table = Arc::new(table);
        self.redirections.insert(
            slot,
            Redirection {
                to: to.clone(),
                at: now,
            },
        );
        true
    }

    /// Applies `topology`, found by a discovery that began at `asked_at`.
    ///
    /// It does not undo redirections that arrived after it began or shortly before, unless it shows that
    /// their target is not a primary. It does not replace a newer topology.
    pub(super) fn learned(&mut self, topology: &ClusterTopology, asked_at: Instant, now: Instant) -> Change {
        // The epoch is 0 if the user may not ask for it.
        if topology.epoch != 0 && topology.epoch < self.table.epoch() && self.refused < REFUSALS {
            self.refused += 1;
            return Change::Refused;
        }
        self.refused = 0;
        self.redirections.retain(|_, redirection| {
            let named = topology
                .shards
                .iter()
                .any(|shard| shard.primary.address == redirection.to);
            redirection.at >= asked_at || (named && redirection.at + REDIRECTION_TRUST > asked_at)
        });
        let members = &mut self.members;
        let replicas_read = self.replicas_read;
        let mut table = Table::new(topology, |node, replica| {
            members.get(&node.address, replica && replicas_read, &expected(node))
        });
        for (slot, redirection) in &self.redirections {
            let member = |node: &ClusterNode| members.get(&node.address, false, &expected(node));
            if let Some(patched) = table.moved(*slot, &redirection.to, member) {
                table = patched;
            }
        }
        let (old, new) = (self.table.topology(), table.topology());
        self.members.keep(
            |address, reads_only| {
                new.shards.iter().any(|shard| {
                    let replica = shard.replicas.iter().any(|node| node.address == *address);
                    (shard.primary.address == *address && !reads_only)
                        || (replica && reads_only == replicas_read)
                })
            },
            now,
        );
        // Also if nothing changed for calls: the old table may hold nodes that no longer serve slots and are
        // about to be closed.
        self.table = Arc::new(table);
        if old.shards == new.shards && old.shared == new.shared {
            Change::None
        } else {
            Change::Table
        }
    }

    /// Removes and returns the nodes that no table has named for longer than `grace`.
    pub(super) fn take_unused(&mut self, grace: Duration, now: Instant) -> Vec<N> {
        self.members.take_unused(grace, now)
    }

    /// Forgets everything and returns all nodes.
    pub(super) fn clear(&mut self) -> Vec<N> {
        self.table = Arc::new(Table::empty());
        self.redirections.clear();
        self.members.take_all()
    }
}

/// The server that must answer at the address of `node`.
fn expected(node: &ClusterNode) -> Expected {
    Expected::node(node.id.as_ref())
}

#[cfg(test)]
mod tests {
    use cache_core::clock;

    use super::super::topology::ClusterShard;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(port: u16) -> Address {
        Address::new("n", port)
    }

    fn state() -> State<Address> {
        State::new(Members::new(|address, _| address.clone(), |_, _| {}), false)
    }

    /// Shards of consecutive ports from 1 on, each with its slots.
    fn topology(epoch: u64, shards: &[(u16, std::ops::RangeInclusive<u16>)]) -> ClusterTopology {
        let shards = shards
            .iter()
            .map(|(port, slots)| ClusterShard::new(at(*port), vec![at(port + 100)], vec![slots.clone()]));
        ClusterTopology {
            epoch,
            shards: shards.collect(),
            shared: Vec::new(),
        }
    }

    fn owner(state: &State<Address>, slot: u16) -> u16 {
        state.table().shard(slot).map_or(0, |shard| shard.primary().port)
    }

    #[test]
    fn discovery_begun_before_redirection_does_not_undo_it() {
        let mut state = state();
        let start = clock::now();
        let old = topology(5, &[(1, 0..=9), (2, 10..=19)]);
        assert_eq!(state.learned(&old, start, start), Change::Table);
        assert!(state.moved(3, &at(2), start + 10 * MS));
        assert!(!state.moved(3, &at(2), start + 11 * MS));
        state.learned(&old, start + 5 * MS, start + 20 * MS);
        assert_eq!(owner(&state, 3), 2, "asked before the redirection");
        state.learned(&old, start + 30 * MS, start + 40 * MS);
        assert_eq!(owner(&state, 3), 2, "asked while the news was still on its way");
        assert_eq!(owner(&state, 4), 1);
        state.learned(&old, start + 1_500 * MS, start + 1_501 * MS);
        assert_eq!(owner(&state, 3), 1, "by now the discovery knows better");
    }

    #[test]
    fn redirection_to_no_primary_yields_to_next_discovery() {
        let mut state = state();
        let start = clock::now();
        state.learned(&topology(5, &[(1, 0..=9), (2, 10..=19)]), start, start);
        state.moved(3, &at(7), start + MS);
        state.learned(&topology(5, &[(1, 0..=9), (2, 10..=19)]), start, start + 2 * MS);
        assert_eq!(owner(&state, 3), 7, "asked before anybody could have named it");
        state.learned(
            &topology(6, &[(1, 0..=9), (2, 10..=19)]),
            start + 2 * MS,
            start + 3 * MS,
        );
        assert_eq!(owner(&state, 3), 1);
    }

    #[test]
    fn older_discovery_is_refused_until_repeated() {
        let mut state = state();
        let now = clock::now();
        state.learned(&topology(9, &[(1, 0..=9)]), now, now);
        let older = topology(2, &[(2, 0..=9)]);
        for _ in 0..REFUSALS {
            assert_eq!(state.learned(&older, now, now), Change::Refused);
            assert_eq!(owner(&state, 0), 1);
        }
        assert_eq!(state.learned(&older, now, now), Change::Table);
        assert_eq!(owner(&state, 0), 2);
        // Without the permission to ask for it there is no epoch to compare.
        assert_eq!(
            state.learned(&topology(0, &[(3, 0..=9)]), now, now),
            Change::Table
        );
    }

    #[test]
    fn nodes_that_left_are_dropped_after_the_grace_period() {
        let mut state = state();
        let start = clock::now();
        state.learned(&topology(1, &[(1, 0..=9), (2, 10..=19)]), start, start);
        assert_eq!(
            state.learned(&topology(2, &[(1, 0..=9), (2, 10..=19)]), start, start),
            Change::None
        );
        state.learned(&topology(3, &[(1, 0..=19)]), start, start);
        let grace = 100 * MS;
        assert!(state.take_unused(grace, start + grace).is_empty());
        let mut gone = state.take_unused(grace, start + 2 * grace);
        gone.sort_unstable();
        assert_eq!(gone, [at(2), at(102)]);
        assert_eq!(state.clear().len(), 2);
        assert_eq!(owner(&state, 0), 0);
    }
}
