//! The cluster as one of its nodes sees it. Nodes may disagree; comparing their views is the purpose of this module.

use std::ops::RangeInclusive;

use cache_core::CacheError;

use super::Member;
use crate::command::Command;
use crate::reply::Reply;

/// One node's summary of the cluster (`CLUSTER INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterState {
    /// Whether the cluster serves calls.
    pub ok: bool,
    /// Slots that have an owner.
    pub slots_assigned: u32,
    /// Slots whose owner this node alone considers failed (`PFAIL`).
    pub slots_suspected: u32,
    /// Slots whose owner has failed (`FAIL`).
    pub slots_failed: u32,
    /// Number of known nodes.
    pub nodes: u32,
    /// Primaries that serve slots.
    pub primaries: u32,
    /// The highest epoch it knows.
    pub epoch: u64,
}

/// One node as another one sees it (`CLUSTER NODES`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterNode {
    /// Its id.
    pub id: String,
    /// Its address, as the queried node knows it.
    pub address: String,
    /// Whether it is the queried node.
    pub is_itself: bool,
    /// Whether it is a primary.
    pub is_primary: bool,
    /// The id of the primary that it replicates.
    pub replicates: Option<String>,
    /// Whether all nodes, or the queried node alone, consider it failed.
    pub is_failing: bool,
    /// Whether the queried node is connected to it.
    pub is_linked: bool,
    /// The epoch of its slots.
    pub epoch: u64,
    /// The slots that it serves.
    pub slots: Vec<RangeInclusive<u16>>,
}

impl Member {
    /// Its summary of the cluster. `None` if the user may not ask, or the node is in no cluster.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn cluster_state(&self) -> Result<Option<ClusterState>, CacheError> {
        let reply = self.ask_about("INFO").await?;
        Ok(reply.as_ref().and_then(Reply::as_text).map(ClusterState::read))
    }

    /// All nodes of the cluster as this node sees them. `None` if the user may not ask, or the node is in no
    /// cluster.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn cluster_nodes(&self) -> Result<Option<Vec<ClusterNode>>, CacheError> {
        let reply = self.ask_about("NODES").await?;
        let text = reply.as_ref().and_then(Reply::as_text);
        Ok(text.map(|text| {
            let nodes = text.lines().filter_map(NodeLine::read);
            nodes.map(|node| ClusterNode::of(&node)).collect()
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

impl ClusterNode {
    fn of(node: &NodeLine<'_>) -> Self {
        Self {
            id: node.id.to_owned(),
            address: format!("{}:{}", node.host, node.port),
            is_itself: node.has("myself"),
            is_primary: node.has("master"),
            replicates: (node.replicates != "-").then(|| node.replicates.to_owned()),
            is_failing: node.has("fail") || node.has("fail?"),
            is_linked: node.link == "connected",
            epoch: node.epoch.parse().unwrap_or(0),
            slots: node.slots.iter().filter_map(|text| range(text)).collect(),
        }
    }
}

/// One line of `CLUSTER NODES`: `id host:port@bus,hostname flags primary ping pong epoch link slot...`.
pub(super) struct NodeLine<'a> {
    pub(super) id: &'a str,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) hostname: Option<&'a str>,
    flags: &'a str,
    /// The id of the primary that it replicates, or `-`.
    pub(super) replicates: &'a str,
    pub(super) epoch: &'a str,
    pub(super) link: &'a str,
    /// The slots that it serves.
    pub(super) slots: Vec<&'a str>,
    /// Migrating slots, which only the node itself reports: `[slot->-receiver]`.
    migrations: Vec<&'a str>,
}

impl<'a> NodeLine<'a> {
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (id, place, flags) = (words.next()?, words.next()?, words.next()?);
        let mut word = || words.next().unwrap_or_default();
        let (replicates, _ping, _pong, epoch, link) = (word(), word(), word(), word(), word());
        let (migrations, slots) = words.partition(|word| word.starts_with('['));
        let mut place = place.split(',');
        let (host, port) = place.next()?.rsplit_once(':')?;
        let port = port.split('@').next()?.parse().ok().filter(|port| *port != 0)?;
        Some(Self {
            id,
            host,
            port,
            hostname: place.next().filter(|name| !name.is_empty()),
            flags,
            replicates,
            epoch,
            link,
            slots,
            migrations,
        })
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.split(',').any(|own| own == flag)
    }

    pub(super) fn gives_to(&self, id: &str) -> bool {
        self.migrations.iter().any(|migration| {
            migration
                .trim_end_matches(']')
                .split_once("->-")
                .is_some_and(|(_, to)| to == id)
        })
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
    fn cluster_nodes_line_is_parsed_as_node() {
        let line = "aa 127.0.0.1:7001@17001,one.test master,fail? - 0 0 12 disconnected 0-5 7 [93->-dd]";
        let node = ClusterNode::of(&NodeLine::read(line).unwrap());
        assert_eq!(
            (node.id.as_str(), node.address.as_str()),
            ("aa", "127.0.0.1:7001")
        );
        assert!(node.is_primary && node.is_failing && !node.is_linked && !node.is_itself);
        assert_eq!((node.epoch, node.replicates), (12, None));
        assert_eq!(node.slots, [0..=5, 7..=7]);
        let replica = NodeLine::read("ff 127.0.0.1:7006@17006 myself,slave aa 0 0 1 connected").unwrap();
        let replica = ClusterNode::of(&replica);
        assert_eq!(replica.replicates.as_deref(), Some("aa"));
        assert!(replica.is_itself && replica.is_linked && !replica.is_failing);
    }

    #[test]
    fn cluster_info_lines_are_parsed_as_state() {
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
        fn arbitrary_line_yields_only_slots_it_contains(
            line in mangled("aa 127.0.0.1:7001@17001,one.test master,fail? - 0 0 12 connected 0-5 7 [93->-dd]"),
            state in mangled("cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_size:3\r\n"),
        ) {
            if let Some(node) = NodeLine::read(&line) {
                let node = ClusterNode::of(&node);
                let first = |range: &RangeInclusive<u16>| line.contains(&range.start().to_string());
                proptest::prop_assert!(node.slots.iter().all(first));
            }
            let _parsed = ClusterState::read(&state);
        }
    }
}
