//! A connection to a cluster. Each request is routed by the slot that this client computed.
//!
//! A `ClusterConnection` follows redirections by itself, within its own number of retries. Without retries
//! (`ClusterClientBuilder::retries(0)`) it returns redirections, and they are followed here: a redirected
//! request was not applied.

use std::time::Duration;

use async_trait::async_trait;
use cache_core::slot::slot_of;
use futures::FutureExt as _;
use futures::future::try_join_all;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind, Value};

use super::{Failure, Session, Source, Target};

/// How many redirections one request follows.
const REDIRECTIONS: u32 = 4;

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
    fn send<'a>(&'a self, command: &'a Cmd, target: Target) -> RedisFuture<'a, Value> {
        self.follow(command, target).boxed()
    }

    fn send_all<'a>(&'a self, _: &'a Pipeline) -> RedisFuture<'a, Vec<Value>> {
        let refusal = (
            ErrorKind::Client,
            "a pipeline does not follow its keys while slots move",
        );
        async move { Err(refusal.into()) }.boxed()
    }

    fn ping(&self) -> RedisFuture<'_, Value> {
        self.ping_every_primary().boxed()
    }
}

impl OnCluster {
    async fn follow(&self, command: &Cmd, target: Target) -> RedisResult<Value> {
        let mut redirections = Redirections::default();
        loop {
            let mut connection = self.0.clone();
            let answer = match redirections.asked_at.take() {
                None => {
                    let routing = RoutingInfo::SingleNode(route_to(target));
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

impl OnCluster {
    /// Asks about a key of every primary in the cluster.
    ///
    /// Not with `PING`, because the connection sends that only to primaries that it is connected to, and any
    /// node may answer it. Only the owner of a slot answers a command about one of its keys.
    async fn ping_every_primary(&self) -> RedisResult<Value> {
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let somewhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let slots = self
            .0
            .clone()
            .route_command(slots, somewhere)
            .await?
            .extract_error()?;
        let asked = primaries(slots)?.into_iter().map(|slot| async move {
            let mut exists = redis::cmd("EXISTS");
            exists.arg(key_in(slot));
            let answer = self.follow(&exists, Target { slot, reads: false }).await;
            match answer.and_then(Value::extract_error) {
                // A refusal is an answer, too.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(Value::Okay),
                answer => answer,
            }
        });
        try_join_all(asked).await.map(|_| Value::Okay)
    }
}

/// One slot of each primary in the reply to `CLUSTER SLOTS`.
fn primaries(slots: Value) -> RedisResult<Vec<u16>> {
    let ranges = slots.into_sequence().map_err(|_| short())?;
    let mut found: Vec<(Value, u16)> = Vec::new();
    for range in ranges {
        let mut range = range.into_sequence().map_err(|_| short())?.into_iter();
        let (Some(Value::Int(first)), Some(_), Some(primary)) = (range.next(), range.next(), range.next())
        else {
            return Err(short());
        };
        let first = u16::try_from(first).map_err(|_| short())?;
        if found.iter().all(|(known, _)| *known != primary) {
            found.push((primary, first));
        }
    }
    if found.is_empty() {
        return Err((ErrorKind::ClusterConnectionNotFound, "no node serves a slot").into());
    }
    Ok(found.into_iter().map(|(_, slot)| slot).collect())
}

/// A short key of `slot`.
fn key_in(slot: u16) -> String {
    let mut candidates = (0_u32..).map(|number| number.to_string());
    candidates
        .find(|key| slot_of(key.as_bytes()) == slot)
        .unwrap_or_default()
}

/// The redirections of one request.
#[derive(Default)]
struct Redirections {
    followed: u32,
    /// The node that imports the slot, if a server named one with `ASK`.
    asked_at: Option<SingleNodeRoutingInfo>,
}

impl Redirections {
    /// Prepares the next attempt, or returns the error if it is not a redirection or one too many.
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

fn route_to(target: Target) -> SingleNodeRoutingInfo {
    let address = if target.reads {
        SlotAddr::ReplicaOptional
    } else {
        SlotAddr::Master
    };
    SingleNodeRoutingInfo::SpecificNode(Route::new(target.slot, address))
}

fn short() -> RedisError {
    (ErrorKind::Parse, "a reply is missing").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_in_its_slot() {
        for slot in [0, 1, 8_191, 16_383] {
            assert_eq!(slot_of(key_in(slot).as_bytes()), slot);
        }
    }

    #[test]
    fn each_primary_is_asked_once() {
        let node = |port| Value::Array(vec![Value::BulkString(b"host".to_vec()), Value::Int(port)]);
        let range =
            |first, last, port| Value::Array(vec![Value::Int(first), Value::Int(last), node(port), node(9)]);
        let slots = Value::Array(vec![range(0, 10, 1), range(11, 20, 2), range(21, 16_383, 1)]);
        assert_eq!(primaries(slots).unwrap(), [0, 11]);
        assert!(primaries(Value::Array(vec![Value::Nil])).is_err());
        assert!(primaries(Value::Nil).is_err());
        assert!(primaries(Value::Okay).is_err());
    }

    #[test]
    fn node_is_read_from_a_redirection() {
        let at = |address| match node_at(address) {
            Some(SingleNodeRoutingInfo::ByAddress { host, port }) => Some((host, port)),
            _ => None,
        };
        assert_eq!(at("10.0.0.1:7000"), Some(("10.0.0.1".into(), 7_000)));
        assert_eq!(at("::1:7000"), Some(("::1".into(), 7_000)));
        assert_eq!(at("10.0.0.1"), None);
    }
}
