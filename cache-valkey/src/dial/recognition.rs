//! Asks a new connection who answers there, before it is used: the kind of server, and the node of a cluster.
//!
//! A connection leads to the same server until it ends. So one look, when it is made, is enough.
//!
//! Not in here: what is right and what is wrong, see `identity.rs`.

use cache_core::CacheError;
use cache_core::config::Address;

use super::{Dialed, Dialer, Mode};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::identity::{Expected, Ids, NodeId, ServerKind, WrongServer};
use crate::reply::Reply;

impl Dialer {
    /// Gives a connection to `address` back if the server that answers there is the right one.
    pub(super) async fn recognise(
        &self,
        address: &Address,
        mut dialed: Dialed,
        expected: &Expected,
        deadline: Deadline,
    ) -> Result<Dialed, CacheError> {
        self.check_kind(address, dialed.greeting.kind, expected)?;
        if self.kind != ServerKind::Cluster {
            return Ok(dialed);
        }
        let my_id = Command::read("CLUSTER").arg("MYID");
        let own = dialed.connection.send(&my_id, deadline).await?;
        let own = own.as_text().and_then(NodeId::new);
        if !expected.is_met_by(own.as_ref(), &self.known_nodes()) {
            let slots = Command::read("CLUSTER").arg("SLOTS");
            let view = ids_in(&dialed.connection.send(&slots, deadline).await?);
            expected
                .check_view(own.as_ref(), view.as_ref(), &self.known_nodes())
                .map_err(|wrong| wrong.at(address))?;
        }
        dialed.greeting.id = own;
        Ok(dialed)
    }

    fn check_kind(
        &self,
        address: &Address,
        found: Option<ServerKind>,
        expected: &Expected,
    ) -> Result<(), CacheError> {
        let was_known = self.kind == ServerKind::Cluster && *expected != Expected::Anyone;
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

    /// Whether another address of the same name may lead to a better server than this one: a primary is wanted, and
    /// this is a replica.
    pub(super) fn is_second_best(&self, dialed: &Dialed, mode: Mode) -> bool {
        self.kind == ServerKind::Single && mode != Mode::Replica && dialed.greeting.replica
    }
}

/// The ids of the nodes in a reply to `CLUSTER SLOTS`; `None` if it is none.
pub(crate) fn ids_in(slots: &Reply) -> Option<Ids> {
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
    fn the_ids_of_all_nodes_are_read() {
        let text = |text: &str| Reply::Bulk(text.to_owned().into());
        let node = |id: &str| Reply::Array(vec![text("10.0.0.1"), Reply::Int(1), text(id)]);
        let old = Reply::Array(vec![text("10.0.0.1"), Reply::Int(1)]);
        let entry = Reply::Array(vec![Reply::Int(0), Reply::Int(9), node("p"), node("r"), old]);
        let found = ids_in(&Reply::Array(vec![entry, Reply::Nil]));
        let found: Vec<String> = found.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["p", "r"]);
        assert_eq!(ids_in(&Reply::Nil), None);
    }

    proptest::proptest! {
        #[test]
        fn any_reply_is_a_list_of_ids_or_none(reply in crate::reply::foreign::reply(&["id", "10.0.0.1"])) {
            let is_list = matches!(reply, Reply::Array(_));
            proptest::prop_assert_eq!(ids_in(&reply).is_some(), is_list);
        }
    }
}
