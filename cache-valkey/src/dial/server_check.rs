//! Checks which server answers on a new connection before it is used: the kind of server, and the node of a
//! cluster.
//!
//! A connection leads to the same server until it ends, so one check is enough.
//!
//! Not in here: which server is the right one, see `identity.rs`.

use cache_core::CacheError;
use cache_core::config::Address;

use super::{Dialed, Dialer, Mode};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::identity::{Expected, Ids, NodeId, ServerKind, WrongServer};
use crate::reply::Reply;

impl Dialer {
    /// Returns the connection to `address` if the right server answers there.
    pub(super) async fn check_server(
        &self,
        address: &Address,
        mut dialed: Dialed,
        expected: &Expected,
        deadline: Deadline,
    ) -> Result<Dialed, CacheError> {
        self.check_kind(address, dialed.server_hello.kind, expected)?;
        if self.kind != ServerKind::Cluster {
            return Ok(dialed);
        }
        let my_id = Command::read("CLUSTER").arg("MYID");
        let own = dialed.connection.send(&my_id, deadline).await?;
        let own = own.as_text().and_then(NodeId::new);
        if expected.is_met_by(own.as_ref(), &self.known_nodes()) {
            dialed.server_hello.id = own;
            return Ok(dialed);
        }
        // A node without slots is missing in `CLUSTER SLOTS`. `CLUSTER NODES` has it, if the user may run
        // that.
        let questions = ["SLOTS", "NODES"].map(|what| Command::read("CLUSTER").arg(what));
        let replies = dialed
            .connection
            .send_batch(&questions.each_ref(), deadline)
            .await?;
        let view = view_in(&replies);
        expected
            .check_view(own.as_ref(), view.as_ref(), &self.known_nodes())
            .map_err(|wrong| wrong.at(address))?;
        // An id that a proxy made up means nothing.
        dialed.server_hello.id = own.filter(|_| *expected == Expected::Member);
        Ok(dialed)
    }

    fn check_kind(
        &self,
        address: &Address,
        found: Option<ServerKind>,
        expected: &Expected,
    ) -> Result<(), CacheError> {
        let was_known = self.kind == ServerKind::Cluster && *expected != Expected::AnyServer;
        match found {
            Some(found) if found != self.kind && !was_known => Err(found.instead_of(self.kind, address)),
            Some(found) if found != self.kind => Err(WrongServer {
                found: found.to_string(),
                expected: "the node that is known to be there".to_owned(),
            }
            .at(address)),
            _ => Ok(()),
        }
    }

    /// Whether another address of the same name may lead to a better server: a primary is wanted and this is
    /// a replica.
    pub(super) fn is_second_best(&self, dialed: &Dialed, mode: Mode) -> bool {
        self.kind == ServerKind::Single && mode != Mode::Replica && dialed.server_hello.replica
    }
}

/// The ids of all nodes in the replies to `CLUSTER SLOTS` and `CLUSTER NODES`; `None` if the first is not a
/// slot list.
fn view_in(replies: &[Reply]) -> Option<Ids> {
    let mut view = ids_in(replies.first()?)?;
    let nodes = replies.get(1).and_then(Reply::as_text).unwrap_or_default();
    let ids = nodes.lines().filter_map(|line| line.split(' ').next());
    view.extend(ids.filter_map(NodeId::new));
    Some(view)
}

/// The ids of the nodes in a reply to `CLUSTER SLOTS`; `None` if it is not a slot list.
fn ids_in(slots: &Reply) -> Option<Ids> {
    let Reply::Array(entries) = slots else {
        return None;
    };
    let nodes = entries.iter().filter_map(|entry| match entry {
        Reply::Array(parts) => parts.get(2..),
        _ => None,
    });
    Some(nodes.flatten().filter_map(id_of).collect())
}

/// The id of a node in `CLUSTER SLOTS`: `[host, port, id, metadata]`.
pub(crate) fn id_of(node: &Reply) -> Option<NodeId> {
    match node {
        Reply::Array(parts) => parts.get(2).and_then(Reply::as_text).and_then(NodeId::new),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_all_nodes_are_read() {
        let text = |text: &str| Reply::Bulk(text.to_owned().into());
        let node = |id: &str| Reply::Array(vec![text("10.0.0.1"), Reply::Int(1), text(id)]);
        let old = Reply::Array(vec![text("10.0.0.1"), Reply::Int(1)]);
        let entry = Reply::Array(vec![Reply::Int(0), Reply::Int(9), node("p"), node("r"), old]);
        let found = ids_in(&Reply::Array(vec![entry, Reply::Nil]));
        let found: Vec<String> = found.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["p", "r"]);
        assert_eq!(ids_in(&Reply::Nil), None);
    }

    #[test]
    fn node_without_slots_is_part_of_the_view() {
        let nodes =
            "aa 10.0.0.1:1@2 master - 0 0 1 connected 0-9\nbb 10.0.0.2:1@2 myself,master - 0 0 2 connected\n";
        let slots = Reply::Array(Vec::new());
        let view = view_in(&[slots.clone(), Reply::Bulk(nodes.into())]).unwrap();
        assert_eq!(view.len(), 2);
        assert!(view_in(&[slots, Reply::Nil]).unwrap().is_empty());
        assert_eq!(view_in(&[Reply::Nil, Reply::Bulk(nodes.into())]), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_reply_yields_ids_or_none(reply in crate::reply::foreign::reply(&["id", "10.0.0.1"])) {
            let is_list = matches!(reply, Reply::Array(_));
            proptest::prop_assert_eq!(ids_in(&reply).is_some(), is_list);
        }
    }
}
