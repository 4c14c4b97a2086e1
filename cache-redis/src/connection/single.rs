//! Connections to one server. The handle is cloned for every request.

use async_trait::async_trait;
use futures::FutureExt as _;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisFuture, Value};

use super::{Failure, Session, Source, Target};

/// A connection to one server, shared by all calls.
#[derive(Clone)]
pub(crate) struct Single<C> {
    connection: C,
    name: &'static str,
}

impl<C> Single<C> {
    pub(crate) const fn new(connection: C, name: &'static str) -> Self {
        Self { connection, name }
    }
}

#[async_trait]
impl<C> Source for Single<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_cluster(&self) -> bool {
        false
    }

    async fn session(&self) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl<C> Session for Single<C>
where
    C: ConnectionLike + Clone + Send + Sync,
{
    fn send<'a>(&'a self, command: &'a Cmd, _: Target) -> RedisFuture<'a, Value> {
        let mut connection = self.connection.clone();
        async move { connection.req_packed_command(command).await }.boxed()
    }

    fn send_all<'a>(&'a self, pipeline: &'a Pipeline) -> RedisFuture<'a, Vec<Value>> {
        let mut connection = self.connection.clone();
        async move { connection.req_packed_commands(pipeline, 0, pipeline.len()).await }.boxed()
    }

    fn ping(&self) -> RedisFuture<'_, Value> {
        let mut connection = self.connection.clone();
        async move { connection.req_packed_command(&redis::cmd("PING")).await }.boxed()
    }
}
