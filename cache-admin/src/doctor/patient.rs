//! What the checks share: a client, the nodes, and what each of them told of itself.

use cache_core::config::{OnError, Startup, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_core::{CacheClient as _, CacheConfig, CacheError, Outcome, Unavailability};
use cache_stack::{Foundation, Stack};
use cache_valkey::admin::{Member, NodeInfo, Role, TopologyView};
use futures::future::join_all;

use super::Doctor;
use crate::overview::NodeOverview;

/// How many names are tried to find a key of one primary.
const NAMES: u32 = 100_000;

/// The servers, once a client could be made of them.
#[derive(Debug)]
pub(super) struct Patient {
    /// As it was given, for further clients.
    pub(super) config: CacheConfig,
    /// What its keys begin with, after the prefix of the configuration.
    prefix: String,
    pub(super) stack: Stack,
    pub(super) view: TopologyView,
    pub(super) nodes: Vec<Node>,
}

/// One node, and what it told.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) member: Member,
    /// `None` where the user may not ask.
    pub(super) vitals: Result<Option<NodeInfo>, CacheError>,
    /// The same as the overview has it.
    pub(super) overview: NodeOverview,
}

impl Patient {
    /// Connects, and asks who is there.
    pub(super) async fn admit(doctor: &Doctor, valkey: &ValkeyConfig) -> Result<Self, CacheError> {
        let connecting = async {
            let mut config = doctor.config.clone();
            // One dead node is no reason to look at none.
            config.startup = Startup::Degrade;
            config.on_error = OnError::Fail;
            config.near = None;
            let stack = Box::pin(cache_stack::assemble(&config)).await?;
            let Foundation::Valkey(client) = &stack.foundation else {
                return Err(CacheError::Unsupported {
                    detail: "this backend has no servers".into(),
                });
            };
            let administration = client.administration();
            let view = administration.topology().await?;
            let members = administration.members_of(&view);
            let nodes = join_all(members.into_iter().map(Node::of)).await;
            Ok((stack, view, nodes))
        };
        // A dial, a survey, a question: each has a limit of its own, and this is one for all of them.
        let limit = doctor.deadline.max(valkey.dial_timeout) * 2;
        let connected = tokio::time::timeout(limit, connecting).await;
        let (stack, view, mut nodes) = connected.unwrap_or_else(|_| {
            Err(CacheError::Unavailable {
                reason: Unavailability::Connect,
                detail: format!("no answer within {}", humantime::format_duration(limit)).into(),
                outcome: Outcome::NotApplied,
                source: None,
            })
        })?;
        crate::overview::compare(nodes.iter_mut().map(|node| &mut node.overview));
        Ok(Self {
            config: doctor.config.clone(),
            prefix: doctor.prefix.clone(),
            stack,
            view,
            nodes,
        })
    }

    pub(super) async fn discharge(&self) {
        // It is not needed any more, however it goes.
        let _ = self.stack.client.close().await;
    }

    /// The primaries that answer.
    pub(super) fn primaries(&self) -> impl Iterator<Item = &Node> {
        self.of_role(Role::Primary).filter(|node| node.answers())
    }

    pub(super) fn of_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(move |node| node.member.view().role == role)
    }

    /// The nodes that answer.
    pub(super) fn answering(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.answers())
    }

    /// A key that certainly does not exist, as the client's callers name it.
    pub(super) fn fresh_key(&self) -> String {
        format!("{}{:032x}", self.prefix, rand::random::<u128>())
    }

    /// The same as the servers know it.
    pub(super) fn at_servers(&self, key: &str) -> String {
        format!("{}{key}", self.stack.key_prefix())
    }

    /// As [`fresh_key`](Self::fresh_key), of a slot that `node` serves; `None` where it serves none, or the prefix
    /// pins another one.
    pub(super) fn key_of(&self, node: &Node) -> Option<String> {
        let slots = &node.member.view().slots;
        if !self.view.cluster {
            return Some(self.fresh_key());
        }
        let serves = |key: &str| {
            let slot = slot_of(self.at_servers(key).as_bytes());
            slots.iter().any(|range| range.contains(&slot))
        };
        let tries = if slots.is_empty() { 0 } else { NAMES };
        (0..tries).map(|_| self.fresh_key()).find(|key| serves(key))
    }
}

impl Node {
    async fn of(member: Member) -> Self {
        let vitals = member.info().await;
        let told = vitals.clone().ok().flatten();
        Self {
            overview: NodeOverview::of(&member, told, vitals.is_ok()),
            member,
            vitals,
        }
    }

    pub(super) fn answers(&self) -> bool {
        self.vitals.is_ok()
    }

    pub(super) fn address(&self) -> &str {
        &self.overview.address
    }
}
