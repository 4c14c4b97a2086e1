//! The interface to any kind of connection: one command, or one pipeline to a single server.
//!
//! Not in here: deadlines, closing, and translating errors.

#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "deadpool")]
mod pool;
mod single;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};

#[cfg(feature = "cluster")]
pub(crate) use cluster::OnCluster;
#[cfg(all(feature = "cluster", feature = "deadpool"))]
pub(crate) use pool::ClusterPool;
#[cfg(feature = "deadpool")]
pub(crate) use pool::SinglePool;
pub(crate) use single::Single;

/// The source of sessions: a shared connection, or a pool.
#[async_trait]
pub(crate) trait Source: Send + Sync + 'static {
    /// A description of the source.
    fn name(&self) -> &'static str;

    /// Whether it connects to a cluster. Then each key has its own request, and the connection itself retries
    /// failed requests, so an error says nothing about earlier attempts.
    fn is_cluster(&self) -> bool;

    /// A connection for one call.
    async fn session(&self) -> Result<Box<dyn Session>, Failure>;
}

/// A connection during one call. Requests may overlap.
pub(crate) trait Session: Send + Sync {
    /// Sends one command. A refusal may be a value or an error.
    fn send<'a>(&'a self, command: &'a Cmd, target: Target) -> RedisFuture<'a, Value>;

    /// Sends a pipeline to the single server. Returns one value per command. A refusal may be a value, or an
    /// error instead of all values.
    fn send_all<'a>(&'a self, pipeline: &'a Pipeline) -> RedisFuture<'a, Vec<Value>>;

    /// Pings every primary in use.
    fn ping(&self) -> RedisFuture<'_, Value>;
}

/// Where a request goes. A connection to a single server ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) slot: u16,
    /// Whether a replica may answer, if the connection reads from replicas.
    pub(crate) reads: bool,
}

/// Why there is no reply.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "deadpool"),
    expect(dead_code, reason = "only a pool hands out nothing")
)]
pub(crate) enum Failure {
    /// The pool had no connection in time.
    PoolTimeout,
    /// The service closed the pool.
    PoolClosed,
    /// The pool cannot wait, because it was created without a runtime.
    PoolWithoutRuntime,
    /// The pool could not open or check a connection. Nothing was sent.
    NotConnected(Option<RedisError>),
    /// The request failed.
    Request(RedisError),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Request(error)
    }
}
