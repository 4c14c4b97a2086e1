//! One connection of a node, with what its keeper remembers of it.

use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use cache_core::clock::{self, Instant};

use super::Node;
use crate::reply::Reply;
use crate::wire::{Connection, Events};

/// One connection of a node.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    watch: Mutex<Watch>,
}

/// What the keeper remembers from one look to the next.
#[derive(Debug)]
struct Watch {
    /// What the count of reads was when requests were first seen to wait.
    reads: u64,
    /// Since when requests have waited without anything being heard.
    silent_since: Option<Instant>,
    /// When the connection must authenticate again.
    renew_at: Option<Instant>,
}

impl Link {
    pub(super) fn new(connection: Connection, valid_for: Option<Duration>) -> Self {
        let watch = Watch {
            reads: 0,
            silent_since: None,
            renew_at: valid_for.map(renewal),
        };
        Self {
            connection,
            watch: Mutex::new(watch),
        }
    }

    /// For how long requests have waited without anything being heard from the server. To be asked at
    /// a steady pace: silence is counted from the first time it is noticed.
    pub(super) fn silence(&self) -> Duration {
        let traffic = self.connection.traffic();
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = traffic.reads() != watch.reads;
        watch.reads = traffic.reads();
        if heard || traffic.in_flight() == 0 {
            watch.silent_since = None;
        }
        if traffic.in_flight() == 0 {
            return Duration::ZERO;
        }
        let since = *watch.silent_since.get_or_insert_with(clock::now);
        clock::now().saturating_duration_since(since)
    }

    /// Whether the connection must authenticate again by now.
    pub(super) fn is_due(&self) -> bool {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.renew_at.is_some_and(|at| clock::now() >= at)
    }

    /// Notes that the connection has authenticated again, or has to be asked again after `valid_for`.
    pub(super) fn renewed(&self, valid_for: Option<Duration>) {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).renew_at = valid_for.map(renewal);
    }
}

/// Renews well before the end, at four fifths of the life, so that a few failures do no harm.
fn renewal(valid_for: Duration) -> Instant {
    clock::now() + valid_for.mul_f64(0.8)
}

/// Tells the node's keeper that a connection has ended.
pub(super) struct LinkEvents(pub(super) Weak<Node>);

impl Events for LinkEvents {
    fn on_push(&self, _kind: &str, _data: Vec<Reply>) {}

    fn on_closed(&self) {
        if let Some(node) = self.0.upgrade() {
            node.work.notify_one();
        }
    }
}
