//! The task that keeps the routing table fresh: has nodes asked how the cluster looks, when the schedule says.
//!
//! Not in here: who is asked, and what is believed, see `inquiry.rs`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cache_core::clock;

use super::Cluster;
use super::epoch::EpochWatch;
use super::survey::epoch_of;
use crate::background::Run;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::node::Node;
use crate::schedule::Outlook;
use crate::upkeep::Upkeep;

/// How long a node has for the answer to whether the cluster has changed.
const LIMIT: Duration = Duration::from_secs(1);

/// How often one primary is asked for the cluster's epoch while somebody keeps what was read: with all reads
/// answered near, no redirection would tell that slots have moved.
const EPOCH_PACE: Duration = Duration::from_secs(1);

/// The same while some primary cannot be used: from the first to the second, growing as the outage lasts.
const OUTAGE_PACE: (Duration, Duration) = (Duration::from_millis(200), EPOCH_PACE);

/// Keeps the table of `cluster` fresh until it is closed or dropped.
pub(super) async fn keep_fresh(cluster: Weak<Cluster>, upkeep: Arc<Upkeep>, run: Run) {
    let mut watch = EpochWatch::default();
    loop {
        run.resume();
        run.attend(wait(&upkeep, &mut watch, &cluster)).await;
        let Some(cluster) = cluster.upgrade().filter(|cluster| !cluster.is_closed()) else {
            return;
        };
        // The error is kept for the calls that it explains.
        let _ = run.attend(cluster.survey()).await;
        cluster.close_unused();
    }
}

/// Waits until a survey is due, listening and looking for hints that make it due sooner.
async fn wait(upkeep: &Upkeep, watch: &mut EpochWatch, cluster: &Weak<Cluster>) {
    let mut asked = clock::now();
    while !upkeep.is_wanted() {
        let outage = upkeep.outage();
        let pace = outage.map_or(EPOCH_PACE, |time| (time / 8).clamp(OUTAGE_PACE.0, OUTAGE_PACE.1));
        tokio::select! {
            () = upkeep.wanted() => {}
            () = tokio::time::sleep_until(upkeep.due()) => return,
            () = tokio::time::sleep_until(asked + pace) => {
                asked = clock::now();
                // Without the cluster in hand while asking: whoever drops it ends this task.
                let question = cluster.upgrade().and_then(|cluster| cluster.epoch_question(outage.is_some()));
                if let Some((node, known)) = question
                    && (watch.is_to_confirm(known, clock::now()) || is_behind(&node, known).await)
                {
                    upkeep.want();
                }
            }
        }
    }
    tokio::time::sleep_until(upkeep.due()).await;
}

impl Cluster {
    /// Whom to ask whether the cluster has changed, and the epoch that is known: during an outage, or where somebody
    /// keeps what was read, and if the user may ask.
    fn epoch_question(&self, is_outage: bool) -> Option<(Arc<Node>, u64)> {
        let table = self.table.load();
        let is_of_interest = is_outage || self.feed.is_heard();
        if self.is_closed() || !is_of_interest || table.epoch() == 0 {
            return None;
        }
        let node = self.any_primary(&table).ok()?;
        (!node.is_down()).then(|| (node, table.epoch()))
    }

    /// How the cluster is, after a survey that found its topology or did not.
    pub(super) fn outlook(&self, is_surveyed: bool) -> Outlook {
        let table = self.table.load();
        let is_known = is_surveyed && table.is_complete();
        let are_down = || table.serving().map(|shard| shard.primary().is_down());
        if is_known && !are_down().any(|is_down| is_down) {
            Outlook::Well
        } else if is_known && table.epoch() != 0 && !are_down().all(|is_down| is_down) {
            Outlook::Watched
        } else {
            Outlook::Blind
        }
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
    match node.ask(&[&info], Deadline::after(LIMIT)).await {
        Ok(replies) => replies
            .first()
            .and_then(|reply| epoch_of(reply.as_text()?))
            .is_some_and(|epoch| epoch > known),
        Err(_) => false,
    }
}
