//! The one door from the client to the servers, whatever stands behind it.

use std::sync::Arc;

use cache_core::CacheError;
use cache_core::clock::Instant;
use cache_core::config::ReadFrom;

use crate::cluster::Cluster;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Greeting;
use crate::node::{Link, Node};
use crate::reply::Reply;
use crate::single::Single;
use crate::tracking::Answers;

/// Where commands go.
#[derive(Clone, Debug)]
pub(crate) enum Router {
    /// One primary, fixed or watched by sentinels.
    Single(Arc<Single>),
    /// A cluster.
    Cluster(Arc<Cluster>),
}

impl Router {
    /// Sends one command to where its key belongs. A refusal that is final stays a [`Reply::Error`].
    ///
    /// Nearly every call finds a connection at once and is answered on it. So this takes few steps and has a small
    /// future; everything else is on the heap.
    pub(crate) async fn send(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        let first = match self.ready_connection(command, deadline.begun()) {
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
                    // Nodes outlive the calls on them, but a call must never be sent twice because one did not.
                    None => return result,
                },
            },
        };
        Box::pin(self.see_through(command, deadline, first)).await
    }

    /// A connection to the node that a command goes to, if there is no need to wait for either.
    fn ready_connection(&self, command: &Command<'_>, now: Instant) -> Option<Arc<Link>> {
        match self {
            Self::Single(single) => single.ready_connection(command.effect(), now),
            Self::Cluster(cluster) => cluster.ready_connection(command, now),
        }
    }

    /// Sees a command through that has not been sent, or whose first try had no good reply.
    async fn see_through(
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

    /// A number for the primary that `key` belongs to now.
    pub(crate) fn part_of(&self, key: &[u8]) -> u64 {
        match self {
            Self::Single(_) => 0,
            // An address is a number of its own for as long as the node is there.
            Self::Cluster(cluster) => cluster
                .owner(key)
                .map_or(0, |node| u64::try_from(Arc::as_ptr(&node).addr()).unwrap_or(1)),
        }
    }

    /// Sends commands, each to where its key belongs: one pipeline per node, all nodes at once; replies
    /// in the order of the commands, refusals in their places.
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

    /// As [`send_batch`](Self::send_batch), with a result for each command: what goes wrong concerns the commands only
    /// that it happens to.
    ///
    /// Commands may be repeated alone, so no two of them may write the same key.
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
    /// Where replicas may answer reads and the primary cannot, they do, and nothing is tracked.
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

    /// The positions of `keys` by the primary that serves them, if one is known.
    pub(crate) fn by_primary(
        &self,
        keys: &[&str],
        deadline: Deadline,
    ) -> Vec<(Option<Arc<Node>>, Vec<usize>)> {
        match self {
            Self::Single(single) => {
                single.revive(deadline.begun());
                vec![(single.primary().ok(), (0..keys.len()).collect())]
            }
            Self::Cluster(cluster) => {
                cluster.revive(deadline.begun());
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

    /// What the server that serves `key` said of itself, where it has been connected to.
    pub(crate) fn greeting(&self, key: &[u8]) -> Option<Arc<Greeting>> {
        match self {
            Self::Single(single) => single.primary().ok().map(|node| node.greeting()),
            Self::Cluster(cluster) => cluster.owner(key).map(|node| node.greeting()),
        }
    }

    /// The primaries in use, as known at the moment.
    pub(crate) fn primaries(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Single(single) => single.primary().into_iter().collect(),
            Self::Cluster(cluster) => cluster.primaries(),
        }
    }

    /// Every node that is known, replicas included.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Single(single) => {
                let primary = single.primary().into_iter();
                primary.chain(single.replicas().iter().map(Arc::clone)).collect()
            }
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// Whether one command may name many keys, of any slots.
    ///
    /// A server that said nothing of itself may be a proxy that shards keys: twemproxy sends `EXISTS` with many keys to the
    /// server of the first one, and hands its wrong count on.
    pub(crate) fn takes_keys_together(&self) -> bool {
        match self {
            Self::Single(single) => single
                .primary()
                .is_ok_and(|node| !node.greeting().server.is_empty()),
            Self::Cluster(_) => false,
        }
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// One round trip to every primary in use.
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
