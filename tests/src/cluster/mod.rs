//! A cluster: put together by the servers' own commands, then hurt and reshaped.
//!
//! What it is made of: [`options`]. Who owns what, as nodes tell it: [`topology`]. Moving slots: [`slots`].

mod options;
mod slots;
mod topology;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::server::Server;
use crate::wait::until;

pub use options::ClusterOptions;
pub use topology::{Member, Topology};

/// Slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// How long nodes may take to agree on something.
const AGREE: Duration = Duration::from_secs(30);

/// How often within that a failover is asked for.
const TRIES: u32 = 5;

/// A running cluster. Nodes are named by index: first the primaries in the order of their slots, then the
/// first replica of each, then the second of each, then those added later. Failovers change who is primary,
/// not the index.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    nodes: Vec<Server>,
    ids: Vec<String>,
}

impl Cluster {
    /// Starts a cluster whose primaries share the slots evenly, and waits until every node says it is up and
    /// every replica follows.
    ///
    /// # Errors
    ///
    /// When a node does not start or the nodes do not come to agree.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        if options.primaries == 0 {
            bail!("a cluster needs a primary");
        }
        let count = options.primaries * (options.replicas + 1);
        let mut starting = tokio::task::JoinSet::new();
        for index in 0..count {
            let node = options.for_node(index);
            starting.spawn(async move { (index, Server::start(node).await) });
        }
        let mut nodes = Vec::with_capacity(count);
        while let Some(started) = starting.join_next().await {
            let (index, server) = started?;
            nodes.push((index, server?));
        }
        nodes.sort_by_key(|(index, _)| *index);
        let nodes: Vec<Server> = nodes.into_iter().map(|(_, server)| server).collect();
        let mut ids = Vec::with_capacity(count);
        for node in &nodes {
            ids.push(node.call(&["CLUSTER", "MYID"]).await?.text());
        }
        let cluster = Self { options, nodes, ids };
        cluster.assemble().await?;
        Ok(cluster)
    }

    async fn assemble(&self) -> Result<()> {
        let primaries = self.options.primaries;
        for (index, node) in self.nodes.iter().enumerate() {
            let mut connection = node.connect().await?;
            connection
                .call(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])
                .await?;
            if index < primaries {
                let (first, last) = share(index, primaries)?;
                connection
                    .call(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])
                    .await?;
            }
        }
        self.acquaint().await?;
        for (index, node) in self.nodes.iter().enumerate().skip(primaries) {
            node.call(&["CLUSTER", "REPLICATE", &self.ids[index % primaries]])
                .await?;
        }
        self.wait_until_ok().await
    }

    /// Makes all nodes known to each other.
    ///
    /// A server gives an introduction up that is not answered within the node timeout, which a busy machine
    /// reaches. So nodes that the first one does not know after a while are introduced again.
    ///
    /// # Errors
    ///
    /// When the nodes do not all know each other in time. The error says how many nodes each of them knows.
    pub async fn acquaint(&self) -> Result<()> {
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            let known = topology::of(&self.nodes[0]).await?;
            for node in &self.nodes[1..] {
                // Asked, because a reset gives a node another id.
                let id = node.call(&["CLUSTER", "MYID"]).await?.text();
                if known.member(&id).is_none_or(|member| member.handshake) {
                    self.introduce(node).await?;
                }
            }
            let all_know = || async { Ok(self.are_acquainted().await?.then_some(())) };
            if until(AGREE / TRIES, "all nodes to know each other", all_know)
                .await
                .is_ok()
            {
                return Ok(());
            }
        }
        let mut counts = Vec::new();
        for node in &self.nodes {
            let known = topology::of(node).await?;
            counts.push(known.members().iter().filter(|member| !member.handshake).count());
        }
        bail!(
            "the {} nodes do not know each other after {AGREE:?}: they know {counts:?}",
            self.nodes.len()
        )
    }

    /// Makes a node known to the first one, which tells the others.
    async fn introduce(&self, node: &Server) -> Result<()> {
        let (host, port, bus) = (
            node.host().to_string(),
            node.port().to_string(),
            node.bus_port().to_string(),
        );
        self.nodes[0]
            .call(&["CLUSTER", "MEET", &host, &port, &bus])
            .await?;
        Ok(())
    }

    async fn are_acquainted(&self) -> Result<bool> {
        for node in &self.nodes {
            let known = topology::of(node).await?;
            let knows_all = known.members().len() == self.nodes.len();
            if !knows_all || known.members().iter().any(|member| member.handshake) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All nodes, by index.
    #[must_use]
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// How many keys its primaries hold, all together.
    ///
    /// # Errors
    ///
    /// When a node does not answer.
    pub async fn keys(&self) -> Result<u64> {
        let mut keys = 0;
        for node in &self.nodes {
            if node.info("role").await? == "master" {
                let held = node.call(&["DBSIZE"]).await?.integer().context("DBSIZE")?;
                keys += u64::try_from(held)?;
            }
        }
        Ok(keys)
    }

    /// One node.
    ///
    /// # Panics
    ///
    /// When there is no such node.
    #[must_use]
    pub fn node(&self, index: usize) -> &Server {
        &self.nodes[index]
    }

    /// The cluster's own name of a node.
    ///
    /// # Panics
    ///
    /// When there is no such node.
    #[must_use]
    pub fn id(&self, index: usize) -> &str {
        &self.ids[index]
    }

    /// `host:port` of every node.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(Server::address).collect()
    }

    /// What the cluster looks like to the first node that answers.
    ///
    /// # Errors
    ///
    /// When no node answers.
    pub async fn topology(&self) -> Result<Topology> {
        for node in &self.nodes {
            // A stopped node accepts connections and never answers.
            if let Ok(Ok(topology)) =
                tokio::time::timeout(Duration::from_millis(500), topology::of(node)).await
            {
                return Ok(topology);
            }
        }
        bail!("no node of the cluster answers")
    }

    /// The node that owns a slot now.
    ///
    /// # Errors
    ///
    /// When nobody does, or no node answers.
    pub async fn primary_of(&self, slot: u16) -> Result<usize> {
        let topology = self.topology().await?;
        let owner = topology
            .owner(slot)
            .with_context(|| format!("nobody owns slot {slot}"))?;
        self.index(&owner.id)
    }

    /// The replicas of a primary now.
    ///
    /// # Errors
    ///
    /// When no node answers.
    pub async fn replicas_of(&self, primary: usize) -> Result<Vec<usize>> {
        let topology = self.topology().await?;
        topology
            .replicas(&self.ids[primary])
            .map(|member| self.index(&member.id))
            .collect()
    }

    /// Kills a node (`SIGKILL`); see [`Server::kill`].
    ///
    /// # Errors
    ///
    /// When the process cannot be reached.
    pub fn kill(&self, node: usize) -> Result<()> {
        self.nodes[node].kill()
    }

    /// Stops a node in its tracks; see [`Server::pause`].
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn pause(&self, node: usize) -> Result<()> {
        self.nodes[node].pause()
    }

    /// Lets a stopped node go on; see [`Server::resume`].
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn resume(&self, node: usize) -> Result<()> {
        self.nodes[node].resume()
    }

    /// Starts a killed node again under its old identity; it comes back without data and, where a replica
    /// took its place, as a replica.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub async fn restart(&self, node: usize) -> Result<()> {
        self.nodes[node].restart().await
    }

    /// Makes a replica the primary, without loss (`CLUSTER FAILOVER`), and waits until all nodes know.
    ///
    /// # Errors
    ///
    /// When it is no replica, or the nodes do not come to agree.
    pub async fn failover(&self, replica: usize) -> Result<()> {
        let (heir, id) = (&self.nodes[replica], &self.ids[replica]);
        heir.call(&["CLUSTER", "FAILOVER"]).await?;
        let all_know = || async {
            for node in &self.nodes {
                let topology = topology::of(node).await?;
                if !topology.member(id).is_some_and(|member| member.primary) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        // A server gives up a failover that does not come to its end in time, as on a starved machine.
        for _ in 0..TRIES {
            if until(AGREE / TRIES, "all nodes to know the new primary", all_know)
                .await
                .is_ok()
            {
                return Ok(());
            }
            // Refused where it has become the primary by now.
            let _ = heir.call(&["CLUSTER", "FAILOVER"]).await;
        }
        until(AGREE, "all nodes to know the new primary", all_know).await
    }

    /// Waits until a node other than `old` owns `slot` and the cluster is up again, as its live nodes see it;
    /// returns that node.
    ///
    /// # Errors
    ///
    /// When nobody took over in half a minute.
    pub async fn wait_for_new_primary(&self, slot: u16, old: usize) -> Result<usize> {
        until(AGREE, "a new primary", || async {
            let topology = self.topology().await?;
            let Some(owner) = topology.owner(slot) else {
                return Ok(None);
            };
            let owner = self.index(&owner.id)?;
            Ok((owner != old && is_ok(&self.nodes[owner]).await?).then_some(owner))
        })
        .await
    }

    /// Waits until every node says that all slots are served, all agree on who is what, and every replica follows
    /// its primary.
    ///
    /// # Errors
    ///
    /// When that takes more than half a minute, as it does while a node is down.
    pub async fn wait_until_ok(&self) -> Result<()> {
        until(AGREE, "every node to be up and in step", || async {
            let first = topology::of(&self.nodes[0]).await?;
            for (node, id) in self.nodes.iter().zip(&self.ids) {
                let topology = topology::of(node).await?;
                // A primary that was replaced holds itself for one when it returns, until it hears of its heir.
                if !topology.agrees_with(&first) {
                    return Ok(None);
                }
                let me = topology.member(id).context("a node does not know itself")?;
                let follows = me.primary || node.info("master_link_status").await? == "up";
                let complete = topology.members().len() == self.nodes.len()
                    && topology.members().iter().all(|member| !member.failing);
                if !(follows && complete && is_ok(node).await?) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// Starts one more primary, without slots, and makes it known to all. Returns its index.
    ///
    /// # Errors
    ///
    /// When it does not start or the nodes do not come to agree.
    pub async fn add_node(&mut self) -> Result<usize> {
        let index = self.nodes.len();
        let node = Server::start(self.options.for_node(index)).await?;
        self.ids.push(node.call(&["CLUSTER", "MYID"]).await?.text());
        self.nodes.push(node);
        self.acquaint().await?;
        self.wait_until_ok().await?;
        Ok(index)
    }

    fn index(&self, id: &str) -> Result<usize> {
        self.ids
            .iter()
            .position(|known| known == id)
            .with_context(|| format!("node {id} is not one of ours"))
    }
}

/// The slots of primary `index` of `primaries`, first and last.
pub(crate) fn share(index: usize, primaries: usize) -> Result<(u16, u16)> {
    let bound = |index: usize| u16::try_from(usize::from(SLOTS) * index / primaries);
    Ok((bound(index)?, bound(index + 1)? - 1))
}

async fn is_ok(node: &Server) -> Result<bool> {
    Ok(node
        .call(&["CLUSTER", "INFO"])
        .await?
        .text()
        .contains("cluster_state:ok"))
}
