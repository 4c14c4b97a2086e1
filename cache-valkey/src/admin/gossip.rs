//! The cluster, as one of its nodes sees it. What all of them together see may differ: that is what this is for.

use std::ops::RangeInclusive;

use cache_core::CacheError;

use super::Member;
use super::spare::Node;
use crate::command::Command;
use crate::reply::Reply;

/// What one node says of the cluster (`CLUSTER INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterState {
    /// Whether it serves.
    pub ok: bool,
    /// Slots that have an owner.
    pub slots_assigned: u32,
    /// Slots whose owner is held for dead by this node alone.
    pub slots_suspected: u32,
    /// Slots whose owner is dead.
    pub slots_failed: u32,
    /// Nodes that it knows of.
    pub nodes: u32,
    /// Primaries that serve slots.
    pub primaries: u32,
    /// The greatest epoch that it has heard of.
    pub epoch: u64,
}

/// One node, as another one sees it (`CLUSTER NODES`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Neighbour {
    /// Its id.
    pub id: String,
    /// Where it is, as the node that was asked knows it.
    pub address: String,
    /// Whether it is the node that was asked.
    pub is_itself: bool,
    /// Whether it is a primary.
    pub is_primary: bool,
    /// The id of the primary that it copies.
    pub copies: Option<String>,
    /// Whether it is held for dead, be it by all or by this node alone.
    pub is_failing: bool,
    /// Whether the node that was asked is connected to it.
    pub is_linked: bool,
    /// The epoch of its slots.
    pub epoch: u64,
    /// The slots that it serves.
    pub slots: Vec<RangeInclusive<u16>>,
}

impl Member {
    /// What it says of the cluster; `None` where the user may not ask, or it is in none.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub async fn cluster_state(&self) -> Result<Option<ClusterState>, CacheError> {
        let reply = self.ask_about("INFO").await?;
        Ok(reply.as_ref().and_then(Reply::as_text).map(ClusterState::read))
    }

    /// Who is in the cluster, as it sees it; `None` where the user may not ask, or it is in none.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub async fn neighbours(&self) -> Result<Option<Vec<Neighbour>>, CacheError> {
        let reply = self.ask_about("NODES").await?;
        let text = reply.as_ref().and_then(Reply::as_text);
        Ok(text.map(|text| {
            let nodes = text.lines().filter_map(Node::read);
            nodes.map(|node| Neighbour::of(&node)).collect()
        }))
    }

    async fn ask_about(&self, what: &'static str) -> Result<Option<Reply>, CacheError> {
        match self.ask_if_allowed(&Command::read("CLUSTER").arg(what)).await {
            Err(CacheError::Rejected { detail, .. }) if detail.contains("cluster support") => Ok(None),
            reply => reply,
        }
    }
}

impl ClusterState {
    fn read(text: &str) -> Self {
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(own, _)| *own == name).map(|(_, value)| value.trim())
        };
        let number = |name: &str| field(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        Self {
            ok: field("cluster_state") == Some("ok"),
            slots_assigned: number("cluster_slots_assigned"),
            slots_suspected: number("cluster_slots_pfail"),
            slots_failed: number("cluster_slots_fail"),
            nodes: number("cluster_known_nodes"),
            primaries: number("cluster_size"),
            epoch: field("cluster_current_epoch")
                .and_then(|value| value.parse().ok())
                .unwrap_or(0),
        }
    }
}

impl Neighbour {
    fn of(node: &Node<'_>) -> Self {
        Self {
            id: node.id.to_owned(),
            address: format!("{}:{}", node.host, node.port),
            is_itself: node.has("myself"),
            is_primary: node.has("master"),
            copies: (node.follows != "-").then(|| node.follows.to_owned()),
            is_failing: node.has("fail") || node.has("fail?"),
            is_linked: node.link == "connected",
            epoch: node.epoch.parse().unwrap_or(0),
            slots: node.slots.iter().filter_map(|text| range(text)).collect(),
        }
    }
}

/// `5` or `5-9`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use crate::reply::foreign::mangled;

    use super::*;

    #[test]
    fn a_line_becomes_a_neighbour() {
        let line = "aa 127.0.0.1:7001@17001,one.test master,fail? - 0 0 12 disconnected 0-5 7 [93->-dd]";
        let node = Neighbour::of(&Node::read(line).unwrap());
        assert_eq!(
            (node.id.as_str(), node.address.as_str()),
            ("aa", "127.0.0.1:7001")
        );
        assert!(node.is_primary && node.is_failing && !node.is_linked && !node.is_itself);
        assert_eq!((node.epoch, node.copies), (12, None));
        assert_eq!(node.slots, [0..=5, 7..=7]);
        let replica = Node::read("ff 127.0.0.1:7006@17006 myself,slave aa 0 0 1 connected").unwrap();
        let replica = Neighbour::of(&replica);
        assert_eq!(replica.copies.as_deref(), Some("aa"));
        assert!(replica.is_itself && replica.is_linked && !replica.is_failing);
    }

    #[test]
    fn the_state_is_read_from_its_lines() {
        let state = ClusterState::read(
            "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_fail:5\r\n\
             cluster_known_nodes:6\r\ncluster_size:3\r\ncluster_current_epoch:7\r\n",
        );
        assert!(state.ok);
        assert_eq!((state.slots_assigned, state.slots_failed), (16_384, 5));
        assert_eq!((state.nodes, state.primaries, state.epoch), (6, 3, 7));
        assert!(!ClusterState::read("").ok);
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_in_a_line_no_slot_of_it_is_made_up(
            line in mangled("aa 127.0.0.1:7001@17001,one.test master,fail? - 0 0 12 connected 0-5 7 [93->-dd]"),
            state in mangled("cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_size:3\r\n"),
        ) {
            if let Some(node) = Node::read(&line) {
                let neighbour = Neighbour::of(&node);
                let first = |range: &RangeInclusive<u16>| line.contains(&range.start().to_string());
                proptest::prop_assert!(neighbour.slots.iter().all(first));
            }
            let _whatever = ClusterState::read(&state);
        }
    }
}
