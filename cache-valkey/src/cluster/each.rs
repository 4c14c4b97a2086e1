//! Sends many commands with one result each, so that a failing node affects only its own commands.

use std::collections::HashMap;
use std::sync::Arc;

use cache_core::CacheError;
use cache_core::slot::slot_of;
use futures::future::{join, join_all};

use super::Cluster;
use super::batch::Group;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::node::Node;
use crate::reply::Reply;

/// Commands grouped by node, and the commands that have no node now.
struct Routed {
    groups: Vec<Group>,
    unrouted: Vec<usize>,
}

impl Cluster {
    /// Sends each command to the node that serves its key: one pipeline per node, all nodes in parallel.
    /// Returns a result for each, in order, refusals included.
    ///
    /// If no node serves a key, its command waits for one like a single command. No two commands may write
    /// the same key, because their order is not kept.
    pub(crate) async fn send_each(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        self.ensure_refreshing(deadline.started_at());
        let Routed { groups, unrouted } = self.route_each(commands);
        let sent = join_all(
            groups
                .iter()
                .map(|group| self.send_group(commands, group, deadline)),
        );
        let alone = join_all(
            unrouted
                .iter()
                .map(|position| Box::pin(self.send(&commands[*position], deadline, None))),
        );
        let (sent, alone) = join(sent, alone).await;
        let mut results = vec![Ok(Reply::Nil); commands.len()];
        for (group, part) in groups.iter().zip(sent) {
            for (position, result) in group.positions.iter().zip(part) {
                results[*position] = result;
            }
        }
        for (position, result) in unrouted.into_iter().zip(alone) {
            results[position] = result;
        }
        results
    }

    fn route_each(&self, commands: &[Command<'_>]) -> Routed {
        let table = self.table.load();
        let mut routed = Routed {
            groups: Vec::new(),
            unrouted: Vec::new(),
        };
        // By shard, so that the commands of one shard form one pipeline although its replicas take turns.
        let mut of_shard: HashMap<usize, Option<usize>> = HashMap::new();
        for (position, command) in commands.iter().enumerate() {
            let slot = command.routing_key().map_or(0, slot_of);
            let group = match table.shard(slot) {
                None => None,
                Some(shard) => *of_shard.entry(table.index(slot)).or_insert_with(|| {
                    let node = self.choose(shard, command.reads(), false).ok()?;
                    Some(routed.group_of(node))
                }),
            };
            match group {
                Some(group) => routed.groups[group].positions.push(position),
                None => routed.unrouted.push(position),
            }
        }
        routed
    }
}

impl Routed {
    /// The index of the group of `node`.
    fn group_of(&mut self, node: Arc<Node>) -> usize {
        let known = self
            .groups
            .iter()
            .position(|group| Arc::ptr_eq(&group.node, &node));
        known.unwrap_or_else(|| {
            let positions = Vec::new();
            self.groups.push(Group { node, positions });
            self.groups.len() - 1
        })
    }
}
