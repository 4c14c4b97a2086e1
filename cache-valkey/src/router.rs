//! The one door from the client to the servers, whatever stands behind it.

use std::sync::Arc;

use cache_core::CacheError;

use crate::cluster::Cluster;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Greeting;
use crate::reply::Reply;
use crate::single::Single;

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
    pub(crate) async fn send(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        match self {
            Self::Single(single) => single.send(command, deadline).await,
            Self::Cluster(cluster) => cluster.send(command, deadline).await,
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

    /// What the server that serves `key` said of itself, where it has been connected to.
    pub(crate) fn greeting(&self, key: &[u8]) -> Option<Arc<Greeting>> {
        match self {
            Self::Single(single) => single.primary().ok().map(|node| node.greeting()),
            Self::Cluster(cluster) => cluster.owner(key).map(|node| node.greeting()),
        }
    }

    /// Whether one command may name keys of any slots.
    pub(crate) const fn takes_keys_together(&self) -> bool {
        matches!(self, Self::Single(_))
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
