//! Closes connections that a past peak opened and nobody has used since, down to one.
//!
//! Not in here: when further connections are opened, see `keeper.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::link::Link;

/// How many times longer a connection stays that vouches for what is kept near: closing it costs all of that.
const VOUCHING: u32 = 10;

impl Node {
    /// Retires connections that were idle for too long. The first one stays: calls use it before all others.
    pub(super) fn close_idle(&self) {
        let limit = self.dialer.limits().idle;
        let links = self.links.load_full();
        // All are asked, so that each knows since when it has been idle.
        let idle: Vec<_> = links.iter().map(|link| link.idle_for()).collect();
        let surplus = links.iter().zip(idle).skip(1);
        for (link, _) in surplus.filter(|(link, idle)| *idle >= self.limit_of(link, limit)) {
            self.take_out(link);
            self.retire(Arc::clone(link));
            tracing::debug!(node = %self.address, "closed a connection that nobody has used for a while");
        }
    }

    fn limit_of(&self, link: &Link, limit: Duration) -> Duration {
        let vouches = self.tracking.feed().is_heard() && link.witness.has_served();
        if vouches {
            limit.saturating_mul(VOUCHING)
        } else {
            limit
        }
    }
}
