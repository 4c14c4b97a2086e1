//! What administration needs from the servers: the topology, and access to each node separately.
//!
//! This work is long and comes in bursts. It uses separate connections from a pool, so it never delays a `get`. Not
//! in here: what to do with the keys.

mod acl;
mod all_primaries;
mod certificates;
mod cluster_nodes;
mod describe;
mod identity;
mod info;
mod inspect;
mod member;
mod nodes;
mod pool;
mod primary;
mod queries;
mod run_id;
mod slow_log;
mod usage;
mod view;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::CacheError;
use futures::future::join_all;

pub use acl::{AclRules, AclSaved, AclSession, AclUser, PasswordHash};
pub use certificates::{ServerCertificates, server_certificates};
pub use cluster_nodes::{ClusterNode, ClusterState};
pub use describe::{Described, Description, KeyAttributes, KeyType};
pub use identity::Identity;
pub use info::{Memory, NodeInfo, ReplicaInfo, Replication};
pub use inspect::{Excerpt, Inspected};
pub use member::Member;
pub use primary::{Primary, ScanPage, Unlinked};
pub use queries::Permission;
pub use slow_log::SlowCall;
pub use usage::Usage;
pub use view::{NodeView, Role, SharedAddress, TopologyView};

use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Dialer;
use crate::error::accept;
use crate::node::Node;
use crate::router::Router;
use crate::single::Single;
use pool::Pools;
use primary::Kind;

/// Administration of the servers behind one client.
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

    /// Looks up the topology: every node with its role and slots, and the slots that no primary serves.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] naming `CACHE_ADDRS` if its addresses lead to several clusters. As any call if no node
    /// answers. A node that cannot be reached is not an error: the view
    /// shows it as unreachable.
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

    /// Looks up the topology and returns each primary for separate work.
    ///
    /// # Errors
    ///
    /// As [`topology`](Self::topology).
    pub async fn primaries(&self) -> Result<Vec<Primary>, CacheError> {
        Ok(self.primaries_of(&self.topology().await?))
    }

    /// The primaries of `view`, each for separate work.
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

    /// Removes `keys` of any slots, each on the node that serves it now. Redirections are followed, also into a slot
    /// that is migrating, so no key ends up in [`moved`](Unlinked::moved). The keys that failed, and the reason, are part
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
    let view_of = async |node: &Arc<Node>, role, of| {
        let trouble = node.send(&ping, deadline).await.err();
        let server_hello = node.server_hello();
        NodeView {
            id: None,
            address: node.address().clone(),
            role,
            slots: Vec::new(),
            primary: of,
            server: server_hello.server.clone(),
            version: server_hello.version.clone(),
            reachable: trouble.is_none(),
            trouble: trouble.map(|error| error.to_string()),
        }
    };
    let replicas = single.replicas();
    let of = || Some(primary.address().clone());
    let replicas = join_all(
        replicas
            .iter()
            .map(|replica| view_of(replica, Role::Replica, of())),
    );
    let (first, replicas) = futures::join!(view_of(&primary, Role::Primary, None), replicas);
    let nodes = std::iter::once(first).chain(replicas).collect();
    Ok(TopologyView {
        cluster: false,
        epoch: None,
        nodes,
        uncovered: Vec::new(),
        shared_addresses: Vec::new(),
    })
}
