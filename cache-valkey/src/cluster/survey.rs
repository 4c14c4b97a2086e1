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
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.to_owned().into())
    }

    fn member(host: Reply, port: i64, metadata: Vec<(Reply, Reply)>) -> Reply {
        Reply::Array(vec![
            host,
            Reply::Int(port),
            bulk("09dbe9720cda62f7865eabc5fd8857c5d2678366"),
            Reply::Map(metadata),
        ])
    }

    fn entry(first: i64, last: i64, nodes: Vec<Reply>) -> Reply {
        let mut parts = vec![Reply::Int(first), Reply::Int(last)];
        parts.extend(nodes);
        Reply::Array(parts)
    }

    fn read(entries: Vec<Reply>) -> ClusterTopology {
        let info = bulk("cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:6\r\n");
        let asked = Address::new("asked.example", 7000);
        Report::read(&Reply::Array(entries), &info, &asked)
            .unwrap()
            .topology
    }

    fn report(ok: bool, epoch: u64, port: u16) -> Report {
        let shard = ClusterShard::new(Address::new("n", port), Vec::new(), vec![0..=16_383]);
        Report {
            ok,
            topology: ClusterTopology {
                epoch,
                shards: vec![shard],
            },
        }
    }

    #[test]
    fn a_cluster_is_read_whole_with_the_ranges_of_a_shard_together() {
        let first = || member(bulk("127.0.0.1"), 30001, vec![]);
        let replica = || member(bulk("127.0.0.1"), 30004, vec![]);
        let topology = read(vec![
            entry(10_923, 16_383, vec![first(), replica()]),
            entry(5_461, 10_922, vec![member(bulk("127.0.0.1"), 30002, vec![])]),
            entry(100, 5_460, vec![first(), replica()]),
            entry(0, 99, vec![first(), replica()]),
        ]);
        assert_eq!(topology.epoch, 6);
        assert_eq!(topology.unserved(), []);
        let shard = topology.shard_of(0).unwrap();
        assert_eq!(shard.primary, Address::new("127.0.0.1", 30001));
        assert_eq!(shard.replicas, [Address::new("127.0.0.1", 30004)]);
        assert_eq!(shard.slots, [0..=5_460, 10_923..=16_383]);
    }

    #[test]
    fn host_names_ipv6_and_hosts_that_are_left_out_are_understood() {
        let topology = read(vec![
            entry(0, 0, vec![member(bulk("::1"), 1, vec![])]),
            entry(
                1,
                1,
                vec![member(
                    bulk("node-2.example"),
                    2,
                    vec![(bulk("ip"), bulk("10.0.0.2"))],
                )],
            ),
            // An endpoint type of `unknown-endpoint`, and a node that does not know its own address yet.
            entry(2, 2, vec![member(Reply::Nil, 3, vec![])]),
            entry(3, 3, vec![member(bulk(""), 4, vec![])]),
            // Host names are preferred and this node has none.
            entry(
                4,
                4,
                vec![member(bulk("?"), 5, vec![(bulk("ip"), bulk("10.0.0.5"))])],
            ),
        ]);
        let host = |slot| topology.shard_of(slot).unwrap().primary.to_string();
        assert_eq!(host(0), "[::1]:1");
        assert_eq!(host(1), "node-2.example:2");
        assert_eq!(host(2), "asked.example:3");
        assert_eq!(host(3), "asked.example:4");
        assert_eq!(host(4), "10.0.0.5:5");
    }

    #[test]
    fn the_shape_of_older_servers_is_read_and_a_primary_without_a_name_owns_nothing() {
        let old = Reply::Array(vec![bulk("10.0.0.1"), Reply::Int(6379)]);
        let nameless = member(bulk("?"), 6379, vec![]);
        let portless = member(bulk("10.0.0.3"), 0, vec![]);
        let topology = read(vec![
            entry(0, 9, vec![old]),
            entry(10, 19, vec![nameless]),
            entry(20, 29, vec![portless]),
        ]);
        assert_eq!(topology.shards.len(), 1);
        assert_eq!(topology.unserved(), [10..=16_383]);
    }

    #[test]
    fn what_is_no_topology_is_corrupt_and_a_refusal_keeps_its_kind() {
        let asked = Address::new("a", 1);
        let read =
            |reply: Reply| Report::read(&reply, &Reply::Nil, &asked).map(|report| report.topology.epoch);
        for nonsense in [
            Reply::Nil,
            Reply::Array(vec![Reply::Int(1)]),
            Reply::Array(vec![entry(0, 16_384, vec![member(bulk("a"), 1, vec![])])]),
            Reply::Array(vec![entry(-1, 3, vec![member(bulk("a"), 1, vec![])])]),
            Reply::Array(vec![entry(0, 3, vec![])]),
            Reply::Array(vec![entry(0, 3, vec![bulk("a")])]),
        ] {
            assert!(matches!(read(nonsense), Err(CacheError::Corrupt { .. })));
        }
        assert_eq!(read(Reply::Array(vec![])).unwrap(), 0);
        let refusal = |code: &str, detail: &str| {
            let (code, detail) = (code.to_owned(), detail.to_owned());
            read(Reply::Error(ServerError { code, detail })).unwrap_err()
        };
        let single = refusal("ERR", "This instance has cluster support disabled");
        assert!(single.to_string().contains("CACHE_MODE"), "{single}");
        assert!(matches!(refusal("NOPERM", "no"), CacheError::Denied { .. }));
    }

    #[test]
    fn the_newest_view_wins_then_the_one_with_most_votes() {
        let mut ballot = Ballot::default();
        for report in [report(true, 5, 1), report(true, 5, 1), report(true, 7, 2)] {
            ballot.add(report);
        }
        assert_eq!(ballot.winner(), Some(report(true, 7, 2).topology));

        let mut ballot = Ballot::default();
        for report in [report(true, 7, 1), report(true, 7, 2), report(true, 7, 2)] {
            ballot.add(report);
        }
        assert_eq!(ballot.winner(), Some(report(true, 7, 2).topology));
        assert_eq!(Ballot::default().winner(), None);
    }

    #[test]
    fn a_node_that_is_cut_off_does_not_win() {
        let mut ballot = Ballot::default();
        ballot.add(report(false, 9, 1));
        ballot.add(report(true, 8, 2));
        assert_eq!(ballot.winner(), Some(report(true, 8, 2).topology));
    }

    #[test]
    fn a_majority_decides_without_the_rest_unless_somebody_knows_better() {
        let mut ballot = Ballot::default();
        ballot.add(report(true, 5, 1));
        assert!(ballot.is_decided(1));
        assert!(!ballot.is_decided(3));
        ballot.add(report(true, 5, 1));
        assert!(ballot.is_decided(3));
        ballot.add(report(true, 6, 2));
        assert!(!ballot.is_decided(5));
        assert!(
            !ballot.is_decided(3),
            "an older majority must not outvote the newer view"
        );
    }
}
