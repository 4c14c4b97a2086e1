//! Decides which view of the cluster is believed.
//!
//! Pure: what nodes said and the time in, a [`Judgement`] out. Three rules, in this order:
//!
//! 1. A view of another cluster than the known one is never believed, however new it is. An address may lead to another
//!    cluster by now.
//! 2. If nothing is known yet, the views of all configured addresses have to be of one cluster.
//! 3. Among the views that are left: those of nodes that see a working cluster, then the newest, then the one that most
//!    nodes agree to, then the one that covers most slots.
//!
//! If for a while only another cluster answers, and at most of the configured addresses, it takes the place of the known
//! one: the cluster was set up again.
//!
//! Not in here: what a view is, see `survey.rs`; what makes two views one cluster, see `identity.rs` of the crate.

use std::time::Duration;

use cache_core::clock::Instant;
use cache_core::config::Address;

use super::survey::Report;
use super::topology::ClusterTopology;
use crate::identity::{Ids, are_same_cluster};

/// For how long, and in how many surveys in a row, only another cluster has to answer before it is taken for ours.
const STRANGE_FOR: Duration = Duration::from_secs(5);
const STRANGE_SURVEYS: u32 = 3;

/// What is known of the cluster's identity.
#[derive(Debug, Default)]
pub(super) struct Belief {
    /// The nodes of the view that was believed last.
    known: Ids,
    /// Since when, and in how many surveys, only another cluster has answered.
    strange: Option<(Instant, u32)>,
    /// Those that have answered for another cluster.
    strangers: Vec<Address>,
}

/// Which view is believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// This one.
    Believed {
        topology: ClusterTopology,
        /// Those that answered for another cluster, unless they did so before.
        strangers: Vec<Address>,
        /// Whether this cluster takes the place of another one.
        is_another: bool,
    },
    /// None: the configured addresses lead to several clusters, here by cluster.
    Contradiction(Vec<Vec<Address>>),
    /// None: only these answered, for another cluster.
    Strangers {
        addresses: Vec<Address>,
        /// Whether that is so for the first time in a row.
        is_news: bool,
    },
    /// None: nobody answered.
    Silence,
}

impl Belief {
    /// Whether a cluster is known.
    pub(super) fn is_settled(&self) -> bool {
        !self.known.is_empty()
    }

    /// Judges what nodes have said in one survey. `seeds` are the configured addresses, if all of them were asked.
    pub(super) fn judge(
        &mut self,
        reports: Vec<Report>,
        seeds: Option<&[Address]>,
        now: Instant,
    ) -> Judgement {
        if reports.is_empty() {
            return Judgement::Silence;
        }
        if self.known.is_empty() {
            let mut clusters = by_cluster(&reports);
            if clusters.len() > 1 {
                place(seeds.unwrap_or_default(), &reports, &mut clusters);
                return Judgement::Contradiction(clusters);
            }
            return self.believe(&reports, Vec::new(), false);
        }
        let (ours, others): (Vec<_>, Vec<_>) = reports
            .into_iter()
            .partition(|report| self.is_ours(&report.topology));
        let strangers: Vec<_> = others.iter().map(|report| report.asked.clone()).collect();
        if !ours.is_empty() {
            return self.believe(&ours, strangers, false);
        }
        let (since, surveys) = self
            .strange
            .map_or((now, 1), |(since, surveys)| (since, surveys + 1));
        self.strange = Some((since, surveys));
        let lasts = surveys >= STRANGE_SURVEYS && now.saturating_duration_since(since) >= STRANGE_FOR;
        if lasts
            && seeds.is_some_and(|seeds| are_most_of(seeds, &strangers))
            && by_cluster(&others).len() == 1
        {
            return self.believe(&others, Vec::new(), true);
        }
        Judgement::Strangers {
            addresses: strangers,
            is_news: surveys == 1,
        }
    }

    /// Whether the reports so far are enough: more than half of `asked` nodes agree to what no other contradicts with
    /// something newer. Slow nodes need not be waited for then.
    pub(super) fn is_decided(&self, reports: &[Report], asked: usize) -> bool {
        let ours = || reports.iter().filter(|report| self.is_ours(&report.topology));
        let newest = ours().map(rank).max();
        ours().any(|report| Some(rank(report)) == newest && votes(report, ours()) * 2 > asked)
    }

    /// Whether a view may be of the known cluster. One without ids, or before anything is known, may be.
    pub(super) fn is_ours(&self, topology: &ClusterTopology) -> bool {
        are_same_cluster(&self.known, &topology.ids()) != Some(false)
    }

    fn believe(&mut self, reports: &[Report], strangers: Vec<Address>, is_another: bool) -> Judgement {
        let best = reports
            .iter()
            .max_by_key(|report| {
                let ranges = report.topology.shards.iter().flat_map(|shard| &shard.slots);
                let covered = ranges.map(ExactSizeIterator::len).sum::<usize>();
                // Those that name their nodes, so that it can be known who they are.
                let names = !report.topology.ids().is_empty();
                (names, rank(report), votes(report, reports.iter()), covered)
            })
            .map(|report| report.topology.clone());
        let Some(topology) = best else {
            return Judgement::Silence;
        };
        let ids = topology.ids();
        if !ids.is_empty() {
            self.known = ids;
        }
        self.strange = None;
        let is_new = |stranger: &Address| !self.strangers.contains(stranger);
        let strangers: Vec<_> = strangers.into_iter().filter(is_new).collect();
        self.strangers.extend_from_slice(&strangers);
        Judgement::Believed {
            topology,
            strangers,
            is_another,
        }
    }
}

/// Which of `reports` are of another cluster than `topology`, by the addresses that were asked.
pub(super) fn strangers_to(topology: &ClusterTopology, reports: &[Report]) -> Vec<Address> {
    let ids = topology.ids();
    let is_other = |report: &&Report| are_same_cluster(&ids, &report.topology.ids()) == Some(false);
    reports
        .iter()
        .filter(is_other)
        .map(|report| report.asked.clone())
        .collect()
}

/// What makes one report better than another, before how many nodes agree to it.
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

/// The addresses that were asked, those of one cluster together, in the order of the reports. Views without ids are left
/// out: they may be of any.
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

/// Adds each of `seeds` that has not answered to the cluster of a node that names it.
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
