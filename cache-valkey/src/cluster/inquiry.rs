//! Asks nodes how the cluster looks, and routes by the view that is believed.
//!
//! Known nodes are asked first. If none of them answers for the known cluster, all others and the configured addresses
//! are asked as well. Not in here: when, see `refresh.rs`; which view is believed, see `belief.rs`.

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
use super::belief::{Belief, Judgement, strangers_to};
use super::route::not_ready;
use super::state::Change;
use super::survey::Report;
use super::topology::ClusterTopology;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Mode;
use crate::identity::Expected;
use crate::node::Node;
use crate::reply::Reply;
use crate::wire::Unheard;

/// Nodes that are asked at once: enough to outvote a stale one, few enough for a cluster of hundreds.
const SAMPLE: usize = 5;

/// With fewer primaries than this in reach, replicas are asked as well.
const QUORUM: usize = 3;

/// How long known nodes have for an answer, before all others and the seeds are asked.
const LIMIT: Duration = Duration::from_secs(1);

/// How long the others have once one has answered.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// The same for configured addresses before anything is known, once most of them agree: what the others say may be that
/// they lead to another cluster.
const LAST_SEEDS: Duration = Duration::from_secs(1);

/// For how long it is believed that all configured addresses lead to one cluster.
const SEEDS_AGREE: Duration = Duration::from_secs(10);

/// The least time between two surveys in which the configured addresses are asked although a cluster is known.
const SEEDS_APART: Duration = Duration::from_secs(1);

/// What nodes have said in one survey.
#[derive(Default)]
struct Answers {
    reports: Vec<Report>,
    /// Why one of them said nothing; what somebody has to act on comes first.
    failure: Option<CacheError>,
    /// How many said nothing.
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
    /// Asks the cluster how it looks, and routes by the answer from then on.
    pub(super) async fn survey(&self) -> Result<(), CacheError> {
        let _turn = self.surveying.lock().await;
        let began = clock::now();
        self.upkeep.begin();
        self.counts.refreshing();
        let found = self.find_topology(began).await;
        *self.failure() = found.as_ref().err().cloned();
        self.upkeep.end(self.outlook(found.is_ok()));
        found
    }

    /// The same, and fails if a configured address leads to another cluster: for work that must not be done on the wrong
    /// one, such as removals by pattern.
    pub(super) async fn survey_thoroughly(&self) -> Result<(), CacheError> {
        self.survey().await?;
        let topology = self.table.load().topology();
        // What the cluster itself names is no contradiction.
        let is_named = |seed: &&Address| topology.nodes().any(|node| node.address == **seed);
        let seeds: Vec<_> = self.seeds.iter().filter(|seed| !is_named(seed)).collect();
        let asked_until = *self.seeds_asked_until();
        if seeds.is_empty() || asked_until.is_some_and(|until| clock::now() < until) {
            return Ok(());
        }
        let limit = Deadline::after(LIMIT.min(self.dial_timeout));
        let asked = join_all(seeds.iter().map(|seed| self.question_at(seed, limit))).await;
        let mut answers = Answers::default();
        asked.into_iter().for_each(|answer| answers.add(answer));
        let strangers = strangers_to(&topology, &answers.reports);
        if strangers.is_empty() {
            let pause = if answers.failed == 0 {
                SEEDS_AGREE
            } else {
                SEEDS_APART
            };
            *self.seeds_asked_until() = Some(clock::now() + pause);
            return Ok(());
        }
        let ours = self.seeds.iter().filter(|seed| !strangers.contains(seed));
        Err(contradiction(&[ours.cloned().collect(), strangers]))
    }

    async fn find_topology(&self, began: Instant) -> Result<(), CacheError> {
        let is_settled = self.belief().is_settled() || !self.table.load().shards().is_empty();
        let (near, far) = self.candidates();
        let mut answers = if is_settled {
            self.question_known(&near).await
        } else {
            Answers::default()
        };
        if answers.reports.iter().all(|report| self.is_stranger(report)) {
            let with_seeds = !is_settled || self.may_ask_seeds();
            let others = if is_settled {
                // Nodes that were down a moment ago, and the seeds, whose names are looked up again.
                self.question_others(&far, with_seeds).await?
            } else {
                self.question_seeds().await?
            };
            answers.merge(others);
            let seeds = with_seeds.then_some(self.seeds.as_slice());
            let judgement = self.belief().judge(answers.reports, seeds, clock::now());
            return self.act_on(judgement, answers.failure, began);
        }
        let judgement = self.belief().judge(answers.reports, None, clock::now());
        self.act_on(judgement, answers.failure, began)
    }

    fn act_on(
        &self,
        judgement: Judgement,
        failure: Option<CacheError>,
        began: Instant,
    ) -> Result<(), CacheError> {
        match judgement {
            Judgement::Believed {
                topology,
                strangers,
                is_another,
            } => {
                if !strangers.is_empty() {
                    tracing::warn!(addresses = %list(&strangers), "these lead to another cluster; what they say is ignored");
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
            Judgement::Contradiction(clusters) => Err(contradiction(&clusters)),
            Judgement::Strangers { addresses, is_news } => {
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
            Judgement::Silence => {
                Err(failure
                    .unwrap_or_else(|| not_ready("no node of the cluster answered in time".to_owned())))
            }
        }
    }

    /// Known nodes: those to ask first, and the others.
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

    async fn question_known(&self, nodes: &[Arc<Node>]) -> Answers {
        let deadline = Deadline::after(LIMIT);
        let asked = nodes.iter().map(|node| question(node, deadline)).collect();
        self.gather(asked, deadline, |reports| {
            if self.belief().is_decided(reports, nodes.len()) {
                return Duration::ZERO;
            }
            STRAGGLERS
        })
        .await
    }

    /// Whether the configured addresses may be asked again; notes that they are. Each question costs a connection.
    fn may_ask_seeds(&self) -> bool {
        let now = clock::now();
        let mut asked_at = self.seeds_asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let may = asked_at.is_none_or(|at| now >= at + SEEDS_APART);
        if may {
            *asked_at = Some(now);
        }
        may
    }

    async fn question_others(&self, nodes: &[Arc<Node>], with_seeds: bool) -> Result<Answers, CacheError> {
        if self.is_closed() {
            return Err(CacheError::Closed);
        }
        let deadline = Deadline::after(self.dial_timeout);
        let known = nodes.iter().map(|node| question(node, deadline));
        let asked: FuturesUnordered<_> = known.collect();
        for seed in self.seeds.iter().filter(|_| with_seeds) {
            asked.push(Box::pin(self.question_at(seed, deadline)));
        }
        let count = asked.len();
        let answers = self.gather(asked, deadline, |reports| {
            if self.belief().is_decided(reports, count) {
                return Duration::ZERO;
            }
            STRAGGLERS
        });
        Ok(answers.await)
    }

    /// Asks the configured addresses while nothing is known of the cluster.
    async fn question_seeds(&self) -> Result<Answers, CacheError> {
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

    /// Takes answers as they come. After each report `patience` says how long the others have still.
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

    /// Asks whoever answers at a configured address, over a connection that is good for nothing else.
    async fn question_at(&self, seed: &Address, deadline: Deadline) -> Result<Report, CacheError> {
        let dialed = self
            .dialer
            .dial(seed, Mode::Aside, &Expected::Anyone, Arc::new(Unheard));
        let connection = deadline
            .limit(cache_core::Stage::Connect, dialed)
            .await?
            .connection;
        let replies = connection.send_batch(&questions().each_ref(), deadline).await?;
        read(replies, seed)
    }

    fn is_stranger(&self, report: &Report) -> bool {
        !self.belief().is_ours(&report.topology)
    }

    fn learn(&self, topology: &ClusterTopology, is_another: bool, began: Instant) {
        let change = {
            let mut state = self.state();
            if self.is_closed() {
                return;
            }
            // Before the first connection to any of them.
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
        self.follow_state();
        if change == Change::Table {
            tell_of_change(topology);
        }
    }

    pub(super) fn belief(&self) -> std::sync::MutexGuard<'_, Belief> {
        self.belief.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seeds_asked_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.seeds_asked_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell_of_change(topology: &ClusterTopology) {
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
            "the cluster's topology changed; some slots are served by nobody"
        );
    }
}

/// How many of `seeds` have neither answered nor are nodes that the others know.
fn seeds_not_accounted_for(seeds: &[Address], reports: &[Report]) -> usize {
    let is_known = |seed: &&Address| {
        reports.iter().any(|report| {
            report.asked == **seed || report.topology.nodes().any(|node| node.address == **seed)
        })
    };
    seeds.iter().filter(|seed| !is_known(seed)).count()
}

/// The error of configured addresses that lead to several clusters.
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

/// What a node is asked for its view.
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

/// Reads what the node at `asked` answered to [`questions`].
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
    fn an_error_names_the_addresses_of_each_cluster() {
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
