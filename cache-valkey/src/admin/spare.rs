//! What `CLUSTER SLOTS`, by which calls are routed, does not say of primaries: who serves no slot (one that has
//! just joined, or was emptied, may be handed keys all the same), and the epoch of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use cache_core::config::Address;
use futures::future::join_all;

use super::{Administration, Primary, TopologyView};
use crate::command::Command;
use crate::identity::{Expected, NodeId};
use crate::reply::Reply;

impl Administration {
    /// The primaries of `view`, and those of the cluster that serve no slot, as the others know them. One that the
    /// cluster holds for dead is among these only where a slot is being handed to it. Each primary that answers
    /// has its [epoch](Primary::epoch).
    ///
    /// Just the primaries of `view` where the user may not ask (`CLUSTER NODES`).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn all_primaries(&self, view: &TopologyView) -> Vec<Primary> {
        let mut primaries = self.primaries_of(view);
        if !view.cluster {
            return primaries;
        }
        let nodes = &Command::read("CLUSTER").arg("NODES");
        let asked = join_all(primaries.iter().map(|primary| async move {
            let replies = primary.ask(&[nodes]).await.ok()?;
            replies.into_iter().next().map(|reply| (primary, reply))
        }))
        .await;
        let (mut spare, mut epochs) = (BTreeMap::new(), BTreeMap::new());
        for (primary, reply) in asked.into_iter().flatten() {
            epochs.insert(primary.address.clone(), epoch(&reply));
            for (address, id) in read(&reply, &primary.address) {
                spare.entry(address).or_insert((id, primary.kind));
            }
        }
        for primary in &mut primaries {
            primary.epoch = epochs.get(&primary.address).copied().flatten();
        }
        let spare = spare
            .into_iter()
            .filter(|(address, _)| view.nodes.iter().all(|node| node.address != *address))
            .map(|(address, (id, kind))| Primary {
                address,
                expected: Expected::node(id.as_ref()),
                slots: Vec::new(),
                // Slots that it gets are new to it anyway.
                epoch: None,
                // A cluster is of one kind, but for the hours in which it is upgraded: the plain way always works.
                kind: super::Kind {
                    by_slot: false,
                    ..kind
                },
                bound: None,
                pools: Arc::clone(&self.pools),
                timeout: self.timeout,
            });
        primaries.extend(spare);
        primaries
    }
}

/// The epoch of the node itself that gave this answer to `CLUSTER NODES`.
fn epoch(reply: &Reply) -> Option<u64> {
    let mut nodes = reply.as_text()?.lines().filter_map(Node::read);
    nodes.find(|node| node.has("myself"))?.epoch.parse().ok()
}

/// Reads what the node at `asked` answered to `CLUSTER NODES`: where primaries without slots are, and their ids.
fn read(reply: &Reply, asked: &Address) -> Vec<(Address, Option<NodeId>)> {
    let text = reply.as_text().unwrap_or_default();
    let nodes: Vec<Node<'_>> = text.lines().filter_map(Node::read).collect();
    // The one that answers has to be known by name for the others to be.
    let named = nodes
        .iter()
        .any(|node| node.has("myself") && node.hostname == Some(&asked.host));
    let receives = |id: &str| nodes.iter().any(|node| node.gives_to(id));
    nodes
        .iter()
        .filter(|node| node.has("master") && node.slots.is_empty())
        .filter(|node| !["handshake", "noaddr"].iter().any(|flag| node.has(flag)))
        .filter(|node| !node.has("fail") || receives(node.id))
        .map(|node| {
            let host = node.hostname.filter(|_| named).unwrap_or(node.host);
            // A node that does not know its own address yet is where it was asked.
            let host = if host.is_empty() { &asked.host } else { host };
            (Address::new(host, node.port), NodeId::new(node.id))
        })
        .collect()
}

/// One line: `id host:port@bus,hostname flags primary ping pong epoch link slot...`.
pub(super) struct Node<'a> {
    pub(super) id: &'a str,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) hostname: Option<&'a str>,
    flags: &'a str,
    /// The id of the primary that it copies, or `-`.
    pub(super) follows: &'a str,
    pub(super) epoch: &'a str,
    pub(super) link: &'a str,
    /// Slots that it serves.
    pub(super) slots: Vec<&'a str>,
    /// Slots on the move, which only the node itself tells: `[slot->-receiver]`.
    marks: Vec<&'a str>,
}

impl<'a> Node<'a> {
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (id, place, flags) = (words.next()?, words.next()?, words.next()?);
        let mut word = || words.next().unwrap_or_default();
        let (follows, _ping, _pong, epoch, link) = (word(), word(), word(), word(), word());
        let (marks, slots) = words.partition(|word| word.starts_with('['));
        let mut place = place.split(',');
        let (host, port) = place.next()?.rsplit_once(':')?;
        let port = port.split('@').next()?.parse().ok().filter(|port| *port != 0)?;
        Some(Self {
            id,
            host,
            port,
            hostname: place.next().filter(|name| !name.is_empty()),
            flags,
            follows,
            epoch,
            link,
            slots,
            marks,
        })
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.split(',').any(|own| own == flag)
    }

    fn gives_to(&self, id: &str) -> bool {
        self.marks.iter().any(|mark| {
            mark.trim_end_matches(']')
                .split_once("->-")
                .is_some_and(|(_, to)| to == id)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::reply::foreign::{mangled, reply};

    use super::*;

    const NODES: &str = "\
aa 127.0.0.1:7001@17001,one.test myself,master - 0 0 1 connected 0-5460 [93->-dd]
bb 127.0.0.1:7002@17002,two.test master - 0 0 2 connected 5461-16383
cc 127.0.0.1:7003@17003,three.test master - 0 0 0 connected
dd 127.0.0.1:7004@17004,four.test master,fail - 0 0 0 disconnected
ee 127.0.0.1:7005@17005,five.test master,fail - 0 0 0 disconnected
ff 127.0.0.1:7006@17006,six.test slave aa 0 0 1 connected
gg :0@0 master,noaddr - 0 0 0 disconnected
hh 127.0.0.1:7008@17008 handshake - 0 0 0 connected
";

    fn spare(asked: &Address) -> Vec<String> {
        let reply = Reply::Bulk(NODES.into());
        let spare = read(&reply, asked);
        spare.iter().map(|(address, _)| address.to_string()).collect()
    }

    #[test]
    fn primaries_without_slots_are_found_and_dead_ones_only_where_they_receive() {
        assert_eq!(
            spare(&Address::new("127.0.0.1", 7001)),
            ["127.0.0.1:7003", "127.0.0.1:7004"]
        );
    }

    #[test]
    fn they_are_named_as_the_one_that_was_asked() {
        assert_eq!(
            spare(&Address::new("one.test", 7001)),
            ["three.test:7003", "four.test:7004"]
        );
    }

    #[test]
    fn what_is_no_answer_names_nobody() {
        assert!(read(&Reply::Nil, &Address::new("a", 1)).is_empty());
        assert_eq!(epoch(&Reply::Nil), None);
    }

    #[test]
    fn the_epoch_is_that_of_the_node_that_was_asked() {
        let second = NODES
            .replace("myself,", "")
            .replace("two.test master", "two.test myself,master");
        for (text, expected) in [(NODES, 1), (&second, 2)] {
            assert_eq!(epoch(&Reply::Bulk(text.to_owned().into())), Some(expected));
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_node_says_of_its_cluster_who_is_spare_can_be_dialled(
            text in mangled(NODES),
            reply in reply(&["aa :7001@1 myself,master - 0 0 1 connected", "\n"]),
        ) {
            let asked = Address::new("one.test", 7001);
            for reply in [Reply::Bulk(text.into()), reply] {
                for (spare, _) in read(&reply, &asked) {
                    proptest::prop_assert!(spare.port != 0 && !spare.host.is_empty());
                }
            }
        }
    }
}
