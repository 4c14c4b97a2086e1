//! Which cache the servers belong to, by the ids that servers give themselves.
//!
//! An address says nothing about identity: tomorrow another server may listen there. Not in here: what a caller does
//! about a contradiction.

use std::collections::BTreeSet;
use std::sync::Arc;

use cache_core::{CacheError, Outcome, Unavailability};
use futures::future::join_all;

use super::cluster_nodes::NodeLine;
use super::pool::Pooled;
use super::{Administration, Primary, TopologyView};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::accept;
use crate::reply::Reply;

/// The replication id of a server that has none.
const NO_ID: &str = "0000000000000000000000000000000000000000";

/// What distinguishes the cache behind a client from every other one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Whether it is a cluster.
    pub cluster: bool,
    /// The ids of a cluster's nodes. Outside of a cluster, the primary's run id and replication ids. Empty if the
    /// user may not ask, or if no server answered.
    pub ids: BTreeSet<String>,
    /// The selected database.
    pub database: u32,
}

impl Identity {
    /// Whether both may be the same cache: they have an id in common. After a failover or with a new shard one id
    /// remains. A server that restarts alone gets a new one.
    #[must_use]
    pub fn shares_an_id(&self, other: &Self) -> bool {
        !self.ids.is_disjoint(&other.ids)
    }
}

impl Administration {
    /// Asks the primaries of `view` which cache they are: `CLUSTER NODES` or `CLUSTER SLOTS` in a cluster, `INFO`
    /// elsewhere.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unavailable`] if they do not belong to one cluster. A primary that does not answer is no error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn identity(&self, view: &TopologyView) -> Result<Identity, CacheError> {
        let primaries: Vec<Primary> = self.primaries_of(view);
        let asked = join_all(primaries.iter().map(async |primary| {
            let ids = primary.ids().await.ok()?;
            Some((primary, ids)).filter(|(_, ids)| !ids.is_empty())
        }));
        let mut left: Vec<(&Primary, BTreeSet<String>)> = asked.await.into_iter().flatten().collect();
        let mut identity = Identity {
            cluster: view.cluster,
            ids: BTreeSet::new(),
            database: self.pools.database(),
        };
        let first = left.first().map(|(primary, _)| primary.address.clone());
        // Until no further view has a node in common with those before.
        while let Some(index) = left
            .iter()
            .position(|(_, ids)| identity.ids.is_empty() || !ids.is_disjoint(&identity.ids))
        {
            identity.ids.extend(left.swap_remove(index).1);
        }
        match (first, left.first()) {
            (Some(first), Some((other, _))) => Err(CacheError::Unavailable {
                reason: Unavailability::NotReady,
                detail: format!(
                    "{first} and {} belong to different clusters; check CACHE_ADDRS and what the nodes announce",
                    other.address
                )
                .into(),
                outcome: Outcome::NotApplied,
                source: None,
            }),
            _ => Ok(identity),
        }
    }
}

impl Primary {
    /// The same primary for work on `cache` only. A call over a connection to a server of another cache fails and
    /// changes nothing there. An identity without ids does not restrict anything.
    #[must_use]
    pub fn bound_to(mut self, cache: Arc<Identity>) -> Self {
        self.bound = Some(cache);
        self
    }

    /// The ids of the cache that this primary reports. Ignores the roles of a view.
    async fn ids(&self) -> Result<BTreeSet<String>, CacheError> {
        let queries = queries(self.kind.clustered);
        let replies = self.ask(&queries.iter().collect::<Vec<_>>()).await?;
        Ok(read(self.kind.clustered, replies))
    }
}

impl Pooled {
    /// Fails unless the server at the other end belongs to `cache`. Asks once per connection.
    pub(super) async fn is_of(
        &mut self,
        cache: &Arc<Identity>,
        primary: &Primary,
        deadline: Deadline,
    ) -> Result<(), CacheError> {
        let known = self.vouched_for.as_ref();
        if cache.ids.is_empty() || known.is_some_and(|known| Arc::ptr_eq(known, cache)) {
            return Ok(());
        }
        if self.ids.is_disjoint(&cache.ids) {
            let queries = queries(cache.cluster);
            let queries: Vec<_> = queries.iter().collect();
            let replies = self.connection.send_batch(&queries, deadline).await?;
            self.ids = read(cache.cluster, replies);
        }
        if self.ids.is_disjoint(&cache.ids) {
            return Err(CacheError::Unavailable {
                reason: Unavailability::NotReady,
                detail: format!(
                    "the server at {} now belongs to another cache, or was restarted",
                    primary.address
                )
                .into(),
                outcome: Outcome::NotApplied,
                source: None,
            });
        }
        self.vouched_for = Some(Arc::clone(cache));
        Ok(())
    }
}

/// The queries for one round trip.
fn queries(cluster: bool) -> [Command<'static>; 2] {
    if cluster {
        ["NODES", "SLOTS"].map(|what| Command::read("CLUSTER").arg(what))
    } else {
        ["SERVER", "REPLICATION"].map(|what| Command::read("INFO").arg(what))
    }
}

/// The ids in a server's replies. The user may lack the right to one query or both.
fn read(cluster: bool, replies: Vec<Reply>) -> BTreeSet<String> {
    let allowed = replies
        .into_iter()
        .filter_map(|reply| accept(reply, "CLUSTER").ok());
    if cluster {
        return allowed
            .flat_map(|reply| match reply {
                Reply::Array(slots) => slots.into_iter().flat_map(ids_of_range).collect(),
                reply => ids_of_nodes(reply.as_text().unwrap_or_default()),
            })
            .collect();
    }
    allowed
        .flat_map(|reply| ids_of_info(reply.as_text().unwrap_or_default()))
        .collect()
}

fn ids_of_nodes(text: &str) -> Vec<String> {
    let nodes = text.lines().filter_map(NodeLine::read);
    // During a handshake, a node has a temporary id.
    nodes
        .filter(|node| !node.has("handshake"))
        .map(|node| node.id.to_owned())
        .collect()
}

/// Of `[first, last, [host, port, id, ...], ...]`.
fn ids_of_range(range: Reply) -> Vec<String> {
    let parts = range.into_array().unwrap_or_default();
    let nodes = parts
        .into_iter()
        .skip(2)
        .filter_map(|node| node.into_array().ok());
    nodes
        .filter_map(|node| Some(node.get(2)?.as_text()?.to_owned()))
        .filter(|id| !id.is_empty())
        .collect()
}

fn ids_of_info(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(name, _)| ["run_id", "master_replid", "master_replid2"].contains(name))
        .map(|(_, id)| id.trim().to_owned())
        .filter(|id| !id.is_empty() && id != NO_ID)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ServerError;
    use crate::reply::foreign::{mangled, reply};

    const NODES: &str = "\
aa 127.0.0.1:7001@17001,one.test myself,master - 0 0 1 connected 0-5460
bb 127.0.0.1:7002@17002,two.test master - 0 0 2 connected 5461-16383
hh 127.0.0.1:7008@17008 handshake - 0 0 0 connected
";

    fn ids(cluster: bool, replies: Vec<Reply>) -> Vec<String> {
        read(cluster, replies).into_iter().collect()
    }

    fn refused() -> Reply {
        Reply::Error(Box::new(ServerError {
            code: "NOPERM".into(),
            detail: "no permissions".into(),
        }))
    }

    #[test]
    fn node_ids_come_from_cluster_nodes_or_slots() {
        let text = |text: &str| Reply::Bulk(text.to_owned().into());
        assert_eq!(ids(true, vec![text(NODES), refused()]), ["aa", "bb"]);
        let node = |id: &str| Reply::Array(vec![text("127.0.0.1"), Reply::Int(7001), text(id)]);
        let range = Reply::Array(vec![Reply::Int(0), Reply::Int(5), node("aa"), node("cc")]);
        assert_eq!(
            ids(true, vec![refused(), Reply::Array(vec![range])]),
            ["aa", "cc"]
        );
        assert!(ids(true, vec![refused(), refused()]).is_empty());
    }

    #[test]
    fn replication_ids_are_used_unless_empty() {
        let info = |text: &str| Reply::Bulk(text.to_owned().into());
        let server = "# Server\r\nrun_id:r1\r\ntcp_port:6379\r\n";
        let replication = format!("role:master\r\nmaster_replid:p1\r\nmaster_replid2:{NO_ID}\r\n");
        assert_eq!(ids(false, vec![info(server), info(&replication)]), ["p1", "r1"]);
        let after = "role:master\r\nmaster_replid:p2\r\nmaster_replid2:p1\r\n";
        assert_eq!(ids(false, vec![refused(), info(after)]), ["p1", "p2"]);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_replies_yield_only_ids_they_contain(
            text in mangled(NODES),
            other in reply(&["aa", "run_id:x"]),
        ) {
            let found = read(true, vec![Reply::Bulk(text.clone().into()), Reply::Nil]);
            proptest::prop_assert!(found.iter().all(|id| text.contains(id.as_str())));
            let _ids = (read(true, vec![other.clone()]), read(false, vec![other]));
        }
    }
}
