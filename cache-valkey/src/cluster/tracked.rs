//! Sends tracked reads: always to the primary, as one pipeline.

use std::collections::HashMap;
use std::sync::Arc;

use cache_core::CacheError;
use cache_core::config::ReadFrom;
use cache_core::slot::slot_of;

use super::Cluster;
use super::recover::final_result;
use super::retry::{Failure, RetryState, Step};
use crate::command::{Command, Effect};
use crate::deadline::Deadline;
use crate::node::Node;
use crate::reply::Reply;
use crate::tracking::Answers;

impl Cluster {
    /// Sends reads of one key as one pipeline to the primary of its slot, so that a change of the key is
    /// reported. A redirected pipeline is sent again as a whole.
    ///
    /// A read that followed `ASK` is not tracked, because the slot has two owners then.
    pub(crate) async fn send_tracked(
        &self,
        reads: &[Command<'_>],
        deadline: Deadline,
    ) -> Result<Answers, CacheError> {
        self.ensure_refreshing(deadline.started_at());
        let reads: Vec<_> = reads.iter().collect();
        let key = reads
            .iter()
            .find_map(|read| read.routing_key())
            .unwrap_or_default();
        let slot = slot_of(key);
        let mut retry = RetryState::new(Effect::Read, false, self.max_retries);
        let mut node = self.owner(key).ok_or_else(|| self.no_node_for(Some(slot)))?;
        let mut result = node.send_tracked(&reads, deadline).await;
        loop {
            let failure = match &result {
                Ok(answers) => match failure_in(answers, &node) {
                    Some(failure) => failure,
                    None => return result.map(|answers| self.still_owned(answers, key, &node)),
                },
                Err(CacheError::Closed) if self.is_closed() => return result,
                Err(error) => Failure::of_failure(error),
            };
            self.note_failure(&failure, &node);
            match self.next_step(&mut retry, &failure, deadline).await {
                Step::Follow { to, asking, pause } if self.pause(pause, deadline).await => {
                    node = self.state().node(&to);
                    result = if asking {
                        ask(&node, &reads, deadline).await
                    } else {
                        node.send_tracked(&reads, deadline).await
                    };
                }
                Step::Again { pause } if self.pause(pause, deadline).await => {
                    result = match self.owner(key) {
                        Some(owner) => {
                            node = owner;
                            node.send_tracked(&reads, deadline).await
                        }
                        None => Err(self.no_node_for(Some(slot))),
                    };
                }
                _ => {
                    let reply = result.map(|answers| {
                        let mut replies = answers.replies.into_iter();
                        replies
                            .find(|reply| matches!(reply, Reply::Error(_)))
                            .unwrap_or(Reply::Nil)
                    });
                    let ended = final_result(&retry, &failure, reply, reads[0]);
                    return ended.map(|reply| Answers::untracked(vec![reply]));
                }
            }
        }
    }

    /// Groups the positions of `keys` by primary; keys without a primary form one group.
    pub(crate) fn by_primary(&self, keys: &[&str]) -> Vec<(Option<Arc<Node>>, Vec<usize>)> {
        let table = self.table.load();
        let mut groups: Vec<(Option<Arc<Node>>, Vec<usize>)> = Vec::new();
        // By shard index, because a cluster has fewer shards than a call has keys.
        let mut group_of: HashMap<usize, usize> = HashMap::new();
        for (position, key) in keys.iter().enumerate() {
            let slot = slot_of(key.as_bytes());
            let group = *group_of.entry(table.index(slot)).or_insert_with(|| {
                let primary = table.shard(slot).map(|shard| Arc::clone(shard.primary()));
                groups.push((primary, Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(position);
        }
        groups
    }

    pub(crate) const fn read_from(&self) -> ReadFrom {
        self.read_from
    }

    /// Drops the tracking promise if `node` no longer owns the slot, because it would not report changes.
    fn still_owned(&self, mut answers: Answers, key: &[u8], node: &Arc<Node>) -> Answers {
        if !self.owner(key).is_some_and(|owner| Arc::ptr_eq(&owner, node)) {
            answers.vouch = None;
        }
        answers
    }
}

/// The failure in the replies, if there is one.
fn failure_in(answers: &Answers, node: &Node) -> Option<Failure> {
    answers.replies.iter().find_map(|reply| match reply {
        Reply::Error(refusal) => Failure::of_refusal(refusal, node.address()),
        _ => None,
    })
}

/// Sends reads to the node that is importing their slot, each after `ASKING`.
async fn ask(node: &Arc<Node>, reads: &[&Command<'_>], deadline: Deadline) -> Result<Answers, CacheError> {
    let asking = Command::write("ASKING");
    let commands: Vec<_> = reads.iter().flat_map(|&read| [&asking, read]).collect();
    let replies = node.send_batch(&commands, deadline).await?;
    Ok(Answers::untracked(
        replies.into_iter().skip(1).step_by(2).collect(),
    ))
}
