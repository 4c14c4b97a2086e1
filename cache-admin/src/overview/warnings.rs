//! What is wrong with a cache, or will be, in sentences. Pure: from numbers to words.

use serde::{Deserialize, Serialize};

use super::{Capabilities, NodeOverview, NodeRole, TrackingState};
use crate::SlotSet;

/// From this share of its limit on, memory is nearly full.
const NEARLY_FULL: f64 = 0.9;
/// More of the machine's memory than this, for each byte in use, is lost.
const FRAGMENTED: f64 = 1.5;
/// Less than this of it is nothing to worry about.
const FRAGMENTS: u64 = 128 * 1024 * 1024;
/// A replica that is further behind would lose that much in a failover.
const BEHIND: u64 = 16 * 1024 * 1024;
/// A primary that was silent for longer is not followed. It sends a sign of life every ten seconds.
const SILENT: u64 = 30;

/// Something that is wrong, or will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Warning {
    /// What it is, for programs.
    pub kind: WarningKind,
    /// The node that it is about, where it is about one.
    pub node: Option<String>,
    /// What it is and what comes of it, for people.
    pub message: String,
}

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WarningKind {
    /// Slots that no primary serves.
    UncoveredSlots,
    /// A primary does not answer.
    PrimaryUnreachable,
    /// A replica does not answer.
    ReplicaUnreachable,
    /// A replica has lost its primary.
    ReplicaUnlinked,
    /// A replica is far behind.
    ReplicaBehind,
    /// A primary has no replica although others have.
    NoReplica,
    /// At its limit of memory a primary refuses writes.
    NoEviction,
    /// At its limit of memory a primary may evict only keys that have a TTL, and few have.
    LittleToEvict,
    /// A primary has no limit of memory.
    NoMemoryLimit,
    /// A primary is near its limit of memory.
    MemoryNearlyFull,
    /// A node takes much more memory than it uses.
    Fragmented,
    /// The nodes are of different versions.
    VersionsDiffer,
    /// The servers do not report changes of keys.
    TrackingOff,
}

/// What there is to say of these nodes.
pub(super) fn of(nodes: &[NodeOverview], uncovered: &[[u16; 2]], can: &Capabilities) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if !uncovered.is_empty() {
        let slots: SlotSet = uncovered.iter().map(|[first, last]| *first..=*last).collect();
        warnings.push(Warning {
            kind: WarningKind::UncoveredSlots,
            node: None,
            message: format!(
                "no primary serves the slots {slots}: their keys can be neither read nor written"
            ),
        });
    }
    for node in nodes {
        let found = match node.role {
            NodeRole::Primary => of_primary(node, nodes),
            NodeRole::Replica => of_replica(node),
        };
        let found = found.into_iter().chain(fragmentation(node));
        warnings.extend(found.map(|(kind, message)| Warning {
            kind,
            node: Some(node.address.clone()),
            message: format!("{} {message}", node.address),
        }));
    }
    warnings.extend(of_all(nodes, can));
    warnings
}

fn of_all(nodes: &[NodeOverview], can: &Capabilities) -> Vec<Warning> {
    let whole = |kind, message| Warning {
        kind,
        node: None,
        message,
    };
    let mut warnings = Vec::new();
    let mut versions: Vec<String> = nodes
        .iter()
        .filter_map(|node| Some(format!("{} {}", node.server.as_ref()?, node.version.as_ref()?)))
        .collect();
    versions.sort();
    versions.dedup();
    if versions.len() > 1 {
        warnings.push(whole(
            WarningKind::VersionsDiffer,
            format!(
                "the nodes are of different versions ({}): finish the upgrade",
                versions.join(", ")
            ),
        ));
    }
    if can.tracking == TrackingState::Off {
        let reason = can.tracking_reason.as_deref().unwrap_or("no reason was given");
        warnings.push(whole(
            WarningKind::TrackingOff,
            format!("the servers do not report changes, so near tiers go by a short life: {reason}"),
        ));
    }
    warnings
}

fn of_primary(node: &NodeOverview, nodes: &[NodeOverview]) -> Vec<(WarningKind, String)> {
    if !node.reachable {
        return vec![(WarningKind::PrimaryUnreachable, "does not answer".to_owned())];
    }
    let mut found: Vec<_> = eviction(node).into_iter().collect();
    let copied = |primary: &NodeOverview| {
        nodes
            .iter()
            .any(|node| node.primary.as_ref() == Some(&primary.address))
    };
    let others_are = nodes
        .iter()
        .any(|other| other.role == NodeRole::Primary && copied(other));
    if others_are && !copied(node) {
        let message = "has no replica, unlike others: if it fails, its keys are gone".to_owned();
        found.push((WarningKind::NoReplica, message));
    }
    if let (Some(used), Some(limit @ 1..)) = (node.memory_used, node.memory_limit) {
        let share = ratio(used, limit);
        if share >= NEARLY_FULL {
            found.push((
                WarningKind::MemoryNearlyFull,
                format!("uses {:.0} % of its memory limit", share * 100.0),
            ));
        }
    }
    found
}

/// What is wrong with what a primary does at its limit of memory.
pub(crate) fn eviction(node: &NodeOverview) -> Option<(WarningKind, String)> {
    let (limit, policy) = (node.memory_limit?, node.memory_policy.as_deref()?);
    let (keys, mortal) = (node.keys.unwrap_or(0), node.keys_with_ttl.unwrap_or(0));
    if limit == 0 {
        return Some((
            WarningKind::NoMemoryLimit,
            "has no memory limit (maxmemory 0): it grows until the system stops it".to_owned(),
        ));
    }
    if policy == "noeviction" {
        let of_keys = if mortal > 0 {
            format!(
                "; {mortal} of its {keys} keys have a TTL, so it serves as a cache: choose an allkeys policy"
            )
        } else {
            String::new()
        };
        return Some((
            WarningKind::NoEviction,
            format!("refuses writes once its memory limit is reached (noeviction){of_keys}"),
        ));
    }
    // Below a few keys a share says nothing.
    if policy.starts_with("volatile-") && keys >= 100 && mortal < keys / 10 {
        return Some((
            WarningKind::LittleToEvict,
            format!(
                "may evict only keys with a TTL ({policy}), and only {mortal} of its {keys} keys have one: \
                 writes will be refused once the others fill its memory"
            ),
        ));
    }
    None
}

/// What is wrong with how a replica follows its primary.
pub(crate) fn of_replica(node: &NodeOverview) -> Vec<(WarningKind, String)> {
    if !node.reachable {
        return vec![(WarningKind::ReplicaUnreachable, "does not answer".to_owned())];
    }
    if node.linked == Some(false) {
        let message = "has lost its primary and serves old data".to_owned();
        return vec![(WarningKind::ReplicaUnlinked, message)];
    }
    if let Some(behind @ BEHIND..) = node.behind_bytes {
        let message = format!("is {behind} bytes of changes behind its primary");
        return vec![(WarningKind::ReplicaBehind, message)];
    }
    if let Some(seconds @ SILENT..) = node.silent_seconds {
        let message = format!("has heard nothing of its primary for {seconds} s");
        return vec![(WarningKind::ReplicaBehind, message)];
    }
    Vec::new()
}

fn fragmentation(node: &NodeOverview) -> Option<(WarningKind, String)> {
    let (used, resident) = (node.memory_used?, node.memory_resident?);
    let factor = ratio(resident, used);
    (factor > FRAGMENTED && resident.saturating_sub(used) > FRAGMENTS).then(|| {
        (
            WarningKind::Fragmented,
            format!(
                "takes {factor:.1} times the memory that it uses: activedefrag, or a restart, gives it back"
            ),
        )
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share of counts far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary() -> NodeOverview {
        NodeOverview {
            reachable: true,
            server: Some("valkey".into()),
            version: Some("8.0.1".into()),
            keys: Some(1_000),
            keys_with_ttl: Some(1_000),
            memory_used: Some(500),
            memory_limit: Some(1_000),
            memory_policy: Some("allkeys-lru".into()),
            ..NodeOverview::unknown("a:1", NodeRole::Primary)
        }
    }

    fn replica() -> NodeOverview {
        NodeOverview {
            address: "b:1".into(),
            role: NodeRole::Replica,
            primary: Some("a:1".into()),
            linked: Some(true),
            ..primary()
        }
    }

    fn kinds(nodes: &[NodeOverview], uncovered: &[[u16; 2]]) -> Vec<WarningKind> {
        let can = Capabilities::of_memory();
        let warnings = of(nodes, uncovered, &can).into_iter();
        warnings.map(|warning| warning.kind).collect()
    }

    #[test]
    fn of_a_healthy_pair_there_is_nothing_to_say() {
        assert_eq!(kinds(&[primary(), replica()], &[]), []);
    }

    #[test]
    fn each_thing_that_is_wrong_is_said_once() {
        type Harm = fn(&mut NodeOverview);
        let of_primary: [(Harm, WarningKind); 7] = [
            (|node| node.reachable = false, WarningKind::PrimaryUnreachable),
            (
                |node| node.memory_policy = Some("noeviction".into()),
                WarningKind::NoEviction,
            ),
            (|node| node.memory_limit = Some(0), WarningKind::NoMemoryLimit),
            (|node| node.memory_used = Some(900), WarningKind::MemoryNearlyFull),
            (
                |node| node.memory_resident = Some(1 << 30),
                WarningKind::Fragmented,
            ),
            (
                |node| node.version = Some("9.1.0".into()),
                WarningKind::VersionsDiffer,
            ),
            (
                |node| {
                    node.memory_policy = Some("volatile-lru".into());
                    node.keys_with_ttl = Some(5);
                },
                WarningKind::LittleToEvict,
            ),
        ];
        for (harm, kind) in of_primary {
            let mut hurt = primary();
            harm(&mut hurt);
            assert_eq!(kinds(&[hurt, replica()], &[]), [kind]);
        }
        let of_replica: [(Harm, WarningKind); 4] = [
            (|node| node.reachable = false, WarningKind::ReplicaUnreachable),
            (|node| node.linked = Some(false), WarningKind::ReplicaUnlinked),
            (
                |node| node.behind_bytes = Some(1 << 30),
                WarningKind::ReplicaBehind,
            ),
            (|node| node.silent_seconds = Some(90), WarningKind::ReplicaBehind),
        ];
        for (harm, kind) in of_replica {
            let mut hurt = replica();
            harm(&mut hurt);
            assert_eq!(kinds(&[primary(), hurt], &[]), [kind]);
        }
        assert_eq!(
            kinds(&[primary(), replica()], &[[0, 5]]),
            [WarningKind::UncoveredSlots]
        );
        let alone = NodeOverview {
            address: "c:1".into(),
            ..primary()
        };
        assert_eq!(
            kinds(&[primary(), replica(), alone], &[]),
            [WarningKind::NoReplica]
        );
    }

    #[test]
    fn keys_with_a_ttl_where_nothing_is_evicted_are_named() {
        let node = NodeOverview {
            memory_policy: Some("noeviction".into()),
            ..primary()
        };
        let (_, message) = eviction(&node).unwrap();
        assert!(message.contains("1000 of its 1000 keys have a TTL"), "{message}");
    }
}
