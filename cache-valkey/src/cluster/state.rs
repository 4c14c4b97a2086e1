//! What the router believes, and how redirections and surveys change it.
//!
//! Pure: no sockets, no tasks; the time is an argument. What one call does about an answer is in
//! `journey.rs`, when the cluster is asked is in `schedule.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::config::Address;

use super::members::Members;
use super::table::Table;
use super::topology::{ClusterNode, ClusterTopology};
use crate::identity::Expected;

/// For how long a redirection is believed more than a survey: a change takes this long at most to become
/// known to all nodes, and until then a survey may ask one that has not heard of it.
const SETTLING: Duration = Duration::from_secs(1);

/// Surveys in a row that are older than what is known and are refused. After that the cluster is a new
/// one that counts anew.
const REFUSALS: u32 = 5;

/// What the router believes. `N` is what a call is sent to.
pub(super) struct State<N> {
    table: Arc<Table<N>>,
    members: Members<N>,
    /// Whether replicas answer reads, and so are nodes of another kind.
    replicas_read: bool,
    /// What redirections taught lately, by slot.
    lessons: BTreeMap<u16, Lesson>,
    refused: u32,
}

struct Lesson {
    to: Address,
    at: Instant,
}

/// What a survey changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The table.
    Table,
    /// Nothing, because what is known is newer.
    Refused,
}

impl<N: Clone> State<N> {
    pub(super) fn new(members: Members<N>, replicas_read: bool) -> Self {
        Self {
            table: Arc::new(Table::empty()),
            members,
            replicas_read,
            lessons: BTreeMap::new(),
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

    /// The node at `address`, which another node of the cluster named, as one that serves its own slots.
    pub(super) fn node(&mut self, address: &Address) -> N {
        self.members.get(address, false, &Expected::Member)
    }

    /// The node at a configured address: any one, until it is known who is there.
    pub(super) fn seed(&mut self, address: &Address) -> N {
        self.members.get(address, false, &Expected::Anyone)
    }

    /// Forgets how the cluster looked: another one takes its place, with epochs of its own.
    pub(super) fn start_over(&mut self) {
        self.table = Arc::new(Table::empty());
        self.lessons.clear();
        self.refused = 0;
    }

    /// A node said that `slot` is served by `to`. Whether that was news.
    pub(super) fn moved(&mut self, slot: u16, to: &Address, now: Instant) -> bool {
        let members = &mut self.members;
        let member = |node: &ClusterNode| members.get(&node.address, false, &expected(node));
        let Some(table) = self.table.moved(slot, to, member) else {
            return false;
        };
        self.table = Arc::new(table);
        self.lessons.insert(
            slot,
            Lesson {
                to: to.clone(),
                at: now,
            },
        );
        true
    }

    /// A survey that began at `asked_at` found `topology`.
    ///
    /// It does not undo what was learned from redirections after it began or shortly before, unless it
    /// shows that the node that was named is no primary; nor does it replace a newer one.
    pub(super) fn learned(&mut self, topology: &ClusterTopology, asked_at: Instant, now: Instant) -> Change {
        // An epoch of 0 is one that the user may not ask for.
        if topology.epoch != 0 && topology.epoch < self.table.epoch() && self.refused < REFUSALS {
            self.refused += 1;
            return Change::Refused;
        }
        self.refused = 0;
        self.lessons.retain(|_, lesson| {
            let named = topology
                .shards
                .iter()
                .any(|shard| shard.primary.address == lesson.to);
            lesson.at >= asked_at || (named && lesson.at + SETTLING > asked_at)
        });
        let members = &mut self.members;
        let replicas_read = self.replicas_read;
        let mut table = Table::new(topology, |node, replica| {
            members.get(&node.address, replica && replicas_read, &expected(node))
        });
        for (slot, lesson) in &self.lessons {
            let member = |node: &ClusterNode| members.get(&node.address, false, &expected(node));
            if let Some(patched) = table.moved(*slot, &lesson.to, member) {
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
        // Also where nothing changed for calls: the old table may hold nodes that serve nothing any more
        // and are about to be closed.
        self.table = Arc::new(table);
        if old.shards == new.shards && old.shared == new.shared {
            Change::None
        } else {
            Change::Table
        }
    }

    /// Takes out the nodes that no table has named for longer than `grace`.
    pub(super) fn take_unused(&mut self, grace: Duration, now: Instant) -> Vec<N> {
        self.members.take_unused(grace, now)
    }

    /// Forgets everything, and gives all nodes.
    pub(super) fn clear(&mut self) -> Vec<N> {
        self.table = Arc::new(Table::empty());
        self.lessons.clear();
        self.members.take_all()
    }
}

/// Who has to answer at the address of `node`.
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
    fn a_survey_that_began_before_a_redirection_does_not_undo_it() {
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
        assert_eq!(owner(&state, 3), 1, "by now the survey knows better");
    }

    #[test]
    fn a_redirection_to_what_is_no_primary_gives_way_to_the_next_survey() {
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
    fn an_older_survey_is_refused_until_it_is_all_there_is() {
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
    fn nodes_that_stay_are_kept_and_nodes_that_left_are_given_up_after_the_grace() {
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
