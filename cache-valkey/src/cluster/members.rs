//! Holds the nodes of a cluster that are in use, one per address and role, across topology changes.
//!
//! A node that stays keeps its connections. A node that leaves is kept for a grace period, so that calls in
//! flight finish and a node that returns still has its connections. If an address leads to another node than
//! before, that node becomes a separate member: connections are never shared between two nodes.

use std::collections::HashMap;
use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::config::Address;

use crate::identity::Expected;

/// The nodes in use. `N` is the type that calls are sent to.
pub(super) struct Members<N> {
    make: Make<N>,
    expect: Expect<N>,
    known: HashMap<(Address, bool), Member<N>>,
    /// Nodes whose address leads to another node by now.
    former: Vec<Member<N>>,
}

/// Creates a node for an address; the second argument says whether it only reads.
type Make<N> = Box<dyn Fn(&Address, bool) -> N + Send>;

/// Restricts a node to connections to the expected server.
type Expect<N> = Box<dyn Fn(&N, &Expected) + Send>;

struct Member<N> {
    node: N,
    expected: Expected,
    /// When the tables stopped naming it.
    unused_since: Option<Instant>,
}

impl<N: Clone> Members<N> {
    /// Creates an empty set. `make` creates a node for an address, without restrictions; its second argument
    /// says whether the node only reads. `expect` restricts a node to the expected server.
    pub(super) fn new(
        make: impl Fn(&Address, bool) -> N + Send + 'static,
        expect: impl Fn(&N, &Expected) + Send + 'static,
    ) -> Self {
        Self {
            make: Box::new(make),
            expect: Box::new(expect),
            known: HashMap::new(),
            former: Vec::new(),
        }
    }

    /// Returns the node at `address`, and creates it if needed. It connects only to the `expected` server, or
    /// to the one expected before if that was more specific.
    pub(super) fn get(&mut self, address: &Address, reads_only: bool, expected: &Expected) -> N {
        let place = (address.clone(), reads_only);
        if let Some(member) = self.known.get_mut(&place) {
            if expected.is_stricter_than(&member.expected) {
                (self.expect)(&member.node, expected);
                member.expected = expected.clone();
            }
            if member.expected == *expected || member.expected.is_stricter_than(expected) {
                member.unused_since = None;
                return member.node.clone();
            }
        }
        let node = (self.make)(address, reads_only);
        (self.expect)(&node, expected);
        let member = Member {
            node: node.clone(),
            expected: expected.clone(),
            unused_since: None,
        };
        self.former.extend(self.known.insert(place, member));
        node
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &N> {
        self.known.values().chain(&self.former).map(|member| &member.node)
    }

    /// Marks the nodes that `is_used` rejects as unused.
    pub(super) fn keep(&mut self, is_used: impl Fn(&Address, bool) -> bool, now: Instant) {
        for ((address, reads_only), member) in &mut self.known {
            if is_used(address, *reads_only) {
                member.unused_since = None;
            } else {
                member.unused_since.get_or_insert(now);
            }
        }
        for member in &mut self.former {
            member.unused_since.get_or_insert(now);
        }
    }

    /// Removes and returns the nodes that have been unused for longer than `grace`.
    pub(super) fn take_unused(&mut self, grace: Duration, now: Instant) -> Vec<N> {
        let is_over = |member: &Member<N>| {
            member
                .unused_since
                .is_some_and(|since| now.saturating_duration_since(since) > grace)
        };
        let over = self.known.extract_if(|_, member| is_over(member));
        let mut over: Vec<_> = over.map(|(_, member)| member.node).collect();
        let former = self.former.extract_if(.., |member| is_over(member));
        over.extend(former.map(|member| member.node));
        over
    }

    /// Removes and returns all nodes.
    pub(super) fn take_all(&mut self) -> Vec<N> {
        let known = self.known.drain().map(|(_, member)| member);
        known
            .chain(self.former.drain(..))
            .map(|member| member.node)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use cache_core::clock;

    use super::*;

    fn members() -> Members<usize> {
        let made = Cell::new(0);
        Members::new(move |_, _| made.replace(made.get() + 1), |_, _| {})
    }

    #[test]
    fn node_is_reused_per_address_and_role() {
        let mut members = members();
        let address = Address::new("a", 1);
        let node = members.get(&address, false, &Expected::AnyServer);
        assert_eq!(members.get(&address, false, &Expected::AnyServer), node);
        assert_ne!(members.get(&address, true, &Expected::AnyServer), node);
    }

    #[test]
    fn new_node_at_an_address_is_a_separate_member() {
        let mut members = members();
        let address = Address::new("a", 1);
        let id = |text| Expected::Node(crate::identity::NodeId::new(text).unwrap());
        let seed = members.get(&address, false, &Expected::AnyServer);
        assert_eq!(members.get(&address, false, &Expected::Member), seed);
        assert_eq!(
            members.get(&address, false, &id("x")),
            seed,
            "who it is has become known"
        );
        assert_eq!(members.get(&address, false, &Expected::Member), seed);
        assert_eq!(members.get(&address, false, &Expected::AnyServer), seed);
        let other = members.get(&address, false, &id("y"));
        assert_ne!(other, seed);
        assert_eq!(members.get(&address, false, &Expected::Member), other);
        let start = clock::now();
        members.keep(|_, _| true, start);
        let late = start + Duration::from_secs(5);
        assert_eq!(members.take_unused(Duration::from_secs(4), late), [seed]);
    }

    #[test]
    fn node_that_left_is_dropped_after_grace_unless_it_returns() {
        let mut members = members();
        let (gone, back) = (Address::new("gone", 1), Address::new("back", 1));
        let (first, second) = (
            members.get(&gone, false, &Expected::AnyServer),
            members.get(&back, false, &Expected::AnyServer),
        );
        let start = clock::now();
        let grace = Duration::from_secs(4);
        members.keep(|_, _| false, start);
        members.keep(|_, _| false, start + grace);
        assert_eq!(members.take_unused(grace, start + grace), Vec::<usize>::new());
        assert_eq!(members.get(&back, false, &Expected::AnyServer), second);
        let late = start + grace + Duration::from_millis(1);
        assert_eq!(members.take_unused(grace, late), [first]);
        assert_eq!(members.take_unused(grace, late), Vec::<usize>::new());
        assert_ne!(
            members.get(&gone, false, &Expected::AnyServer),
            first,
            "what was given up is never handed out again"
        );
        assert_eq!(members.take_all().len(), 2);
    }
}
