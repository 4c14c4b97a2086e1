//! Runs the background task that refreshes the routing table when the schedule says so.
//!
//! Not in here: which nodes are asked, see `discovery.rs`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cache_core::clock;

use super::Cluster;
use super::epoch::EpochWatch;
use super::report::epoch_of;
use crate::background::Run;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::node::Node;
use crate::refresher::Refresher;
use crate::schedule::Outlook;

/// How long to wait for a node's epoch.
const LIMIT: Duration = Duration::from_secs(1);

/// How often one primary is asked for the epoch while a near cache keeps entries. If all reads are answered
/// by the near cache, no redirection would reveal a moved slot.
const EPOCH_PACE: Duration = Duration::from_secs(1);

/// The same while a primary is down: the shortest and the longest interval; it grows with the outage.
const OUTAGE_PACE: (Duration, Duration) = (Duration::from_millis(200), EPOCH_PACE);

/// Refreshes the table of `cluster` until the cluster is closed or dropped.
pub(super) async fn refresh_until_closed(cluster: Weak<Cluster>, refresher: Arc<Refresher>, run: Run) {
    let mut watch = EpochWatch::default();
    loop {
        run.resume();
        run.run_with_heartbeat(wait(&refresher, &mut watch, &cluster))
            .await;
        let Some(cluster) = cluster.upgrade().filter(|cluster| !cluster.is_closed()) else {
            return;
        };
        // The error is stored for the calls that it explains.
        let _ = run.run_with_heartbeat(cluster.discover()).await;
        cluster.close_unused();
    }
}

/// Waits until a discovery is due. Hints and a newer epoch make it due sooner.
async fn wait(refresher: &Refresher, watch: &mut EpochWatch, cluster: &Weak<Cluster>) {
    let mut asked = clock::now();
    while !refresher.is_wanted() {
        let outage = refresher.outage();
        let pace = outage.map_or(EPOCH_PACE, |time| (time / 8).clamp(OUTAGE_PACE.0, OUTAGE_PACE.1));
        tokio::select! {
            () = refresher.wanted() => {}
            () = tokio::time::sleep_until(refresher.due()) => return,
            () = tokio::time::sleep_until(asked + pace) => {
                asked = clock::now();
                // Does not hold the cluster while asking, so that dropping it ends this task.
                let question = cluster.upgrade().and_then(|cluster| cluster.epoch_question(outage.is_some()));
                if let Some((node, known)) = question
                    && (watch.is_to_confirm(known, clock::now()) || is_behind(&node, known).await)
                {
                    refresher.want();
                }
            }
        }
    }
    tokio::time::sleep_until(refresher.due()).await;
}

impl Cluster {
    /// The node to ask for the epoch, and the known epoch. `None` unless there is an outage or a near cache
    /// keeps entries, or if the user may not ask.
    fn epoch_question(&self, is_outage: bool) -> Option<(Arc<Node>, u64)> {
        let table = self.table.load();
        let is_of_interest = is_outage || self.feed.has_listeners();
        if self.is_closed() || !is_of_interest || table.epoch() == 0 {
            return None;
        }
        let node = self.any_primary(&table).ok()?;
        (!node.is_down()).then(|| (node, table.epoch()))
    }

    /// The state of the cluster after a discovery.
    pub(super) fn outlook(&self, is_discovered: bool) -> Outlook {
        let table = self.table.load();
        let is_known = is_discovered && table.is_complete();
        let are_down = || table.serving().map(|shard| shard.primary().is_down());
        if is_known && !are_down().any(|is_down| is_down) {
            Outlook::Healthy
        } else if is_known && table.epoch() != 0 && !are_down().all(|is_down| is_down) {
            Outlook::OutageReported
        } else {
            Outlook::OutageUnreported
        }
    }

    fn close_unused(&self) {
        let unused = self.state().take_unused(self.grace, clock::now());
        for node in unused {
            node.close();
        }
    }
}

/// Whether `node` knows a newer epoch than `known`. Every failover and every moved slot raise the epoch.
async fn is_behind(node: &Arc<Node>, known: u64) -> bool {
    let info = Command::read("CLUSTER").arg("INFO");
    match node.ask(&[&info], Deadline::after(LIMIT)).await {
        Ok(replies) => replies
            .first()
            .and_then(|reply| epoch_of(reply.as_text()?))
            .is_some_and(|epoch| epoch > known),
        Err(_) => false,
    }
}
