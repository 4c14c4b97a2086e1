//! The nodes of a cluster that are in use, one for each address and role, over all changes of topology.
//!
//! A node that stays keeps its connections; one that leaves is kept for a grace, so that calls in flight
//! finish and a node that comes back finds its connections.

use std::collections::HashMap;
use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::config::Address;

/// The nodes in use. `N` is what a call is sent to.
pub(super) struct Members<N> {
    make: Make<N>,
    known: HashMap<(Address, bool), Member<N>>,
}

/// Makes a node for an address, told whether it only reads.
type Make<N> = Box<dyn Fn(&Address, bool) -> N + Send>;

struct Member<N> {
    node: N,
    /// Since when no table names it.
    unused_since: Option<Instant>,
}

impl<N: Clone> Members<N> {
    /// No nodes; `make` makes one for an address, and is told whether it only reads.
    pub(super) fn new(make: impl Fn(&Address, bool) -> N + Send + 'static) -> Self {
        Self {
            make: Box::new(make),
            known: HashMap::new(),
        }
    }

    /// The node at `address`, made where it is not there yet.
    pub(super) fn get(&mut self, address: &Address, reads_only: bool) -> N {
        if let Some(member) = self.known.get_mut(&(address.clone(), reads_only)) {
            member.unused_since = None;
            return member.node.clone();
        }
        let node = (self.make)(address, reads_only);
        let member = Member {
            node: node.clone(),
            unused_since: None,
        };
        self.known.insert((address.clone(), reads_only), member);
        node
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &N> {
        self.known.values().map(|member| &member.node)
    }

    /// Notes that from now on only what `is_used` says is used.
    pub(super) fn keep(&mut self, is_used: impl Fn(&Address, bool) -> bool, now: Instant) {
        for ((address, reads_only), member) in &mut self.known {
            if is_used(address, *reads_only) {
                member.unused_since = None;
            } else {
                member.unused_since.get_or_insert(now);
            }
        }
    }

    /// Takes out the nodes that have been unused for longer than `grace`.
    pub(super) fn take_unused(&mut self, grace: Duration, now: Instant) -> Vec<N> {
        let is_over = |member: &Member<N>| {
            member
                .unused_since
                .is_some_and(|since| now.saturating_duration_since(since) > grace)
        };
        let over = self.known.extract_if(|_, member| is_over(member));
        over.map(|(_, member)| member.node).collect()
    }

    /// Takes out all of them.
    pub(super) fn take_all(&mut self) -> Vec<N> {
        self.known.drain().map(|(_, member)| member.node).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use cache_core::clock;

    use super::*;

    fn members() -> Members<usize> {
        let made = Cell::new(0);
        Members::new(move |_, _| made.replace(made.get() + 1))
    }

    #[test]
    fn a_node_that_stays_is_the_same_one_and_a_role_is_a_node_of_its_own() {
        let mut members = members();
        let address = Address::new("a", 1);
        let node = members.get(&address, false);
        assert_eq!(members.get(&address, false), node);
        assert_ne!(members.get(&address, true), node);
    }

    #[test]
    fn a_node_that_left_is_given_up_after_the_grace_unless_it_came_back() {
        let mut members = members();
        let (gone, back) = (Address::new("gone", 1), Address::new("back", 1));
        let (first, second) = (members.get(&gone, false), members.get(&back, false));
        let start = clock::now();
        let grace = Duration::from_secs(4);
        members.keep(|_, _| false, start);
        members.keep(|_, _| false, start + grace);
        assert_eq!(members.take_unused(grace, start + grace), Vec::<usize>::new());
        assert_eq!(members.get(&back, false), second);
        let late = start + grace + Duration::from_millis(1);
        assert_eq!(members.take_unused(grace, late), [first]);
        assert_eq!(members.take_unused(grace, late), Vec::<usize>::new());
        assert_ne!(
            members.get(&gone, false),
            first,
            "what was given up is never handed out again"
        );
        assert_eq!(members.take_all().len(), 2);
    }
}
