//! The task that keeps the routing table fresh: asks nodes how the cluster looks, when the schedule says.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cache_core::CacheError;
use cache_core::clock::{self, Instant};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::Rng;
use rand::seq::SliceRandom;
use tokio::sync::Notify;

use super::Cluster;
use super::route::not_ready;
use super::schedule::{EpochWatch, Schedule};
use super::state::Change;
use super::survey::{Ballot, Report, epoch_of};
use super::topology::ClusterTopology;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::node::Node;

/// Nodes that are asked at once: enough to outvote a stale one, few enough for a cluster of hundreds.
const SAMPLE: usize = 5;

/// With fewer primaries than this in reach, replicas are asked as well.
const QUORUM: usize = 3;

/// How long known nodes have for an answer, before all others and the seeds are asked.
const LIMIT: Duration = Duration::from_secs(1);

/// How long the others have once one has answered.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// How often one primary is asked for the cluster's epoch while somebody keeps what was read: with all reads
/// answered near, no redirection would tell that slots have moved.
const EPOCH_PACE: Duration = Duration::from_secs(1);

/// Keeps the table of `cluster` fresh until it is closed or dropped.
pub(super) async fn keep_fresh(cluster: Weak<Cluster>, hints: Arc<Notify>) {
    let mut schedule = Schedule::new(clock::now());
    let mut watch = EpochWatch::default();
    let mut healthy = cluster.upgrade().is_some_and(|cluster| cluster.is_healthy());
    loop {
        schedule.end(healthy, rand::rng().random(), clock::now());
        wait(&mut schedule, &mut watch, &hints, &cluster).await;
        let Some(cluster) = cluster.upgrade().filter(|cluster| !cluster.is_closed()) else {
            return;
        };
        schedule.begin(clock::now());
        healthy = cluster.survey().await.is_ok() && cluster.is_healthy();
        cluster.close_unused();
    }
}

/// Waits until a survey is due, listening and looking for hints that make it due sooner.
async fn wait(schedule: &mut Schedule, watch: &mut EpochWatch, hints: &Notify, cluster: &Weak<Cluster>) {
    while !schedule.is_wanted() {
        tokio::select! {
            () = hints.notified() => schedule.want(),
            () = tokio::time::sleep_until(schedule.due()) => return,
            () = tokio::time::sleep(EPOCH_PACE) => {
                // Without the cluster in hand while asking: whoever drops it ends this task.
                let question = cluster.upgrade().and_then(|cluster| cluster.epoch_question());
                if let Some((node, known)) = question
                    && (watch.is_to_confirm(known, clock::now()) || is_behind(&node, known).await)
                {
                    schedule.want();
                }
            }
        }
    }
    tokio::time::sleep_until(schedule.due()).await;
}

impl Cluster {
    /// Asks the cluster how it looks, and routes by the answer from then on.
    pub(super) async fn survey(&self) -> Result<(), CacheError> {
        let _turn = self.surveying.lock().await;
        let began = clock::now();
        let found = self.find_topology().await;
        if let Ok(topology) = &found {
            self.learn(topology, began);
        }
        let result = found.map(drop);
        *self.failure() = result.as_ref().err().cloned();
        result
    }

    async fn find_topology(&self) -> Result<ClusterTopology, CacheError> {
        let (near, far) = self.candidates();
        if let Ok(topology) = question_all(&near, Deadline::after(LIMIT)).await {
            return Ok(topology);
        }
        // Nodes that were down a moment ago, and the seeds, whose names are looked up anew.
        let far: Vec<_> = {
            let mut state = self.state();
            if self.is_closed() {
                return Err(CacheError::Closed);
            }
            let seeds = self.seeds.iter().map(|seed| state.node(seed));
            far.into_iter().chain(seeds).collect()
        };
        question_all(&far, Deadline::after(self.dial_timeout)).await
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

    fn learn(&self, topology: &ClusterTopology, began: Instant) {
        let change = {
            let mut state = self.state();
            if self.is_closed() {
                return;
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
            let unserved: usize = topology.unserved().iter().map(ExactSizeIterator::len).sum();
            let replicas: usize = topology.shards.iter().map(|shard| shard.replicas.len()).sum();
            let primaries = topology.shards.len();
            let epoch = topology.epoch;
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
    }

    /// Whom to ask whether the cluster has changed, and the epoch that is known: where somebody keeps what was
    /// read, and the user may ask.
    fn epoch_question(&self) -> Option<(Arc<Node>, u64)> {
        let table = self.table.load();
        if self.is_closed() || !self.feed.is_heard() || table.epoch() == 0 {
            return None;
        }
        let node = self.any_primary(&table).ok()?;
        (!node.is_down()).then(|| (node, table.epoch()))
    }

    /// Whether every slot can be served, as far as is known.
    fn is_healthy(&self) -> bool {
        let table = self.table.load();
        table.is_complete() && table.serving().all(|shard| !shard.primary().is_down())
    }

    fn close_unused(&self) {
        let unused = self.state().take_unused(self.grace, clock::now());
        for node in unused {
            node.close();
        }
    }
}

/// Asks `nodes` at once and takes the best answer, without waiting for those that hang.
async fn question_all(nodes: &[Arc<Node>], deadline: Deadline) -> Result<ClusterTopology, CacheError> {
    let mut answers: FuturesUnordered<_> = nodes.iter().map(|node| question(node, deadline)).collect();
    let mut ballot = Ballot::default();
    let mut failure: Option<CacheError> = None;
    let mut until = deadline.at();
    while let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await {
        match answer {
            Ok(report) => {
                ballot.add(report);
                if ballot.is_decided(nodes.len()) {
                    break;
                }
                until = until.min(clock::now() + STRAGGLERS);
            }
            // What somebody has to act on says more than that a node is away.
            Err(error) if failure.as_ref().is_none_or(CacheError::is_transient) => failure = Some(error),
            Err(_) => {}
        }
    }
    ballot.winner().ok_or_else(|| {
        failure.unwrap_or_else(|| not_ready("no node of the cluster answered in time".to_owned()))
    })
}

/// Whether `node` knows of a change of the cluster since the epoch that is `known`. Every failover and every
/// slot that moved raise it.
async fn is_behind(node: &Arc<Node>, known: u64) -> bool {
    let info = Command::read("CLUSTER").arg("INFO");
    match node.send(&info, Deadline::after(LIMIT)).await {
        Ok(reply) => reply
            .as_text()
            .and_then(epoch_of)
            .is_some_and(|epoch| epoch > known),
        Err(_) => false,
    }
}

async fn question(node: &Arc<Node>, deadline: Deadline) -> Result<Report, CacheError> {
    node.connect(deadline).await?;
    let slots = Command::read("CLUSTER").arg("SLOTS");
    let info = Command::read("CLUSTER").arg("INFO");
    let replies = node.send_batch(&[&slots, &info], deadline).await?;
    let [slots, info] = replies.as_slice() else {
        return Err(crate::reply::Reply::Array(replies).unexpected("two replies"));
    };
    let report = Report::read(slots, info, node.address())?;
    let shards = report.topology.shards.iter();
    node.announces(shards.flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas)));
    if report.topology.shards.is_empty() {
        return Err(not_ready(format!(
            "{} is in a cluster that serves no slots",
            node.address()
        )));
    }
    Ok(report)
}
