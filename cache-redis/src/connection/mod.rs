//! What the client asks of a connection, whichever kind it is: one command, or one pipeline if there is one server.
//!
//! Not in here: deadlines, closing, and what an error means to a caller.

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

/// Where sessions come from: a connection that is shared, or a pool.
#[async_trait]
pub(crate) trait Source: Send + Sync + 'static {
    /// What it is, in words.
    fn name(&self) -> &'static str;

    /// Whether it speaks to a cluster: each key then goes in a request of its own, and the connection sends a request
    /// again by itself after a failure, so that an error says nothing about earlier tries.
    fn is_cluster(&self) -> bool;

    /// A connection for one call.
    async fn session(&self) -> Result<Box<dyn Session>, Failure>;
}

/// A connection, for the time of one call. Requests may overlap.
pub(crate) trait Session: Send + Sync {
    /// Sends one command. A refusal may be a value or an error.
    fn send<'a>(&'a self, command: &'a Cmd, place: Place) -> RedisFuture<'a, Value>;

    /// Sends a pipeline to the one server that there is; one value per command. A refusal may be a value, or an error in
    /// place of all values.
    fn send_all<'a>(&'a self, pipeline: &'a Pipeline) -> RedisFuture<'a, Vec<Value>>;

    /// Asks every primary in use.
    fn ping(&self) -> RedisFuture<'_, Value>;
}

/// Where a request goes. A connection to one server needs neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) slot: u16,
    /// Whether a replica may answer, if the connection was made to read from replicas.
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
    /// The pool cannot wait: it was made without a runtime.
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
