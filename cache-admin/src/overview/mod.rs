//! The whole cache at one look: who is there, what it can do, how much it holds, and what is wrong with it.
//!
//! Numbers are the servers' own. A part that a server does not tell, or not to this user, is missing and makes
//! nothing else fail. Not in here: how it is shown, and checks that take a while, which are the doctor's.

mod capabilities;
pub(crate) mod node;
mod warnings;

use cache_core::config::{Backend, Topology};
use cache_core::{CacheConfig, CacheError, MemoryCache};
use cache_stack::{Foundation, Stack};
use cache_valkey::ValkeyClient;
use cache_valkey::admin::Member;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

pub use capabilities::{Capabilities, TrackingState};
pub use node::{NodeOverview, NodeRole};
pub use warnings::{Warning, WarningKind};

pub(crate) use node::compare;
pub(crate) use warnings::{eviction, of_replica};

/// The whole cache at one look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Overview {
    /// How the servers belong together.
    pub mode: Mode,
    /// The cluster's epoch, where it tells it.
    pub epoch: Option<u64>,
    /// What all primaries can do.
    pub capabilities: Capabilities,
    /// Keys on all primaries; missing where one of them does not tell.
    pub keys: Option<u64>,
    /// Bytes of memory in use on all primaries; missing where one of them does not tell.
    pub memory_used: Option<u64>,
    /// The share of reads that found a key, on all primaries since they started.
    pub hit_rate: Option<f64>,
    /// The nodes, primaries first, in the order of their slots.
    pub nodes: Vec<NodeOverview>,
    /// Ranges of slots, first and last, that no primary serves.
    pub uncovered: Vec<[u16; 2]>,
    /// What is wrong, or will be.
    pub warnings: Vec<Warning>,
}

/// How the servers belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = CacheMode))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// The embedded cache: no servers.
    Memory,
    /// One primary, perhaps with replicas.
    Single,
    /// A cluster.
    Cluster,
    /// A primary that sentinels watch.
    Sentinel,
}

impl Overview {
    /// The cache behind `stack`, asked now: every node at once, some round trips each.
    ///
    /// # Errors
    ///
    /// If no server says which servers there are. A node that does not answer is no error but is shown as such.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn of(stack: &Stack) -> Result<Self, CacheError> {
        match &stack.foundation {
            Foundation::Memory(cache) => Ok(Self::of_memory(cache, stack.config())),
            Foundation::Valkey(client) => Self::of_servers(client, Mode::of(stack.config())).await,
            _ => Err(CacheError::Unsupported {
                detail: "this backend does not tell how it does".into(),
            }),
        }
    }

    /// The primaries.
    pub fn primaries(&self) -> impl Iterator<Item = &NodeOverview> {
        self.nodes.iter().filter(|node| node.role == NodeRole::Primary)
    }

    fn of_memory(cache: &MemoryCache, config: &CacheConfig) -> Self {
        let limit = match &config.backend {
            Backend::Memory(memory) => Some(memory.max_bytes),
            _ => None,
        };
        Self {
            mode: Mode::Memory,
            epoch: None,
            capabilities: Capabilities::of_memory(),
            keys: Some(cache.len()),
            memory_used: Some(cache.bytes()),
            hit_rate: None,
            nodes: vec![NodeOverview::of_memory(cache, limit)],
            uncovered: Vec::new(),
            warnings: Vec::new(),
        }
    }

    async fn of_servers(client: &ValkeyClient, mode: Mode) -> Result<Self, CacheError> {
        let administration = client.administration();
        let view = administration.topology().await?;
        let members = administration.members_of(&view);
        let nodes = join_all(members.iter().map(async |member: &Member| {
            // What does not answer, or may not be asked, tells nothing.
            let vitals = member.info().await;
            let answers = vitals.is_ok();
            NodeOverview::of(member, vitals.ok().flatten(), answers)
        }));
        let (mut nodes, capabilities) = futures::join!(nodes, Capabilities::of(&members, client));
        compare(nodes.iter_mut());
        let uncovered: Vec<[u16; 2]> = node::pairs(&view.uncovered);
        let primaries = || nodes.iter().filter(|node| node.role == NodeRole::Primary);
        let warnings = warnings::of(&nodes, &uncovered, &capabilities);
        Ok(Self {
            mode,
            epoch: view.epoch,
            keys: primaries().map(|node| node.keys).sum(),
            memory_used: primaries().map(|node| node.memory_used).sum(),
            hit_rate: share(
                primaries().filter_map(|node| node.hits).sum(),
                primaries().filter_map(|node| node.misses).sum(),
            ),
            capabilities,
            uncovered,
            warnings,
            nodes,
        })
    }
}

impl Mode {
    /// What `config` says of it.
    #[must_use]
    pub const fn of(config: &CacheConfig) -> Self {
        match &config.backend {
            Backend::Valkey(valkey) => match &valkey.topology {
                Topology::Cluster { .. } => Self::Cluster,
                Topology::Sentinel { .. } => Self::Sentinel,
                _ => Self::Single,
            },
            _ => Self::Memory,
        }
    }

    /// Its name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Single => "single",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
        }
    }
}

/// The share of `hits` in all reads; `None` where there were none.
#[expect(clippy::cast_precision_loss, reason = "a share of counts far below 2^52")]
pub(crate) fn share(hits: u64, misses: u64) -> Option<f64> {
    let reads = hits.saturating_add(misses);
    (reads > 0).then(|| hits as f64 / reads as f64)
}

#[cfg(test)]
mod tests {
    use cache_core::{CacheClient as _, Ttl};

    use super::*;

    #[tokio::test]
    async fn the_embedded_cache_is_one_node_that_can_be_read_back_from_json() {
        let stack = cache_stack::assemble(&CacheConfig::default()).await.unwrap();
        let stored = stack.client.set("key", "value".into(), Ttl::Forever);
        stored.await.unwrap();
        let overview = Overview::of(&stack).await.unwrap();
        assert_eq!((overview.mode, overview.keys), (Mode::Memory, Some(1)));
        assert_eq!(overview.primaries().count(), 1);
        assert!(overview.memory_used > Some(0));
        let json = serde_json::to_string(&overview).unwrap();
        assert!(json.contains(r#""mode":"memory""#), "{json}");
        assert_eq!(serde_json::from_str::<Overview>(&json).unwrap(), overview);
    }
}
