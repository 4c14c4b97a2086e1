//! What a keeper does about time in which it did not run: its runtime was gone, or did not run, as that of a process that
//! sleeps between calls.
//!
//! What was known before says little: peers have hung up, and the tasks of connections may belong to a runtime that does
//! not run. And only time in which it runs is time that a server took.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;
use futures::future::join_all;

use super::link::Link;
use super::pick::PATIENCE;
use super::{Health, Node};
use crate::command::Command;
use crate::deadline::Deadline;

/// How long a connection has for an answer after its keeper did not run for a while.
const VETTING: Duration = Duration::from_millis(500);

/// How often a first try to connect is looked at that may take long.
const GLANCE: Duration = Duration::from_millis(100);

impl Node {
    /// Asks over every connection whether it still works, after nobody looked after them for a while. The tasks of those that
    /// were opened on another runtime may not run any more; the peer may have hung up on others.
    pub(super) async fn vet_links(&self) {
        let links = self.links.load_full();
        let ping = Command::read("PING");
        let deadline = Deadline::after(VETTING);
        join_all(links.iter().map(|link| async {
            // The connection's own task looks at the deadlines of its calls, if it runs.
            let asked = tokio::time::timeout_at(deadline.at(), link.connection.send(&ping, deadline)).await;
            match asked {
                Ok(Ok(_)) => {}
                Ok(Err(CacheError::Unavailable { .. })) => link.close(),
                // Slow is not dead: its calls keep their deadlines. But what was read over it is given up, since changes
                // may have been reported and lost.
                _ => {
                    link.witness.end();
                    self.take_out(link);
                    self.retire(Arc::clone(link));
                }
            }
        }))
        .await;
    }

    /// Makes known what the keeper has found when it looked again after a while, and wakes all who wait for that.
    pub(super) fn settle_health(&self) {
        let has_link = self.links.load().iter().any(|link| !link.connection.is_closed());
        self.health.send_modify(|health| {
            if has_link && matches!(health, Health::Idle | Health::Connecting { .. }) {
                *health = Health::Up;
            }
        });
    }

    /// Dials, and says so when that takes longer than calls are to wait. Only time in which this runtime ran counts.
    pub(super) async fn dial_in_sight(self: &Arc<Self>) -> Result<Link, CacheError> {
        let mut dial = pin!(self.dial());
        let mut waited = Duration::ZERO;
        loop {
            if let Ok(dialed) = tokio::time::timeout(GLANCE, dial.as_mut()).await {
                return dialed;
            }
            waited += GLANCE;
            if waited >= PATIENCE {
                self.health.send_if_modified(|health| match health {
                    Health::Connecting { is_slow: false } => {
                        *health = Health::Connecting { is_slow: true };
                        true
                    }
                    _ => false,
                });
            }
        }
    }
}
