//! Sends a batch: one pipeline per node, all nodes in parallel, replies in the order of the commands.
//!
//! Redirected and lost commands are repeated in `resend.rs`; other replies are kept. Not in here: batches
//! with a separate result per command, see `each.rs`.

use std::sync::Arc;

use cache_core::CacheError;
use cache_core::slot::slot_of;
use futures::future::try_join_all;

use super::Cluster;
use super::retry::Failure;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::node::Node;
use crate::reply::Reply;

/// The commands for one node, as positions in the batch.
pub(super) struct Group {
    pub(super) node: Arc<Node>,
    pub(super) positions: Vec<usize>,
}

impl Cluster {
    /// Sends each command to the node that serves its key: one pipeline per node, all nodes in parallel.
    /// Returns the replies in order, refusals included.
    ///
    /// Commands of one key keep their order. Commands without a key go to one primary.
    ///
    /// If a command gets no reply, the whole batch fails; other commands may have been applied.
    pub(crate) async fn send_batch(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        self.ensure_refreshing(deadline.started_at());
        let groups = match self.split(commands) {
            Err(error) => {
                let attempt = || self.split(commands);
                Box::pin(self.retry_after_discovery(error, deadline, attempt)).await?
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
            for (position, reply) in group.positions.iter().zip(part) {
                replies[*position] = reply;
            }
        }
        Ok(replies)
    }

    /// Groups commands by node in one pass. Fails before anything is sent if a command has no node.
    fn split(&self, commands: &[Command<'_>]) -> Result<Vec<Group>, CacheError> {
        const NONE: usize = usize::MAX;
        let table = self.table.load();
        // Two entries per shard, because reads and writes may go to different nodes.
        let mut group_of = vec![NONE; table.shards().len() * 2];
        let mut groups: Vec<Group> = Vec::new();
        for (position, command) in commands.iter().enumerate() {
            let slot = command.routing_key().map_or(0, slot_of);
            let Some(shard) = table.shard(slot) else {
                return Err(self.no_node_for(Some(slot)));
            };
            let group = &mut group_of[table.index(slot) * 2 + usize::from(command.reads())];
            if *group == NONE {
                let node = self.choose(shard, command.reads(), false)?;
                *group = groups
                    .iter()
                    .position(|known| Arc::ptr_eq(&known.node, &node))
                    .unwrap_or(groups.len());
                if *group == groups.len() {
                    let positions = Vec::with_capacity(commands.len() / table.shards().len() + 1);
                    groups.push(Group { node, positions });
                }
            }
            groups[*group].positions.push(position);
        }
        Ok(groups)
    }

    /// Sends the commands of one node. Returns a result for each.
    pub(super) async fn send_group(
        &self,
        commands: &[Command<'_>],
        group: &Group,
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        let chosen: Vec<&Command<'_>> = group
            .positions
            .iter()
            .map(|position| &commands[*position])
            .collect();
        let node = &group.node;
        let results = node.send_each(&chosen, deadline).await;
        let has_failed = |result: &Result<Reply, CacheError>| match result {
            Ok(Reply::Error(refusal)) => Failure::of_refusal(refusal, node.address()).is_some(),
            Ok(_) => false,
            Err(_) => true,
        };
        if !results.iter().any(has_failed) {
            return results;
        }
        let (mut results, failed) = self.split_failed(&chosen, results, node);
        for (position, result) in self.retry_failed(&chosen, failed, deadline).await {
            results[position] = result;
        }
        results
    }
}
