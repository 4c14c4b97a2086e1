//! Keeps reads away from a replica that has just said that it cannot answer them.
//!
//! The replica loads its data, has lost its primary, or is busy. Each read sent to it would be repeated
//! elsewhere, at the cost of a round trip and a pause. So it gets no reads for [`COOLDOWN`], and the
//! supervisor pings it until it is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cache_core::clock::{self, Instant};

use super::Node;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Mode;
use crate::reply::{Reply, ServerError};

/// How long a replica gets no reads after such a refusal.
const COOLDOWN: Duration = Duration::from_secs(2);

/// Until when a replica gets no reads.
#[derive(Debug)]
pub(super) struct Cooldown {
    created: Instant,
    /// Milliseconds since `created`; 0 outside of a cooldown.
    until: AtomicU64,
    is_asking: AtomicBool,
}

impl Cooldown {
    pub(super) fn new() -> Self {
        Self {
            created: clock::now(),
            until: AtomicU64::new(0),
            is_asking: AtomicBool::new(false),
        }
    }

    #[inline]
    fn is_over(&self) -> bool {
        match self.until.load(Ordering::Relaxed) {
            0 => true,
            until => self.stamp(clock::now()) >= until,
        }
    }

    /// Begins or extends the cooldown. Returns whether it was over.
    fn begin(&self) -> bool {
        let now = self.stamp(clock::now());
        let until = self
            .until
            .swap(self.stamp(clock::now() + COOLDOWN), Ordering::Relaxed);
        until <= now
    }

    fn end(&self) -> bool {
        self.until.swap(0, Ordering::Relaxed) != 0
    }

    fn stamp(&self, at: Instant) -> u64 {
        let age = at.saturating_duration_since(self.created);
        age.as_secs() * 1_000 + u64::from(age.subsec_millis()) + 1
    }
}

/// Whether the refusal means that the replica cannot answer any reads now.
fn is_unready(refusal: &ServerError) -> bool {
    matches!(
        refusal.code.as_str(),
        "LOADING" | "MASTERDOWN" | "BUSY" | "CLUSTERDOWN"
    )
}

impl Node {
    /// Whether reads can be sent to this replica, as far as known.
    #[inline]
    pub(crate) fn can_answer_reads(&self) -> bool {
        self.cooldown.is_over() && !self.is_down()
    }

    /// Begins a cooldown if the reply says that this replica cannot answer reads.
    pub(super) fn cool_down_if_unready(&self, reply: &Reply) {
        if self.mode == Mode::Replica
            && let Reply::Error(refusal) = reply
            && is_unready(refusal)
            && self.cooldown.begin()
        {
            tracing::info!(node = %self.address, refusal = refusal.code, "reads leave this replica out until it can answer");
        }
    }

    /// Pings a replica in cooldown, and extends or ends the cooldown by its answer.
    pub(super) fn probe_if_cooling_down(self: &Arc<Self>) {
        if self.cooldown.is_over() || self.cooldown.is_asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(link) = self.links.load().first().cloned() else {
            self.cooldown.is_asking.store(false, Ordering::Release);
            return;
        };
        let node = Arc::downgrade(self);
        let deadline = Deadline::after(self.dialer.limits().silence);
        tokio::spawn(async move {
            let answer = link.connection.send(&Command::read("PING"), deadline).await;
            if answer.is_ok() {
                link.note_supervisor_reply();
            }
            let Some(node) = node.upgrade() else { return };
            match answer {
                Ok(Reply::Error(refusal)) if is_unready(&refusal) => drop(node.cooldown.begin()),
                Ok(_) if node.cooldown.end() => {
                    tracing::info!(node = %node.address, "this replica can answer reads again");
                }
                _ => {}
            }
            node.cooldown.is_asking.store(false, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn cooldown_expires_and_restarts_with_each_refusal() {
        let rest = Cooldown::new();
        assert!(rest.is_over());
        assert!(rest.begin(), "it was not left out before");
        tokio::time::advance(COOLDOWN / 2).await;
        assert!(!rest.is_over());
        assert!(!rest.begin());
        tokio::time::advance(COOLDOWN / 2).await;
        assert!(!rest.is_over());
        tokio::time::advance(COOLDOWN / 2).await;
        assert!(rest.is_over());
        assert!(rest.begin());
        assert!(rest.end());
        assert!(rest.is_over() && !rest.end());
    }
}
