//! What nodes say of their cluster: reading it, and choosing between nodes that do not agree.
//!
//! Pure: replies in, a [`ClusterTopology`] out. Who is asked, and when, is in `refresh.rs`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use cache_core::config::Address;
use cache_core::slot::SLOTS;
use cache_core::{CacheError, ConfigError};

use super::topology::{ClusterShard, ClusterTopology, merge};
use crate::reply::{Reply, ServerError};

/// What one node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Whether the node believes that the cluster works. A node that is cut off, or has just started,
    /// does not.
    pub(super) ok: bool,
    pub(super) topology: ClusterTopology,
}

impl Report {
    /// Reads what the node at `asked` answered to `CLUSTER SLOTS` and `CLUSTER INFO`.
    pub(super) fn read(slots: &Reply, info: &Reply, asked: &Address) -> Result<Self, CacheError> {
        if let Reply::Error(error) = slots {
            return Err(refused(error));
        }
        // A user that may not ask for INFO still gets a cluster, without the epoch to tell old from new.
        let info = info.as_text().unwrap_or_default();
        let topology = ClusterTopology {
            epoch: epoch_of(info).unwrap_or(0),
            shards: read_slots(slots, asked)?,
        };
        Ok(Self {
            ok: field(info, "cluster_state") != Some("fail"),
            topology,
        })
    }

    /// What makes one report better than another, before how many nodes agree to it.
    fn rank(&self) -> (bool, u64) {
        (self.ok, self.topology.epoch)
    }
}

/// Chooses between reports: those of nodes that see a working cluster, then the newest, then the one
/// that most nodes agree to, then the one that covers most slots.
#[derive(Debug, Default)]
pub(super) struct Ballot(Vec<(Report, usize)>);

impl Ballot {
    pub(super) fn add(&mut self, report: Report) {
        match self.0.iter_mut().find(|(known, _)| *known == report) {
            Some((_, votes)) => *votes += 1,
            None => self.0.push((report, 1)),
        }
    }

    /// Whether more than half of `asked` nodes agree to what nobody contradicts with something newer, so
    /// that slow nodes need not be waited for.
    pub(super) fn is_decided(&self, asked: usize) -> bool {
        let best = self.0.iter().map(|(report, _)| report.rank()).max();
        self.0
            .iter()
            .any(|(report, votes)| votes * 2 > asked && Some(report.rank()) == best)
    }

    pub(super) fn winner(self) -> Option<ClusterTopology> {
        self.0
            .into_iter()
            .max_by_key(|(report, votes)| {
                let ranges = report.topology.shards.iter().flat_map(|shard| &shard.slots);
                (
                    report.rank(),
                    *votes,
                    ranges.map(ExactSizeIterator::len).sum::<usize>(),
                )
            })
            .map(|(report, _)| report.topology)
    }
}

/// The address in a redirection or a topology: an empty host stands for the node that was asked.
pub(super) fn address(host: Option<&str>, port: u16, asked: &Address) -> Option<Address> {
    match host {
        None | Some("") => Some(Address::new(asked.host.clone(), port)),
        // The server is told to name hosts and has no name for this one.
        Some("?") => None,
        Some(host) => Some(Address::new(host, port)),
    }
}

/// The cluster's count of its changes, of what a node answers to `CLUSTER INFO`.
pub(super) fn epoch_of(info: &str) -> Option<u64> {
    field(info, "cluster_current_epoch")?.parse().ok()
}

fn refused(error: &ServerError) -> CacheError {
    if error.detail.contains("cluster support disabled") {
        return CacheError::Config(ConfigError::one(
            "CACHE_MODE",
            "the server is not part of a cluster; set CACHE_MODE=single",
        ));
    }
    crate::error::from_server(error, "CLUSTER SLOTS")
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// Reads `CLUSTER SLOTS`: entries of `[first, last, primary, replica...]`, a shard once per range.
fn read_slots(reply: &Reply, asked: &Address) -> Result<Vec<ClusterShard>, CacheError> {
    let Reply::Array(entries) = reply else {
        return Err(reply.unexpected("an array of slot ranges"));
    };
    let mut shards: BTreeMap<Address, (Vec<Address>, Vec<RangeInclusive<u16>>)> = BTreeMap::new();
    for entry in entries {
        let Reply::Array(parts) = entry else {
            return Err(entry.unexpected("a slot range"));
        };
        let [first, last, primary, replicas @ ..] = parts.as_slice() else {
            return Err(entry.unexpected("a slot range with a primary"));
        };
        let range = slot(first)?..=slot(last)?;
        // A primary that cannot be named cannot be reached: its slots have no owner.
        let Some(primary) = node(primary, asked)? else {
            continue;
        };
        let shard = shards.entry(primary).or_default();
        for replica in replicas {
            shard.0.extend(node(replica, asked)?);
        }
        shard.1.push(range);
    }
    Ok(shards
        .into_iter()
        .map(|(primary, (replicas, mut ranges))| {
            ranges.sort_unstable_by_key(|range| *range.start());
            ClusterShard::new(primary, replicas, merge(ranges.into_iter().flatten()))
        })
        .collect())
}

/// Reads `[host, port, id, metadata]`, of which the last is newer than the rest.
fn node(reply: &Reply, asked: &Address) -> Result<Option<Address>, CacheError> {
    let Reply::Array(parts) = reply else {
        return Err(reply.unexpected("a node"));
    };
    let [host, port, rest @ ..] = parts.as_slice() else {
        return Err(reply.unexpected("a node with host and port"));
    };
    let Reply::Int(port) = port else {
        return Err(port.unexpected("a port"));
    };
    let Some(port) = u16::try_from(*port).ok().filter(|port| *port != 0) else {
        // Announced as 0 where the node does not listen for our kind of connection.
        return Ok(None);
    };
    let by_name = address(host.as_text(), port, asked);
    let metadata = rest.get(1);
    let other = |name| metadata?.field(name)?.as_text().filter(|text| !text.is_empty());
    Ok(by_name.or_else(|| {
        other("ip")
            .or_else(|| other("hostname"))
            .map(|host| Address::new(host, port))
    }))
}

fn slot(reply: &Reply) -> Result<u16, CacheError> {
    match reply {
        Reply::Int(value) => u16::try_from(*value)
            .ok()
            .filter(|slot| *slot < SLOTS)
            .ok_or_else(|| reply.unexpected("a slot")),
        other => Err(other.unexpected("a slot")),
    }
}

#[cfg(test)]
mod tests;
