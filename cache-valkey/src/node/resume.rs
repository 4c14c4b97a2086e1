//! Recovers after a suspension: the supervisor's runtime was gone, or did not run, as in a process that
//! sleeps between calls.
//!
//! What was known before is outdated: peers may have hung up, and connection tasks may belong to a suspended
//! runtime. Only time in which the supervisor runs counts as time that a server took.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::CacheError;
use futures::future::join_all;

use super::link::Link;
use super::pick::MAX_CONNECT_WAIT;
use super::{Health, Node};
use crate::command::Command;
use crate::deadline::Deadline;

/// How long a connection may take to answer a ping after a suspension.
const PING_TIMEOUT: Duration = Duration::from_millis(500);

/// How often a slow connection attempt is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

impl Node {
    /// Pings every connection after a suspension. The tasks of connections that were opened on another
    /// runtime may no longer run, and peers may have hung up.
    pub(super) async fn ping_links(&self) {
        let links = self.links.load_full();
        let ping = Command::read("PING");
        let deadline = Deadline::after(PING_TIMEOUT);
        join_all(links.iter().map(|link| async {
            // A timeout here too, because the connection's own task may not run.
            let asked = tokio::time::timeout_at(deadline.at(), link.connection.send(&ping, deadline)).await;
            match asked {
                Ok(Ok(_)) => {}
                Ok(Err(CacheError::Unavailable { .. })) => link.close(),
                // Slow is not dead: its calls keep their deadlines. But what was read over it is given up, since changes
                // may have been reported and lost.
                _ => {
                    link.connection_tracking.end();
                    self.take_out(link);
                    self.retire(Arc::clone(link));
                }
            }
        }))
        .await;
    }

    /// Publishes the node's health after a suspension, and wakes waiting calls.
    pub(super) fn settle_health(&self) {
        let has_link = self.links.load().iter().any(|link| !link.connection.is_closed());
        self.health.send_modify(|health| {
            if has_link && matches!(health, Health::Idle | Health::Connecting { .. }) {
                *health = Health::Up;
            }
        });
    }

    /// Dials, and marks the attempt as slow if it takes longer than calls wait. Counts only time in which
    /// this runtime ran.
    pub(super) async fn dial_and_flag_slow(self: &Arc<Self>) -> Result<Link, CacheError> {
        let mut dial = pin!(self.dial());
        let mut waited = Duration::ZERO;
        loop {
            if let Ok(dialed) = tokio::time::timeout(CHECK_INTERVAL, dial.as_mut()).await {
                return dialed;
            }
            waited += CHECK_INTERVAL;
            if waited >= MAX_CONNECT_WAIT {
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
