//! Builds the admin view of the cluster: every node, its identity, and whether it can be reached.

use std::time::Duration;

use futures::future::join_all;

use super::Cluster;
use super::topology::{AmbiguousAddress, ClusterNode};
use crate::admin::{NodeView, Role, SharedAddress, TopologyView};
use crate::command::Command;
use crate::deadline::Deadline;

/// How long to wait for a node's answer.
const LIMIT: Duration = Duration::from_secs(1);

impl Cluster {
    /// The known nodes, each pinged within the deadline.
    pub(crate) async fn view(&self, deadline: Deadline) -> TopologyView {
        let table = self.table.load_full();
        let topology = table.topology();
        let mut shards: Vec<_> = topology.shards.iter().collect();
        shards.sort_unstable_by_key(|shard| shard.slots.first().map(|range| *range.start()));
        let (mut primaries, mut replicas) = (Vec::new(), Vec::new());
        for shard in shards {
            let slot = shard.slots.first().map_or(0, |range| *range.start());
            let Some(nodes) = table.shard(slot) else { continue };
            primaries.push((nodes.primary(), Role::Primary, shard));
            replicas.extend(nodes.replicas().map(|replica| (replica, Role::Replica, shard)));
        }
        primaries.append(&mut replicas);
        let limit = Deadline::after(LIMIT.min(deadline.remaining()));
        let nodes = primaries.into_iter().map(|(node, role, shard)| async move {
            let trouble = node.send(&Command::read("PING"), limit).await.err();
            let server_hello = node.server_hello();
            let is_primary = role == Role::Primary;
            let own = |known: &&ClusterNode| known.address == *node.address();
            let id = std::iter::once(&shard.primary).chain(&shard.replicas).find(own);
            NodeView {
                id: id.and_then(|known| Some(known.id.as_ref()?.as_str().to_owned())),
                address: node.address().clone(),
                role,
                slots: if is_primary {
                    shard.slots.clone()
                } else {
                    Vec::new()
                },
                primary: (!is_primary).then(|| shard.primary.address.clone()),
                server: server_hello.server.clone(),
                version: server_hello.version.clone(),
                reachable: trouble.is_none(),
                trouble: trouble.map(|error| error.to_string()),
            }
        });
        TopologyView {
            cluster: true,
            epoch: (topology.epoch != 0).then_some(topology.epoch),
            nodes: join_all(nodes).await,
            uncovered: topology.unserved(),
            shared_addresses: topology.shared.iter().map(shared_address).collect(),
        }
    }
}

fn shared_address(shared: &AmbiguousAddress) -> SharedAddress {
    SharedAddress {
        address: shared.address.clone(),
        nodes: shared.nodes.iter().map(|id| id.as_str().to_owned()).collect(),
        slots: shared.slots.clone(),
    }
}
