//! A connection to a cluster: each request is routed by the slot that the client computed.
//!
//! A `ClusterConnection` follows redirections by itself, within its own number of retries. One that was made without
//! retries (`ClusterClientBuilder::retries(0)`) hands redirections out, and they are followed here: a server that
//! redirects a request has not carried it out.

use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind, Value};

use super::{Failure, Place, Session, Source};

/// How often one request follows redirections.
const REDIRECTIONS: u32 = 8;

/// How long the first redirected request waits for the connection to read the slots again; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(2);

/// A connection to a cluster, shared by all calls.
#[derive(Clone)]
pub(crate) struct OnCluster(pub(crate) ClusterConnection);

#[async_trait]
impl Source for OnCluster {
    fn name(&self) -> &'static str {
        "cluster connection"
    }

    fn is_cluster(&self) -> bool {
        true
    }

    async fn session(&self) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl Session for OnCluster {
    fn send<'a>(&'a self, command: &'a Cmd, place: Place) -> RedisFuture<'a, Value> {
        self.follow(command, place).boxed()
    }

    fn send_all<'a>(&'a self, _: &'a Pipeline) -> RedisFuture<'a, Vec<Value>> {
        let refusal = (
            ErrorKind::Client,
            "a pipeline does not follow its keys while slots move",
        );
        async move { Err(refusal.into()) }.boxed()
    }

    fn ping(&self) -> RedisFuture<'_, Value> {
        let mut connection = self.0.clone();
        let primaries = RoutingInfo::MultiNode((
            MultipleNodeRoutingInfo::AllMasters,
            Some(ResponsePolicy::AllSucceeded),
        ));
        async move { connection.route_command(redis::cmd("PING"), primaries).await }.boxed()
    }
}

impl OnCluster {
    async fn follow(&self, command: &Cmd, place: Place) -> RedisResult<Value> {
        let mut redirections = Redirections::default();
        loop {
            let mut connection = self.0.clone();
            let answer = match redirections.asked_at.take() {
                None => {
                    let routing = RoutingInfo::SingleNode(route(place));
                    connection.route_command(command.clone(), routing).await
                }
                Some(node) => {
                    let mut asking = Pipeline::with_capacity(2);
                    asking.cmd("ASKING").add_command(command.clone());
                    let values = connection.route_pipeline(asking, 0, 2, node).await;
                    values.and_then(|values| values.into_iter().nth(1).ok_or_else(short))
                }
            };
            match answer {
                Err(error) => redirections.follow(error).await?,
                answer => return answer,
            }
        }
    }
}

/// Where one request was sent on to.
#[derive(Default)]
struct Redirections {
    followed: u32,
    /// The node that takes over the slot, if a server named one with `ASK`.
    asked_at: Option<SingleNodeRoutingInfo>,
}

impl Redirections {
    /// Gets ready for the next try; or the error, if it is no redirection or one too many.
    async fn follow(&mut self, error: RedisError) -> RedisResult<()> {
        if self.followed == REDIRECTIONS {
            return Err(error);
        }
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Ask) => {
                let Some(node) = error.redirect_node().and_then(|(address, _)| node_at(address)) else {
                    return Err(error);
                };
                self.asked_at = Some(node);
            }
            // The connection reads the slots again before it takes the next request.
            ErrorKind::Server(ServerErrorKind::Moved) => {
                tokio::time::sleep(PAUSE * 2_u32.pow(self.followed)).await;
            }
            _ => return Err(error),
        }
        self.followed += 1;
        Ok(())
    }
}

fn node_at(address: &str) -> Option<SingleNodeRoutingInfo> {
    let (host, port) = address.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

fn route(place: Place) -> SingleNodeRoutingInfo {
    let address = if place.reads {
        SlotAddr::ReplicaOptional
    } else {
        SlotAddr::Master
    };
    SingleNodeRoutingInfo::SpecificNode(Route::new(place.slot, address))
}

fn short() -> RedisError {
    (ErrorKind::Parse, "a reply is missing").into()
}
