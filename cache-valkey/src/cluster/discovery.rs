//! Discovers the topology: asks nodes for it and routes by the accepted view.
//!
//! Known nodes are asked first. If none of them answers for the known cluster, all others and the configured
//! addresses are asked too. Not in here: when to ask, see `refresh.rs`; which view to accept, see
//! `known_cluster.rs`.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::config::Address;
use cache_core::{CacheError, ConfigError};
use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use rand::seq::SliceRandom;

use super::Cluster;
use super::known_cluster::{Decision, KnownCluster, foreign_to};
use super::report::Report;
use super::route::not_ready;
use super::state::Change;
use super::topology::ClusterTopology;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Mode;
use crate::identity::Expected;
use crate::node::Node;
use crate::reply::Reply;
use crate::wire::IgnoreEvents;

/// How many nodes are asked at once: enough to outvote a stale one, few enough for a cluster of hundreds.
const SAMPLE: usize = 5;

/// If fewer primaries than this can be reached, replicas are asked too.
const QUORUM: usize = 3;

/// How long to wait for known nodes before all others and the seeds are asked.
const LIMIT: Duration = Duration::from_secs(1);

/// How long to wait for the others once one node has answered.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// The same for seeds while no cluster is known, once most of them agree: one of the others may lead to
/// another cluster.
const LAST_SEEDS: Duration = Duration::from_secs(1);

/// How long the result that all seeds lead to one cluster stays valid.
const SEEDS_AGREE: Duration = Duration::from_secs(10);

/// The least time between two discoveries that ask the seeds although a cluster is known.
const SEEDS_APART: Duration = Duration::from_secs(1);

/// The answers of one discovery.
#[derive(Default)]
struct Answers {
    reports: Vec<Report>,
    /// Why a node did not answer; permanent errors take precedence.
    failure: Option<CacheError>,
    /// How many nodes did not answer.
    failed: usize,
}

impl Answers {
    fn add(&mut self, answer: Result<Report, CacheError>) {
        match answer {
            Ok(report) => self.reports.push(report),
            Err(error) => {
                self.failed += 1;
                if self.failure.as_ref().is_none_or(CacheError::is_transient) {
                    self.failure = Some(error);
                }
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.reports.extend(other.reports);
        self.failed += other.failed;
        if self.failure.as_ref().is_none_or(CacheError::is_transient) {
            self.failure = other.failure.or(self.failure.take());
        }
    }
}

impl Cluster {
    /// Asks the cluster for its topology, and routes by it from then on.
    pub(super) async fn discover(&self) -> Result<(), CacheError> {
        let _turn = self.discovering.lock().await;
        let began = clock::now();
        self.refresher.begin();
        self.counts.refreshing();
        let found = self.find_topology(began).await;
        *self.failure() = found.as_ref().err().cloned();
        self.refresher.end(self.outlook(found.is_ok()));
        found
    }

    /// As [`discover`](Self::discover), and fails if a seed leads to another cluster. For work that must not
    /// run on the wrong cluster, such as removals by pattern.
    pub(super) async fn discover_and_check_seeds(&self) -> Result<(), CacheError> {
        self.discover().await?;
        let topology = self.table.load().topology();
        // A seed that the cluster itself names is fine.
        let is_named = |seed: &&Address| topology.nodes().any(|node| node.address == **seed);
        let seeds: Vec<_> = self.seeds.iter().filter(|seed| !is_named(seed)).collect();
        let asked_until = *self.seeds_asked_until();
        if seeds.is_empty() || asked_until.is_some_and(|until| clock::now() < until) {
            return Ok(());
        }
        let limit = Deadline::after(LIMIT.min(self.dial_timeout));
        let asked = join_all(seeds.iter().map(|seed| self.ask_at(seed, limit))).await;
        let mut answers = Answers::default();
        asked.into_iter().for_each(|answer| answers.add(answer));
        let foreign = foreign_to(&topology, &answers.reports);
        if foreign.is_empty() {
            let pause = if answers.failed == 0 {
                SEEDS_AGREE
            } else {
                SEEDS_APART
            };
            *self.seeds_asked_until() = Some(clock::now() + pause);
            return Ok(());
        }
        let ours = self.seeds.iter().filter(|seed| !foreign.contains(seed));
        Err(contradiction(&[ours.cloned().collect(), foreign]))
    }

    async fn find_topology(&self, began: Instant) -> Result<(), CacheError> {
        let is_known = self.known_cluster().is_known() || !self.table.load().shards().is_empty();
        let (near, far) = self.candidates();
        let mut answers = if is_known {
            self.ask_known(&near).await
        } else {
            Answers::default()
        };
        if answers.reports.iter().all(|report| self.is_foreign(report)) {
            let with_seeds = !is_known || self.may_ask_seeds();
            let others = if is_known {
                // Nodes that were down a moment ago, and the seeds, whose names are resolved again.
                self.ask_others(&far, with_seeds).await?
            } else {
                self.ask_seeds().await?
            };
            answers.merge(others);
            let seeds = with_seeds.then_some(self.seeds.as_slice());
            let decision = self.known_cluster().judge(answers.reports, seeds, clock::now());
            return self.act_on(decision, answers.failure, began);
        }
        let decision = self.known_cluster().judge(answers.reports, None, clock::now());
        self.act_on(decision, answers.failure, began)
    }

    fn act_on(
        &self,
        decision: Decision,
        failure: Option<CacheError>,
        began: Instant,
    ) -> Result<(), CacheError> {
        match decision {
            Decision::Accepted {
                topology,
                foreign,
                is_another,
            } => {
                if !foreign.is_empty() {
                    tracing::warn!(addresses = %list(&foreign), "these lead to another cluster; their answers are ignored");
                }
                if is_another {
                    tracing::warn!(
                        seeds = %list(&self.seeds),
                        "the known cluster is gone and the configured addresses lead to another one; starting again from there"
                    );
                }
                self.learn(&topology, is_another, began);
                Ok(())
            }
            Decision::SeveralClusters(clusters) => Err(contradiction(&clusters)),
            Decision::OnlyForeign { addresses, is_news } => {
                if is_news {
                    tracing::warn!(
                        addresses = %list(&addresses),
                        "no node of the known cluster answers; these lead to another cluster and are not used"
                    );
                }
                Err(not_ready(format!(
                    "no node of the known cluster answers; what answers at {} is of another cluster, which is not used",
                    list(&addresses)
                )))
            }
            Decision::NoAnswer => {
                Err(failure
                    .unwrap_or_else(|| not_ready("no node of the cluster answered in time".to_owned())))
            }
        }
    }

    /// The known nodes: those to ask first, and the others.
    fn candidates(&self) -> (Vec<Arc<Node>>, Vec<Arc<Node>>) {
        let table = self.table.load();
        let shards = table.shards();
        let mut near: Vec<_> = shards.iter().map(|shard| Arc::clone(shard.primary())).collect();
        let mut replicas: Vec<_> = shards
            .iter()
            .flat_map(|shard| shard.replicas().cloned())
            .collect();
        near.shuffle(&mut rand::rng());
        replicas.shuffle(&mut rand::rng());
        let mut far: Vec<_> = near.extract_if(.., |node| node.is_down()).collect();
        far.extend(near.drain(near.len().min(SAMPLE)..));
        for replica in replicas {
            if near.len() < QUORUM && !replica.is_down() {
                near.push(replica);
            } else {
                far.push(replica);
            }
        }
        (near, far)
    }

    async fn ask_known(&self, nodes: &[Arc<Node>]) -> Answers {
        let deadline = Deadline::after(LIMIT);
        let asked = nodes.iter().map(|node| question(node, deadline)).collect();
        self.gather(asked, deadline, |reports| {
            if self.known_cluster().is_decided(reports, nodes.len()) {
                return Duration::ZERO;
            }
            STRAGGLERS
        })
        .await
    }

    /// Whether the seeds may be asked again; records that they are. Each question costs a connection.
    fn may_ask_seeds(&self) -> bool {
        let now = clock::now();
        let mut asked_at = self.seeds_asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let may = asked_at.is_none_or(|at| now >= at + SEEDS_APART);
        if may {
            *asked_at = Some(now);
        }
        may
    }

    async fn ask_others(&self, nodes: &[Arc<Node>], with_seeds: bool) -> Result<Answers, CacheError> {
        if self.is_closed() {
            return Err(CacheError::Closed);
        }
        let deadline = Deadline::after(self.dial_timeout);
        let known = nodes.iter().map(|node| question(node, deadline));
        let asked: FuturesUnordered<_> = known.collect();
        for seed in self.seeds.iter().filter(|_| with_seeds) {
            asked.push(Box::pin(self.ask_at(seed, deadline)));
        }
        let count = asked.len();
        let answers = self.gather(asked, deadline, |reports| {
            if self.known_cluster().is_decided(reports, count) {
                return Duration::ZERO;
            }
            STRAGGLERS
        });
        Ok(answers.await)
    }

    /// Asks the seeds while no cluster is known.
    async fn ask_seeds(&self) -> Result<Answers, CacheError> {
        let nodes: Vec<_> = {
            let mut state = self.state();
            if self.is_closed() {
                return Err(CacheError::Closed);
            }
            self.seeds.iter().map(|seed| state.seed(seed)).collect()
        };
        let deadline = Deadline::after(self.dial_timeout);
        let asked = nodes.iter().map(|node| question(node, deadline)).collect();
        let answers = self.gather(asked, deadline, |reports| {
            if seeds_not_accounted_for(&self.seeds, reports) == 0 {
                STRAGGLERS
            } else if reports.len() * 2 >= self.seeds.len() {
                LAST_SEEDS
            } else {
                Duration::MAX
            }
        });
        let answers = answers.await;
        if answers.failed == 0 && answers.reports.len() == self.seeds.len() {
            *self.seeds_asked_until() = Some(clock::now() + SEEDS_AGREE);
        }
        Ok(answers)
    }

    /// Collects answers as they arrive. After each report, `patience` says how much longer to wait for the
    /// others.
    async fn gather(
        &self,
        mut asked: FuturesUnordered<BoxFuture<'_, Result<Report, CacheError>>>,
        deadline: Deadline,
        patience: impl Fn(&[Report]) -> Duration,
    ) -> Answers {
        let mut answers = Answers::default();
        let mut until = deadline.at();
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, asked.next()).await {
            let is_report = answer.is_ok();
            answers.add(answer);
            if is_report {
                let left = patience(&answers.reports);
                until = clock::now().checked_add(left).map_or(until, |at| at.min(until));
                if left.is_zero() {
                    break;
                }
            }
        }
        answers
    }

    /// Asks the server at a seed, over a connection that is used for nothing else.
    async fn ask_at(&self, seed: &Address, deadline: Deadline) -> Result<Report, CacheError> {
        let dialed = self.dialer.dial(
            seed,
            Mode::Auxiliary,
            &Expected::AnyServer,
            Arc::new(IgnoreEvents),
        );
        let connection = deadline
            .limit(cache_core::Stage::Connect, dialed)
            .await?
            .connection;
        let replies = connection.send_batch(&questions().each_ref(), deadline).await?;
        read(replies, seed)
    }

    fn is_foreign(&self, report: &Report) -> bool {
        !self.known_cluster().is_ours(&report.topology)
    }

    fn learn(&self, topology: &ClusterTopology, is_another: bool, began: Instant) {
        let change = {
            let mut state = self.state();
            if self.is_closed() {
                return;
            }
            // Before the first connection to any of these nodes.
            self.dialer.set_known_nodes(topology.ids());
            if is_another {
                state.start_over();
            }
            state.learned(topology, began, clock::now())
        };
        if change == Change::Refused {
            tracing::debug!(
                epoch = topology.epoch,
                "ignored a view of the cluster that is older than what is known"
            );
            return;
        }
        self.apply_state();
        if change == Change::Table {
            log_change(topology);
        }
    }

    pub(super) fn known_cluster(&self) -> std::sync::MutexGuard<'_, KnownCluster> {
        self.known_cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seeds_asked_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.seeds_asked_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_change(topology: &ClusterTopology) {
    let unserved: usize = topology.unserved().iter().map(ExactSizeIterator::len).sum();
    let replicas: usize = topology.shards.iter().map(|shard| shard.replicas.len()).sum();
    let primaries = topology.shards.len();
    let epoch = topology.epoch;
    for shared in topology.shared.iter().filter(|shared| !shared.slots.is_empty()) {
        tracing::warn!(
            "{shared}; their slots are not served, because calls cannot be sent to one of them for certain"
        );
    }
    if unserved == 0 {
        tracing::info!(primaries, replicas, epoch, "the cluster's topology changed");
    } else {
        tracing::warn!(
            primaries,
            replicas,
            epoch,
            unserved,
            "the cluster's topology changed; some slots are not served"
        );
    }
}

/// How many seeds have neither answered nor are named by the nodes that did.
fn seeds_not_accounted_for(seeds: &[Address], reports: &[Report]) -> usize {
    let is_known = |seed: &&Address| {
        reports.iter().any(|report| {
            report.asked == **seed || report.topology.nodes().any(|node| node.address == **seed)
        })
    };
    seeds.iter().filter(|seed| !is_known(seed)).count()
}

/// The error if the seeds lead to several clusters.
fn contradiction(clusters: &[Vec<Address>]) -> CacheError {
    let clusters: Vec<String> = clusters
        .iter()
        .filter(|addresses| !addresses.is_empty())
        .map(|addresses| list(addresses))
        .collect();
    let detail = match clusters.as_slice() {
        [only] => format!(
            "{only} leads to another cluster than the one in use; remove the address, or restart the client"
        ),
        several => format!(
            "the addresses lead to different clusters: {}; keep those of one cluster only",
            several.join(" is one, ") + " is another"
        ),
    };
    CacheError::Config(ConfigError::one("CACHE_ADDRS", detail))
}

fn list(addresses: &[Address]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(" and ")
}

/// The commands that ask a node for its view.
fn questions() -> [Command<'static>; 2] {
    [
        Command::read("CLUSTER").arg("SLOTS"),
        Command::read("CLUSTER").arg("INFO"),
    ]
}

fn question(node: &Arc<Node>, deadline: Deadline) -> BoxFuture<'_, Result<Report, CacheError>> {
    Box::pin(async move {
        node.connect(deadline).await?;
        let replies = node.ask(&questions().each_ref(), deadline).await?;
        let report = read(replies, node.address())?;
        node.announces(report.topology.nodes().map(|node| &node.address));
        Ok(report)
    })
}

/// Reads the replies of the node at `asked` to [`questions`].
fn read(replies: Vec<Reply>, asked: &Address) -> Result<Report, CacheError> {
    let [slots, info] = replies.as_slice() else {
        return Err(Reply::Array(replies).unexpected("two replies"));
    };
    let report = Report::read(slots, info, asked)?;
    if report.topology.ids().is_empty() && report.topology.shards.is_empty() {
        return Err(not_ready(format!("{asked} is in a cluster that serves no slots")));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_addresses_of_each_cluster() {
        let at = |host: &str| Address::new(host, 1);
        let error = contradiction(&[vec![at("a0"), at("a1")], vec![at("b0")]]);
        let text = error.to_string();
        assert!(
            text.contains(
                "CACHE_ADDRS: the addresses lead to different clusters: a0:1 and a1:1 is one, b0:1 is another"
            ),
            "{text}"
        );
        let error = contradiction(&[vec![], vec![at("b0")]]).to_string();
        assert!(error.contains("b0:1 leads to another cluster"), "{error}");
    }
}
