//! Pools: each call checks a connection out, and returns it when it ends or is dropped.
//!
//! The pooled connections are multiplexed, so one that is returned with a request in flight is still usable.

use async_trait::async_trait;
use deadpool_redis::PoolError;
use redis::{Cmd, Pipeline, RedisFuture, Value};

use super::{Failure, Session, Single, Source, Target};

/// A pool of connections to one server.
pub(crate) struct SinglePool(pub(crate) deadpool_redis::Pool);

#[async_trait]
impl Source for SinglePool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn is_cluster(&self) -> bool {
        false
    }

    async fn session(&self) -> Result<Box<dyn Session>, Failure> {
        let held = self.0.get().await?;
        let session = Single::new(held.as_ref().clone(), "pool");
        Ok(Box::new(CheckedOut { session, _held: held }))
    }
}

/// A pool of connections to a cluster.
#[cfg(feature = "cluster")]
pub(crate) struct ClusterPool(pub(crate) deadpool_redis::cluster::Pool);

#[cfg(feature = "cluster")]
#[async_trait]
impl Source for ClusterPool {
    fn name(&self) -> &'static str {
        "cluster pool"
    }

    fn is_cluster(&self) -> bool {
        true
    }

    async fn session(&self) -> Result<Box<dyn Session>, Failure> {
        let held = self.0.get().await?;
        let session = super::OnCluster(held.as_ref().clone());
        Ok(Box::new(CheckedOut { session, _held: held }))
    }
}

/// A session over a connection that returns to its pool at the end of the call.
struct CheckedOut<S, H> {
    session: S,
    _held: H,
}

impl<S: Session, H: Send + Sync> Session for CheckedOut<S, H> {
    fn send<'a>(&'a self, command: &'a Cmd, target: Target) -> RedisFuture<'a, Value> {
        self.session.send(command, target)
    }

    fn send_all<'a>(&'a self, pipeline: &'a Pipeline) -> RedisFuture<'a, Vec<Value>> {
        self.session.send_all(pipeline)
    }

    fn ping(&self) -> RedisFuture<'_, Value> {
        self.session.ping()
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(_) => Self::PoolTimeout,
            PoolError::Closed => Self::PoolClosed,
            PoolError::NoRuntimeSpecified => Self::PoolWithoutRuntime,
            PoolError::Backend(error) => Self::NotConnected(Some(error)),
            PoolError::PostCreateHook(_) => Self::NotConnected(None),
        }
    }
}
