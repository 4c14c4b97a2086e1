//! Routes commands from the client to a single server or a cluster.

use std::sync::Arc;

use cache_core::CacheError;
use cache_core::clock::Instant;
use cache_core::config::ReadFrom;

use crate::cluster::Cluster;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::ServerHello;
use crate::node::{Link, Node};
use crate::reply::Reply;
use crate::single::Single;
use crate::tracking::Answers;

/// The topology that commands are routed by.
#[derive(Clone, Debug)]
pub(crate) enum Router {
    /// One primary, fixed or behind sentinels.
    Single(Arc<Single>),
    /// A cluster.
    Cluster(Arc<Cluster>),
}

impl Router {
    /// Sends one command to the node that serves its key. A final refusal stays a [`Reply::Error`].
    ///
    /// Nearly every call finds a ready connection and is answered on it. So this path has few steps and a
    /// small future; everything else is on the heap.
    pub(crate) async fn send(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        let first = match self.ready_connection(command, deadline.started_at()) {
            None => None,
            Some(link) => match link.connection.send(command, deadline).await {
                Ok(reply) if command.is_answered_by(&reply) && !matches!(reply, Reply::Error(_)) => {
                    return Ok(reply);
                }
                result => match link.node() {
                    Some(node) => {
                        let result = node.judge(&link, command, result);
                        Some((node, result))
                    }
                    // If the node is gone, the call is not sent again.
                    None => return result,
                },
            },
        };
        Box::pin(self.send_or_retry(command, deadline, first)).await
    }

    /// A ready connection to the node that a command goes to, if there is one.
    fn ready_connection(&self, command: &Command<'_>, now: Instant) -> Option<Arc<Link>> {
        match self {
            Self::Single(single) => single.ready_connection(command.effect(), now),
            Self::Cluster(cluster) => cluster.ready_connection(command, now),
        }
    }

    /// Sends a command that has not been sent, or retries it after a failed first attempt.
    async fn send_or_retry(
        &self,
        command: &Command<'_>,
        deadline: Deadline,
        first: Option<(Arc<Node>, Result<Reply, CacheError>)>,
    ) -> Result<Reply, CacheError> {
        match self {
            Self::Single(single) => {
                single
                    .send(command, deadline, first.map(|(_, result)| result))
                    .await
            }
            Self::Cluster(cluster) => cluster.send(command, deadline, first).await,
        }
    }

    /// A number for the primary that serves `key` now.
    pub(crate) fn part_of(&self, key: &[u8]) -> u64 {
        match self {
            Self::Single(_) => 0,
            // The node's memory address is unique while the node exists.
            Self::Cluster(cluster) => cluster
                .owner(key)
                .map_or(0, |node| u64::try_from(Arc::as_ptr(&node).addr()).unwrap_or(1)),
        }
    }

    /// Sends each command to the node that serves its key: one pipeline per node, all nodes in parallel.
    /// Returns the replies in order, refusals included.
    pub(crate) async fn send_batch(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        match self {
            Self::Single(single) => single.send_batch(commands, deadline).await,
            Self::Cluster(cluster) => cluster.send_batch(commands, deadline).await,
        }
    }

    /// As [`send_batch`](Self::send_batch), with a result for each command: a failure affects only its own
    /// commands.
    ///
    /// Commands may be repeated separately, so no two of them may write the same key.
    pub(crate) async fn send_each(
        &self,
        commands: &[Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        match self {
            Self::Single(single) => single.send_each(commands, deadline).await,
            Self::Cluster(cluster) => cluster.send_each(commands, deadline).await,
        }
    }

    /// Sends reads of one key as one pipeline to its primary, so that a change of the key is reported.
    ///
    /// If the primary cannot answer and replicas may, a replica answers and nothing is tracked.
    pub(crate) async fn send_tracked(
        &self,
        reads: &[Command<'_>],
        deadline: Deadline,
    ) -> Result<Answers, CacheError> {
        let (result, read_from) = match self {
            Self::Single(single) => (single.send_tracked(reads, deadline).await, single.read_from()),
            Self::Cluster(cluster) => (cluster.send_tracked(reads, deadline).await, cluster.read_from()),
        };
        match result {
            Err(error) if error.is_transient() && read_from != ReadFrom::Primary => {
                let replies = self.send_batch(reads, deadline).await;
                Ok(Answers::untracked(replies?))
            }
            result => result,
        }
    }

    /// Groups the positions of `keys` by the primary that serves them, if it is known.
    pub(crate) fn by_primary(
        &self,
        keys: &[&str],
        deadline: Deadline,
    ) -> Vec<(Option<Arc<Node>>, Vec<usize>)> {
        match self {
            Self::Single(single) => {
                single.ensure_refreshing(deadline.started_at());
                vec![(single.primary().ok(), (0..keys.len()).collect())]
            }
            Self::Cluster(cluster) => {
                cluster.ensure_refreshing(deadline.started_at());
                cluster.by_primary(keys)
            }
        }
    }

    /// Whether `node` is the primary that serves `key` now.
    pub(crate) fn is_primary_of(&self, node: &Arc<Node>, key: &str) -> bool {
        let primary = match self {
            Self::Single(single) => single.primary().ok(),
            Self::Cluster(cluster) => cluster.owner(key.as_bytes()),
        };
        primary.is_some_and(|primary| Arc::ptr_eq(&primary, node))
    }

    /// The `HELLO` of the server that serves `key`, if it has been connected to.
    pub(crate) fn server_hello(&self, key: &[u8]) -> Option<Arc<ServerHello>> {
        match self {
            Self::Single(single) => single.primary().ok().map(|node| node.server_hello()),
            Self::Cluster(cluster) => cluster.owner(key).map(|node| node.server_hello()),
        }
    }

    /// The primaries in use, as known now.
    pub(crate) fn primaries(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Single(single) => single.primary().into_iter().collect(),
            Self::Cluster(cluster) => cluster.primaries(),
        }
    }

    /// All known nodes, replicas included.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Single(single) => {
                let primary = single.primary().into_iter();
                primary.chain(single.replicas().iter().map(Arc::clone)).collect()
            }
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// Whether one command may name keys in different slots.
    ///
    /// A server without a `HELLO` may be a proxy that shards keys: twemproxy sends `EXISTS` with many keys to
    /// the server of the first key, and returns a wrong count.
    pub(crate) fn takes_keys_together(&self) -> bool {
        match self {
            Self::Single(single) => single
                .primary()
                .is_ok_and(|node| !node.server_hello().server.is_empty()),
            Self::Cluster(_) => false,
        }
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Pings every primary in use.
    pub(crate) async fn ping(&self, deadline: Deadline) -> Result<(), CacheError> {
        match self {
            Self::Single(single) => single.ping(deadline).await,
            Self::Cluster(cluster) => cluster.ping(deadline).await,
        }
    }

    pub(crate) fn close(&self) {
        match self {
            Self::Single(single) => single.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}
