//! One node in the overview.

use std::ops::RangeInclusive;
use std::time::Duration;

use cache_core::MemoryCache;
use cache_valkey::admin::{Member, NodeInfo, Role};
use serde::{Deserialize, Serialize};

/// One node. What it does not tell is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NodeOverview {
    /// Where it is.
    pub address: String,
    /// What it is.
    pub role: NodeRole,
    /// The primary that a replica copies.
    pub primary: Option<String>,
    /// The ranges of slots that it serves, first and last; none outside of a cluster.
    pub slots: Vec<[u16; 2]>,
    /// Whether it answered.
    pub reachable: bool,
    /// What it calls itself, such as `valkey`.
    pub server: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// For how many seconds it has been running.
    pub uptime_seconds: Option<u64>,
    /// Connections of clients.
    pub clients: Option<u64>,
    /// Commands in the last second or so.
    pub ops_per_second: Option<u64>,
    /// Commands since its start.
    pub commands: Option<u64>,
    /// Reads that found a key, since its start.
    pub hits: Option<u64>,
    /// Reads that found none, since its start.
    pub misses: Option<u64>,
    /// The share of hits, since its start.
    pub hit_rate: Option<f64>,
    /// Keys.
    pub keys: Option<u64>,
    /// Those of the keys that have an end of life.
    pub keys_with_ttl: Option<u64>,
    /// Memory in use, in bytes.
    pub memory_used: Option<u64>,
    /// The limit of the memory, in bytes; 0 is none.
    pub memory_limit: Option<u64>,
    /// What it does at the limit, such as `noeviction`.
    pub memory_policy: Option<String>,
    /// What it takes of the machine's memory, in bytes.
    pub memory_resident: Option<u64>,
    /// The machine's memory that it takes by the memory in use.
    pub fragmentation: Option<f64>,
    /// Keys that were evicted, since its start.
    pub evicted: Option<u64>,
    /// Keys whose life ended, since its start.
    pub expired: Option<u64>,
    /// What its main thread has worked since its start, in seconds.
    pub main_thread_seconds: Option<f64>,
    /// Of a replica: whether it is connected to its primary.
    pub linked: Option<bool>,
    /// Of a replica: for how many seconds its primary has been silent.
    pub silent_seconds: Option<u64>,
    /// How far it is in the stream of changes.
    pub offset: Option<u64>,
    /// Of a replica: how many bytes of changes it is behind its primary, where both tell.
    pub behind_bytes: Option<u64>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// Takes writes.
    Primary,
    /// Copies a primary.
    Replica,
}

impl NodeOverview {
    pub(crate) fn of(member: &Member, vitals: Option<NodeInfo>, reachable: bool) -> Self {
        let view = member.view();
        let vitals = vitals.unwrap_or_default();
        let told = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Self {
            address: view.address.to_string(),
            role: view.role.into(),
            primary: view.primary.as_ref().map(ToString::to_string),
            slots: pairs(&view.slots),
            reachable,
            server: vitals.server.clone().or_else(|| told(&view.server)),
            version: vitals.version.clone().or_else(|| told(&view.version)),
            uptime_seconds: vitals.uptime.map(|time| time.as_secs()),
            clients: vitals.clients,
            ops_per_second: vitals.operations_per_second,
            commands: vitals.commands,
            hits: vitals.hits,
            misses: vitals.misses,
            hit_rate: vitals.hit_rate(),
            keys: vitals.keys,
            keys_with_ttl: vitals.keys_with_ttl,
            memory_used: vitals.memory.used,
            memory_limit: vitals.memory.limit,
            memory_policy: vitals.memory.policy,
            memory_resident: vitals.memory.resident,
            fragmentation: vitals.memory.fragmentation,
            evicted: vitals.evicted,
            expired: vitals.expired,
            main_thread_seconds: vitals.main_thread.map(|time| time.as_secs_f64()),
            linked: vitals.replication.linked,
            silent_seconds: vitals.replication.silence.map(|time: Duration| time.as_secs()),
            offset: vitals.replication.offset,
            behind_bytes: None,
        }
    }

    pub(super) fn of_memory(cache: &MemoryCache, limit: Option<u64>) -> Self {
        Self {
            reachable: true,
            keys: Some(cache.len()),
            memory_used: Some(cache.bytes()),
            memory_limit: limit,
            memory_policy: Some("sieve".to_owned()),
            evicted: Some(cache.evictions()),
            ..Self::unknown("memory", NodeRole::Primary)
        }
    }

    /// A node of which nothing is known.
    pub(super) fn unknown(address: &str, role: NodeRole) -> Self {
        Self {
            address: address.to_owned(),
            role,
            primary: None,
            slots: Vec::new(),
            reachable: false,
            server: None,
            version: None,
            uptime_seconds: None,
            clients: None,
            ops_per_second: None,
            commands: None,
            hits: None,
            misses: None,
            hit_rate: None,
            keys: None,
            keys_with_ttl: None,
            memory_used: None,
            memory_limit: None,
            memory_policy: None,
            memory_resident: None,
            fragmentation: None,
            evicted: None,
            expired: None,
            main_thread_seconds: None,
            linked: None,
            silent_seconds: None,
            offset: None,
            behind_bytes: None,
        }
    }
}

impl From<Role> for NodeRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Primary => Self::Primary,
            Role::Replica => Self::Replica,
        }
    }
}

/// Works out how far each replica is behind the primary that it copies.
pub(crate) fn compare<'a>(nodes: impl Iterator<Item = &'a mut NodeOverview>) {
    let (primaries, replicas): (Vec<_>, Vec<_>) = nodes.partition(|node| node.role == NodeRole::Primary);
    for node in replicas {
        let ahead = primaries
            .iter()
            .find(|primary| node.primary.as_ref() == Some(&primary.address));
        node.behind_bytes = ahead
            .and_then(|primary| primary.offset)
            .zip(node.offset)
            .map(|(primary, own)| primary.saturating_sub(own));
    }
}

/// Ranges as pairs of the first and the last slot.
pub(crate) fn pairs(ranges: &[RangeInclusive<u16>]) -> Vec<[u16; 2]> {
    let ranges = ranges.iter();
    ranges.map(|range| [*range.start(), *range.end()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_compared_with_its_own_primary() {
        let node = |address: &str, role, primary: Option<&str>, offset| NodeOverview {
            primary: primary.map(str::to_owned),
            offset: Some(offset),
            ..NodeOverview::unknown(address, role)
        };
        let mut nodes = [
            node("a:1", NodeRole::Primary, None, 100),
            node("b:1", NodeRole::Primary, None, 900),
            node("c:1", NodeRole::Replica, Some("a:1"), 60),
            node("d:1", NodeRole::Replica, Some("x:1"), 60),
        ];
        compare(nodes.iter_mut());
        let behind: Vec<_> = nodes.iter().map(|node| node.behind_bytes).collect();
        assert_eq!(behind, [None, None, Some(40), None]);
    }
}
