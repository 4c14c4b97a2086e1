//! Many commands at once, each with a result: what goes wrong at one node concerns the commands of that node only.

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

/// Commands by the node that they go to, and those that have none at the moment.
struct Routed {
    groups: Vec<Group>,
    astray: Vec<usize>,
}

impl Cluster {
    /// Sends commands, each to the node that serves its key: a pipeline per node, all at once. A result for each, in
    /// order, refusals in their places.
    ///
    /// The command of a key that no node serves waits for one as a single command does. No two commands may write the
    /// same key: their order is not kept.
    pub(crate) async fn send_each(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        let Routed { groups, astray } = self.route_each(commands);
        let sent = join_all(
            groups
                .iter()
                .map(|group| self.send_group(commands, group, deadline)),
        );
        let alone = join_all(
            astray
                .iter()
                .map(|place| Box::pin(self.send(&commands[*place], deadline, None))),
        );
        let (sent, alone) = join(sent, alone).await;
        let mut results = vec![Ok(Reply::Nil); commands.len()];
        for (group, part) in groups.iter().zip(sent) {
            for (place, result) in group.places.iter().zip(part) {
                results[*place] = result;
            }
        }
        for (place, result) in astray.into_iter().zip(alone) {
            results[place] = result;
        }
        results
    }

    fn route_each(&self, commands: &[Command<'_>]) -> Routed {
        let table = self.table.load();
        let mut routed = Routed {
            groups: Vec::new(),
            astray: Vec::new(),
        };
        // By shard, so that the commands of one shard are one pipeline although its replicas take turns.
        let mut of_shard: HashMap<usize, Option<usize>> = HashMap::new();
        for (place, command) in commands.iter().enumerate() {
            let slot = command.routing_key().map_or(0, slot_of);
            let group = match table.shard(slot) {
                None => None,
                Some(shard) => *of_shard.entry(table.index(slot)).or_insert_with(|| {
                    let node = self.choose(shard, command.reads(), false).ok()?;
                    Some(routed.group_of(node))
                }),
            };
            match group {
                Some(group) => routed.groups[group].places.push(place),
                None => routed.astray.push(place),
            }
        }
        routed
    }
}

impl Routed {
    /// The number of the group of `node`.
    fn group_of(&mut self, node: Arc<Node>) -> usize {
        let known = self
            .groups
            .iter()
            .position(|group| Arc::ptr_eq(&group.node, &node));
        known.unwrap_or_else(|| {
            let places = Vec::new();
            self.groups.push(Group { node, places });
            self.groups.len() - 1
        })
    }
}
