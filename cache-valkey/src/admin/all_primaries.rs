//! All primaries of a cluster, including those without slots, and the epoch of each.
//!
//! Calls are routed by `CLUSTER SLOTS`, which reports neither. A primary without slots has just joined or was
//! emptied, and may receive keys at any time.

use std::collections::BTreeMap;
use std::sync::Arc;

use cache_core::config::Address;
use futures::future::join_all;

use super::cluster_nodes::NodeLine;
use super::{Administration, Primary, TopologyView};
use crate::command::Command;
use crate::identity::{Expected, NodeId};
use crate::reply::Reply;

impl Administration {
    /// The primaries of `view`, and the primaries without slots that the others know of. A failed one is included
    /// only while a slot is being handed to it. Each primary that answers has its [epoch](Primary::epoch).
    ///
    /// Only the primaries of `view` if the user may not run `CLUSTER NODES`.
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
        let (mut slotless, mut epochs) = (BTreeMap::new(), BTreeMap::new());
        for (primary, reply) in asked.into_iter().flatten() {
            epochs.insert(primary.address.clone(), epoch(&reply));
            for (address, id) in read(&reply, &primary.address) {
                slotless.entry(address).or_insert((id, primary.kind));
            }
        }
        for primary in &mut primaries {
            primary.epoch = epochs.get(&primary.address).copied().flatten();
        }
        let slotless = slotless
            .into_iter()
            .filter(|(address, _)| view.nodes.iter().all(|node| node.address != *address))
            .map(|(address, (id, kind))| Primary {
                address,
                expected: Expected::node(id.as_ref()),
                slots: Vec::new(),
                // The slots that it receives are new to it anyway.
                epoch: None,
                // All nodes of a cluster are of one kind, except during an upgrade. The plain scan always works.
                kind: super::Kind {
                    by_slot: false,
                    ..kind
                },
                bound: None,
                pools: Arc::clone(&self.pools),
                timeout: self.timeout,
            });
        primaries.extend(slotless);
        primaries
    }
}

/// The epoch of the node that sent this reply to `CLUSTER NODES`.
fn epoch(reply: &Reply) -> Option<u64> {
    let mut nodes = reply.as_text()?.lines().filter_map(NodeLine::read);
    nodes.find(|node| node.has("myself"))?.epoch.parse().ok()
}

/// Reads the reply to `CLUSTER NODES` of the node at `asked`: the addresses and ids of primaries without slots.
fn read(reply: &Reply, asked: &Address) -> Vec<(Address, Option<NodeId>)> {
    let text = reply.as_text().unwrap_or_default();
    let nodes: Vec<NodeLine<'_>> = text.lines().filter_map(NodeLine::read).collect();
    // Host names are used only if the queried node has one itself.
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
            // A node that does not know its own address yet is reached where it was asked.
            let host = if host.is_empty() { &asked.host } else { host };
            (Address::new(host, node.port), NodeId::new(node.id))
        })
        .collect()
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

    fn slotless(asked: &Address) -> Vec<String> {
        let reply = Reply::Bulk(NODES.into());
        let slotless = read(&reply, asked);
        slotless.iter().map(|(address, _)| address.to_string()).collect()
    }

    #[test]
    fn slotless_primary_is_found_and_failed_one_only_if_it_receives() {
        assert_eq!(
            slotless(&Address::new("127.0.0.1", 7001)),
            ["127.0.0.1:7003", "127.0.0.1:7004"]
        );
    }

    #[test]
    fn slotless_primaries_use_host_names_if_queried_node_does() {
        assert_eq!(
            slotless(&Address::new("one.test", 7001)),
            ["three.test:7003", "four.test:7004"]
        );
    }

    #[test]
    fn invalid_reply_yields_no_primary() {
        assert!(read(&Reply::Nil, &Address::new("a", 1)).is_empty());
        assert_eq!(epoch(&Reply::Nil), None);
    }

    #[test]
    fn epoch_is_that_of_the_queried_node() {
        let second = NODES
            .replace("myself,", "")
            .replace("two.test master", "two.test myself,master");
        for (text, expected) in [(NODES, 1), (&second, 2)] {
            assert_eq!(epoch(&Reply::Bulk(text.to_owned().into())), Some(expected));
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_reply_yields_only_dialable_primaries(
            text in mangled(NODES),
            reply in reply(&["aa :7001@1 myself,master - 0 0 1 connected", "\n"]),
        ) {
            let asked = Address::new("one.test", 7001);
            for reply in [Reply::Bulk(text.into()), reply] {
                for (slotless, _) in read(&reply, &asked) {
                    proptest::prop_assert!(slotless.port != 0 && !slotless.host.is_empty());
                }
            }
        }
    }
}
