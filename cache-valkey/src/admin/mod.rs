//! What administration needs of the servers: who is there, and each primary by itself.
//!
//! Work of this kind is long and comes in bursts, so it runs over connections of its own, taken from a
//! pool, and never stands in front of a `get`. What to do with the keys is not decided here.

mod acl;
mod asking;
mod certificates;
mod describe;
mod gossip;
mod identity;
mod incarnation;
mod inspect;
mod member;
mod pool;
mod primary;
mod roster;
mod slow_log;
mod spare;
mod usage;
mod view;
mod vitals;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::CacheError;
use futures::future::join_all;

pub use acl::{AclRules, AclSaved, AclSession, AclUser, PasswordHash};
pub use asking::Permission;
pub use certificates::{Presented, presented};
pub use describe::{Described, Description, KeyType, Traits};
pub use gossip::{ClusterState, Neighbour};
pub use identity::Identity;
pub use inspect::{Excerpt, Inspected};
pub use member::Member;
pub use primary::{Primary, ScanPage, Unlinked};
pub use slow_log::SlowCall;
pub use usage::Usage;
pub use view::{NodeView, Role, SharedAddress, TopologyView};
pub use vitals::{Copying, Memory, Replication, Vitals};

use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Dialer;
use crate::error::accept;
use crate::node::Node;
use crate::router::Router;
use crate::single::Single;
use pool::Pools;
use primary::Kind;

/// The door to administration of the servers behind one client.
#[derive(Clone, Debug)]
pub struct Administration {
    router: Router,
    pools: Arc<Pools>,
    timeout: Duration,
}

impl Administration {
    pub(crate) fn new(router: Router, dialer: Arc<Dialer>, timeout: Duration) -> Self {
        Self {
            router,
            pools: Arc::new(Pools::new(dialer)),
            timeout,
        }
    }

    /// Who is there, looked up anew: every node, its role, its slots, and slots that nobody serves.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] naming `CACHE_ADDRS` if its addresses lead to several clusters. As any call where nobody
    /// can be asked. A node that cannot be reached is no error but is shown as
    /// such.
    pub async fn topology(&self) -> Result<TopologyView, CacheError> {
        let deadline = Deadline::after(self.timeout);
        let view = match &self.router {
            Router::Single(single) => single_view(single, deadline).await?,
            Router::Cluster(cluster) => {
                cluster.refresh_thoroughly(deadline).await?;
                cluster.view(deadline).await
            }
        };
        self.pools.keep_only(&view.nodes);
        Ok(view)
    }

    /// Each primary by itself, as the topology is now.
    ///
    /// # Errors
    ///
    /// As [`topology`](Self::topology).
    pub async fn primaries(&self) -> Result<Vec<Primary>, CacheError> {
        Ok(self.primaries_of(&self.topology().await?))
    }

    /// The primaries of `view`, each by itself.
    #[must_use]
    pub fn primaries_of(&self, view: &TopologyView) -> Vec<Primary> {
        let primaries = view.nodes.iter().filter(|node| node.role == Role::Primary);
        primaries
            .map(|node| Primary {
                address: node.address.clone(),
                expected: node.expected(),
                slots: node.slots.clone(),
                epoch: None,
                kind: Kind::of(view.cluster, &node.server, &node.version),
                bound: None,
                pools: Arc::clone(&self.pools),
                timeout: self.timeout,
            })
            .collect()
    }

    /// Removes `keys`, of any slots, each wherever it lives now. Redirections are followed, also into a slot
    /// that moves at the moment, so that none is [`moved`](Unlinked::moved); those that fail, and why, are part
    /// of the answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; keys that were sent may be removed.
    pub async fn unlink(&self, keys: &[Bytes]) -> Unlinked {
        let deadline = Deadline::after(self.timeout);
        let unlink = async |key: &Bytes| {
            let reply = self
                .router
                .send(&Command::write("UNLINK").key(key), deadline)
                .await;
            accept(reply?, "UNLINK")?.into_count()
        };
        let mut unlinked = Unlinked::default();
        for (key, removed) in keys.iter().zip(join_all(keys.iter().map(unlink)).await) {
            match removed {
                Ok(removed) => unlinked.removed += removed,
                Err(error) => unlinked.fail(std::slice::from_ref(key), error),
            }
        }
        unlinked
    }

    pub(crate) fn close(&self) {
        self.pools.close();
    }
}

async fn single_view(single: &Single, deadline: Deadline) -> Result<TopologyView, CacheError> {
    let primary = single.primary()?;
    let ping = Command::read("PING");
    let look = async |node: &Arc<Node>, role, of| {
        let trouble = node.send(&ping, deadline).await.err();
        let greeting = node.greeting();
        NodeView {
            id: None,
            address: node.address().clone(),
            role,
            slots: Vec::new(),
            primary: of,
            server: greeting.server.clone(),
            version: greeting.version.clone(),
            reachable: trouble.is_none(),
            trouble: trouble.map(|error| error.to_string()),
        }
    };
    let replicas = single.replicas();
    let of = || Some(primary.address().clone());
    let replicas = join_all(replicas.iter().map(|replica| look(replica, Role::Replica, of())));
    let (first, replicas) = futures::join!(look(&primary, Role::Primary, None), replicas);
    let nodes = std::iter::once(first).chain(replicas).collect();
    Ok(TopologyView {
        cluster: false,
        epoch: None,
        nodes,
        uncovered: Vec::new(),
        shared_addresses: Vec::new(),
    })
}
