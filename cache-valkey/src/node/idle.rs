//! Closes idle connections that a load peak opened, down to one.
//!
//! Not in here: when further connections are opened, see `supervisor.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::link::Link;

/// How many times longer a connection with tracked reads stays, because closing it drops a near cache's
/// entries.
const TRACKED_FACTOR: u32 = 10;

impl Node {
    /// Retires connections that were idle for too long. The first one stays, because calls prefer it.
    pub(super) fn close_idle(&self) {
        let limit = self.dialer.limits().idle;
        let links = self.links.load_full();
        // Computed for all links, because each call also updates the link's idle time.
        let idle: Vec<_> = links.iter().map(|link| link.idle_for()).collect();
        let surplus = links.iter().zip(idle).skip(1);
        for (link, _) in surplus.filter(|(link, idle)| *idle >= self.limit_of(link, limit)) {
            self.take_out(link);
            self.retire(Arc::clone(link));
            tracing::debug!(node = %self.address, "closed an idle connection");
        }
    }

    fn limit_of(&self, link: &Link, limit: Duration) -> Duration {
        let is_tracked = self.tracking.feed().has_listeners() && link.connection_tracking.has_served();
        if is_tracked {
            limit.saturating_mul(TRACKED_FACTOR)
        } else {
            limit
        }
    }
}
