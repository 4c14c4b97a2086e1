//! Decides which view of the cluster to accept.
//!
//! Pure: the nodes' reports and the time in, a [`Decision`] out. Three rules, in this order:
//!
//! 1. A view of another cluster than the known one is never accepted, however new it is, because an address
//!    may lead to another cluster by now.
//! 2. If no cluster is known yet, the views of all configured addresses must be of one cluster.
//! 3. Among the remaining views, the order of preference is: nodes that see a working cluster, the newest
//!    epoch, the view that most nodes share, the view that covers most slots.
//!
//! If for a while only another cluster answers, and at most of the configured addresses, it replaces the
//! known one: the cluster was set up again.
//!
//! Not in here: reading a view, see `report.rs`; comparing clusters, see the crate's `identity.rs`.

use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::config::Address;

use super::report::Report;
use super::topology::ClusterTopology;
use crate::identity::{Ids, are_same_cluster};

/// How long, and in how many discoveries in a row, only another cluster must answer before it replaces the
/// known one.
const FOREIGN_FOR: Duration = Duration::from_secs(5);
const FOREIGN_RUNS: u32 = 3;

/// What is known about the cluster's identity.
#[derive(Debug, Default)]
pub(super) struct KnownCluster {
    /// The nodes of the last accepted view.
    known: Ids,
    /// When only another cluster began to answer, and in how many discoveries it did.
    foreign_since: Option<(Instant, u32)>,
    /// Addresses that answered for another cluster.
    foreign: Vec<Address>,
}

/// Which view to accept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Accept this view.
    Accepted {
        topology: ClusterTopology,
        /// Addresses that answered for another cluster for the first time.
        foreign: Vec<Address>,
        /// Whether this cluster replaces another one.
        is_another: bool,
    },
    /// Accept none: the configured addresses, grouped by cluster, lead to several clusters.
    SeveralClusters(Vec<Vec<Address>>),
    /// Accept none: only these addresses answered, for another cluster.
    OnlyForeign {
        addresses: Vec<Address>,
        /// Whether this is the first time in a row.
        is_news: bool,
    },
    /// Accept none: no node answered.
    NoAnswer,
}

impl KnownCluster {
    /// Whether a cluster is known.
    pub(super) fn is_known(&self) -> bool {
        !self.known.is_empty()
    }

    /// Decides between the reports of one discovery. `seeds` are the configured addresses, if all of them
    /// were asked.
    pub(super) fn judge(
        &mut self,
        reports: Vec<Report>,
        seeds: Option<&[Address]>,
        now: Instant,
    ) -> Decision {
        if reports.is_empty() {
            return Decision::NoAnswer;
        }
        if self.known.is_empty() {
            let mut clusters = by_cluster(&reports);
            if clusters.len() > 1 {
                place(seeds.unwrap_or_default(), &reports, &mut clusters);
                return Decision::SeveralClusters(clusters);
            }
            return self.accept(&reports, Vec::new(), false);
        }
        let (ours, others): (Vec<_>, Vec<_>) = reports
            .into_iter()
            .partition(|report| self.is_ours(&report.topology));
        let foreign: Vec<_> = others.iter().map(|report| report.asked.clone()).collect();
        if !ours.is_empty() {
            return self.accept(&ours, foreign, false);
        }
        let (since, discoveries) = self
            .foreign_since
            .map_or((now, 1), |(since, discoveries)| (since, discoveries + 1));
        self.foreign_since = Some((since, discoveries));
        let lasts = discoveries >= FOREIGN_RUNS && now.saturating_duration_since(since) >= FOREIGN_FOR;
        if lasts && seeds.is_some_and(|seeds| are_most_of(seeds, &foreign)) && by_cluster(&others).len() == 1
        {
            return self.accept(&others, Vec::new(), true);
        }
        Decision::OnlyForeign {
            addresses: foreign,
            is_news: discoveries == 1,
        }
    }

    /// Whether the reports so far suffice: more than half of `asked` nodes agree, and no other node reports
    /// something newer. Slow nodes are not waited for then.
    pub(super) fn is_decided(&self, reports: &[Report], asked: usize) -> bool {
        let ours = || reports.iter().filter(|report| self.is_ours(&report.topology));
        let newest = ours().map(rank).max();
        ours().any(|report| Some(rank(report)) == newest && votes(report, ours()) * 2 > asked)
    }

    /// Whether a view may be of the known cluster. A view without ids may be, and so may any view while no
    /// cluster is known.
    pub(super) fn is_ours(&self, topology: &ClusterTopology) -> bool {
        are_same_cluster(&self.known, &topology.ids()) != Some(false)
    }

    fn accept(&mut self, reports: &[Report], foreign: Vec<Address>, is_another: bool) -> Decision {
        let best = reports
            .iter()
            .max_by_key(|report| {
                let ranges = report.topology.shards.iter().flat_map(|shard| &shard.slots);
                let covered = ranges.map(ExactSizeIterator::len).sum::<usize>();
                // Views with node ids come first, because their cluster can be identified.
                let names = !report.topology.ids().is_empty();
                (names, rank(report), votes(report, reports.iter()), covered)
            })
            .map(|report| report.topology.clone());
        let Some(topology) = best else {
            return Decision::NoAnswer;
        };
        let ids = topology.ids();
        if !ids.is_empty() {
            self.known = ids;
        }
        self.foreign_since = None;
        let is_new = |stranger: &Address| !self.foreign.contains(stranger);
        let foreign: Vec<_> = foreign.into_iter().filter(is_new).collect();
        self.foreign.extend_from_slice(&foreign);
        Decision::Accepted {
            topology,
            foreign,
            is_another,
        }
    }
}

/// The addresses in `reports` that belong to another cluster than `topology`.
pub(super) fn foreign_to(topology: &ClusterTopology, reports: &[Report]) -> Vec<Address> {
    let ids = topology.ids();
    let is_other = |report: &&Report| are_same_cluster(&ids, &report.topology.ids()) == Some(false);
    reports
        .iter()
        .filter(is_other)
        .map(|report| report.asked.clone())
        .collect()
}

/// The rank of a report, before the number of nodes that agree.
fn rank(report: &Report) -> (bool, u64) {
    (report.ok, report.topology.epoch)
}

fn votes<'a>(report: &Report, all: impl Iterator<Item = &'a Report>) -> usize {
    all.filter(|other| other.ok == report.ok && other.topology == report.topology)
        .count()
}

fn are_most_of(seeds: &[Address], answered: &[Address]) -> bool {
    let count = seeds.iter().filter(|seed| answered.contains(seed)).count();
    count * 2 > seeds.len()
}

/// Groups the asked addresses by cluster, in the order of the reports. Views without ids are left out: they
/// may be of any cluster.
fn by_cluster(reports: &[Report]) -> Vec<Vec<Address>> {
    let mut clusters: Vec<(Ids, Vec<Address>)> = Vec::new();
    for report in reports {
        let ids = report.topology.ids();
        if ids.is_empty() {
            continue;
        }
        let is_same = |(known, _): &&mut (Ids, Vec<Address>)| are_same_cluster(known, &ids) != Some(false);
        match clusters.iter_mut().find(is_same) {
            Some((known, asked)) => {
                known.extend(ids);
                asked.push(report.asked.clone());
            }
            None => clusters.push((ids, vec![report.asked.clone()])),
        }
    }
    clusters.into_iter().map(|(_, asked)| asked).collect()
}

/// Adds each seed that has not answered to the cluster of a node that names it.
fn place(seeds: &[Address], reports: &[Report], clusters: &mut [Vec<Address>]) {
    for seed in seeds {
        if reports.iter().any(|report| report.asked == *seed) {
            continue;
        }
        let names = |report: &&Report| report.topology.nodes().any(|node| node.address == *seed);
        if let Some(witness) = reports.iter().find(names)
            && let Some(cluster) = clusters.iter_mut().find(|asked| asked.contains(&witness.asked))
        {
            cluster.push(seed.clone());
        }
    }
}

#[cfg(test)]
mod tests;
