//! The task that keeps the routing table fresh: has nodes asked how the cluster looks, when the schedule says.
//!
//! Not in here: who is asked, and what is believed, see `inquiry.rs`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cache_core::clock;
use rand::Rng;
use tokio::sync::Notify;

use super::Cluster;
use super::schedule::{EpochWatch, Schedule};
use super::survey::epoch_of;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::node::Node;

/// How long a node has for the answer to whether the cluster has changed.
const LIMIT: Duration = Duration::from_secs(1);

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
