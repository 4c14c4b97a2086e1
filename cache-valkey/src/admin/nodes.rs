//! Every node, for work that must reach each of them. This includes replicas without reads, primaries without slots,
//! and unreachable nodes.

use cache_core::CacheError;
use cache_core::config::Address;

use super::cluster_nodes::NodeLine;
use super::{Administration, Member, NodeView, Role, TopologyView};
use crate::command::Command;
use crate::error::accept;
use crate::primary_discovery::read_role;
use crate::reply::Reply;

impl Administration {
    /// Every node, each for separate work: primaries, replicas, and nodes that cannot be reached now.
    ///
    /// # Errors
    ///
    /// As any call if no node answers, or the user may not ask for the nodes (`CLUSTER NODES` or `ROLE`).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn all_nodes(&self) -> Result<Vec<Member>, CacheError> {
        let mut view = self.topology().await?;
        let known = self.members_of(&view);
        // The first primary that answers knows the others.
        let mut failure = None;
        for source in known.iter().filter(|member| member.view().role == Role::Primary) {
            match nodes_known_by(source, &view).await {
                Ok(nodes) => {
                    let new = |node: &NodeView| view.nodes.iter().all(|known| known.address != node.address);
                    let new: Vec<_> = nodes.into_iter().filter(new).collect();
                    view.nodes.extend(new);
                    return Ok(self.members_of(&view));
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| CacheError::Unavailable {
            reason: cache_core::Unavailability::NotReady,
            detail: "there is no primary at present".into(),
            outcome: cache_core::Outcome::NotApplied,
            source: None,
        }))
    }
}

/// The nodes that `source` knows of.
async fn nodes_known_by(source: &Member, view: &TopologyView) -> Result<Vec<NodeView>, CacheError> {
    let own = source.view();
    let node = |id, address, role, reachable| NodeView {
        id,
        address,
        role,
        slots: Vec::new(),
        primary: None,
        server: own.server.clone(),
        version: own.version.clone(),
        reachable,
        trouble: None,
    };
    let (query, name) = if view.cluster {
        (Command::read("CLUSTER").arg("NODES"), "CLUSTER NODES")
    } else {
        (Command::read("ROLE"), "ROLE")
    };
    let mut replies = source.ask(&[&query]).await?.into_iter();
    let reply = accept(replies.next().unwrap_or(Reply::Nil), name)?;
    if !view.cluster {
        let replicas = read_role(&reply).into_iter();
        return Ok(replicas
            .map(|address| node(None, address, Role::Replica, true))
            .collect());
    }
    let text = reply.as_text().ok_or_else(|| reply.unexpected("text"))?;
    let nodes: Vec<NodeLine<'_>> = text.lines().filter_map(NodeLine::read).collect();
    let is_named = |line: &NodeLine<'_>| line.has("myself") && line.hostname == Some(&own.address.host);
    let named = nodes.iter().any(is_named);
    Ok(nodes
        .iter()
        .filter(|line| {
            !["handshake", "noaddr", "myself"]
                .iter()
                .any(|flag| line.has(flag))
        })
        .map(|line| {
            let host = line.hostname.filter(|_| named).unwrap_or(line.host);
            let role = if line.has("master") {
                Role::Primary
            } else {
                Role::Replica
            };
            let id = Some(line.id.to_owned());
            node(id, Address::new(host, line.port), role, !line.has("fail"))
        })
        .collect())
}
