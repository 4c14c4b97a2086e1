//! Leaves a replica out of reads for a while that has just said that it cannot answer them.
//!
//! It loads its data, or has lost its primary, or is busy. Each read that met it would be repeated elsewhere, at the cost
//! of a round trip and a pause. So it is left out for [`REST`], and its keeper asks meanwhile whether it answers again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cache_core::clock::{self, Instant};

use super::Node;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Mode;
use crate::reply::{Reply, ServerError};

/// For how long a replica is left out after it has said that it cannot answer.
const REST: Duration = Duration::from_secs(2);

/// Until when a replica is left out.
#[derive(Debug)]
pub(super) struct Rest {
    born: Instant,
    /// Milliseconds since `born`; 0 while it is not left out.
    until: AtomicU64,
    is_asking: AtomicBool,
}

impl Rest {
    pub(super) fn new() -> Self {
        Self {
            born: clock::now(),
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

    /// Begins, or begins again; whether it was over.
    fn begin(&self) -> bool {
        let now = self.stamp(clock::now());
        let until = self
            .until
            .swap(self.stamp(clock::now() + REST), Ordering::Relaxed);
        until <= now
    }

    fn end(&self) -> bool {
        self.until.swap(0, Ordering::Relaxed) != 0
    }

    fn stamp(&self, at: Instant) -> u64 {
        let age = at.saturating_duration_since(self.born);
        age.as_secs() * 1_000 + u64::from(age.subsec_millis()) + 1
    }
}

/// Whether a replica that refuses so cannot answer any reads at the moment.
fn is_unfit(refusal: &ServerError) -> bool {
    matches!(
        refusal.code.as_str(),
        "LOADING" | "MASTERDOWN" | "BUSY" | "CLUSTERDOWN"
    )
}

impl Node {
    /// Whether reads can be sent to this replica, as far as is known.
    #[inline]
    pub(crate) fn is_fit(&self) -> bool {
        self.rest.is_over() && !self.is_down()
    }

    /// Notes a refusal: a replica that cannot answer is left out for a while.
    pub(super) fn rest_if_unfit(&self, reply: &Reply) {
        if self.mode == Mode::Replica
            && let Reply::Error(refusal) = reply
            && is_unfit(refusal)
            && self.rest.begin()
        {
            tracing::info!(node = %self.address, refusal = refusal.code, "reads leave this replica out until it can answer");
        }
    }

    /// Asks a replica that is left out whether it answers again; until then it stays so.
    pub(super) fn ask_if_fit(self: &Arc<Self>) {
        if self.rest.is_over() || self.rest.is_asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(link) = self.links.load().first().cloned() else {
            self.rest.is_asking.store(false, Ordering::Release);
            return;
        };
        let node = Arc::downgrade(self);
        let deadline = Deadline::after(self.dialer.limits().silence);
        tokio::spawn(async move {
            let answer = link.connection.send(&Command::read("PING"), deadline).await;
            if answer.is_ok() {
                link.note_own_answer();
            }
            let Some(node) = node.upgrade() else { return };
            match answer {
                Ok(Reply::Error(refusal)) if is_unfit(&refusal) => drop(node.rest.begin()),
                Ok(_) if node.rest.end() => {
                    tracing::info!(node = %node.address, "this replica can answer reads again");
                }
                _ => {}
            }
            node.rest.is_asking.store(false, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rest_ends_by_itself_and_begins_again_with_each_refusal() {
        let rest = Rest::new();
        assert!(rest.is_over());
        assert!(rest.begin(), "it was not left out before");
        tokio::time::advance(REST / 2).await;
        assert!(!rest.is_over());
        assert!(!rest.begin());
        tokio::time::advance(REST / 2).await;
        assert!(!rest.is_over());
        tokio::time::advance(REST / 2).await;
        assert!(rest.is_over());
        assert!(rest.begin());
        assert!(rest.end());
        assert!(rest.is_over() && !rest.end());
    }
}
