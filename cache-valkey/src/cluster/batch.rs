//! Many commands at once: one pipeline per node, all nodes in parallel, replies in the order asked for.
//!
//! What a node sends elsewhere, or loses, is sent again alone and the rest of its replies stays. One result per command
//! is in `each.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use cache_core::CacheError;
use cache_core::slot::slot_of;
use futures::future::{join_all, try_join_all};

use super::Cluster;
use super::journey::Setback;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::node::Node;
use crate::reply::Reply;

/// The commands for one node, by their places in the batch.
pub(super) struct Group {
    pub(super) node: Arc<Node>,
    pub(super) places: Vec<usize>,
}

/// A command of a group that has no result yet.
struct Stray<'a> {
    place: usize,
    command: &'a Command<'a>,
    first: Result<Reply, CacheError>,
}

impl Cluster {
    /// Sends commands, each to the node that serves its key: a pipeline per node, all at once; a reply for
    /// each, in order, refusals in their places.
    ///
    /// Commands of one key are carried out in their order. Those without a key go to one primary.
    ///
    /// Fails as a whole with the first command that has no reply; others may have been carried out.
    pub(crate) async fn send_batch(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        let groups = match self.split(commands) {
            Err(error) => {
                let attempt = || self.split(commands);
                Box::pin(self.once_surveyed(error, deadline, attempt)).await?
            }
            Ok(groups) => groups,
        };
        let all = |results: Vec<Result<Reply, CacheError>>| results.into_iter().collect();
        if let [only] = groups.as_slice() {
            return all(self.send_group(commands, only, deadline).await);
        }
        let parts: Vec<Vec<Reply>> = try_join_all(
            groups
                .iter()
                .map(|group| async { all(self.send_group(commands, group, deadline).await) }),
        )
        .await?;
        let mut replies = vec![Reply::Nil; commands.len()];
        for (group, part) in groups.iter().zip(parts) {
            for (place, reply) in group.places.iter().zip(part) {
                replies[*place] = reply;
            }
        }
        Ok(replies)
    }

    /// Groups commands by node in one pass; fails where one has no node, before anything is sent.
    fn split(&self, commands: &[Command<'_>]) -> Result<Vec<Group>, CacheError> {
        const NONE: usize = usize::MAX;
        let table = self.table.load();
        // Two places per shard: reads may go to another node than writes.
        let mut group_of = vec![NONE; table.shards().len() * 2];
        let mut groups: Vec<Group> = Vec::new();
        for (place, command) in commands.iter().enumerate() {
            let slot = command.routing_key().map_or(0, slot_of);
            let Some(shard) = table.shard(slot) else {
                return Err(self.nobody(Some(slot)));
            };
            let group = &mut group_of[table.index(slot) * 2 + usize::from(command.reads())];
            if *group == NONE {
                let node = self.choose(shard, command.reads(), false)?;
                *group = groups
                    .iter()
                    .position(|known| Arc::ptr_eq(&known.node, &node))
                    .unwrap_or(groups.len());
                if *group == groups.len() {
                    let places = Vec::with_capacity(commands.len() / table.shards().len() + 1);
                    groups.push(Group { node, places });
                }
            }
            groups[*group].places.push(place);
        }
        Ok(groups)
    }

    /// Sends the commands of one node; a result for each.
    pub(super) async fn send_group(
        &self,
        commands: &[Command<'_>],
        group: &Group,
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        let chosen: Vec<&Command<'_>> = group.places.iter().map(|place| &commands[*place]).collect();
        let node = &group.node;
        let mut results = node.send_each(&chosen, deadline).await;
        let is_stray = |result: &Result<Reply, CacheError>| match result {
            Ok(Reply::Error(refusal)) => Setback::of_refusal(refusal, node.address()).is_some(),
            Ok(_) => false,
            Err(_) => true,
        };
        if results.iter().any(is_stray) {
            let mut strays: HashMap<Option<&[u8]>, Vec<Stray<'_>>> = HashMap::new();
            for (place, result) in results
                .iter_mut()
                .enumerate()
                .filter(|(_, result)| is_stray(result))
            {
                let first = std::mem::replace(result, Ok(Reply::Nil));
                let command = chosen[place];
                let stray = Stray {
                    place,
                    command,
                    first,
                };
                strays.entry(command.routing_key()).or_default().push(stray);
            }
            let again = strays
                .into_values()
                .map(|strays| Box::pin(self.send_again(strays, node, deadline)));
            for (place, result) in join_all(again).await.into_iter().flatten() {
                results[place] = result;
            }
        }
        results
    }

    /// Sees commands of one key through, one after the other, so that the last write stays the last.
    async fn send_again(
        &self,
        strays: Vec<Stray<'_>>,
        node: &Arc<Node>,
        deadline: Deadline,
    ) -> Vec<(usize, Result<Reply, CacheError>)> {
        let mut results = Vec::with_capacity(strays.len());
        for stray in strays {
            let result = self
                .recover(stray.command, deadline, Arc::clone(node), stray.first)
                .await;
            results.push((stray.place, result));
        }
        results
    }
}
