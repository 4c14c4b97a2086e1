//! One connection of a node, with what its supervisor tracks about it.
//!
//! Three signs show whether a connection still works: whether bytes arrive while requests wait, whether any
//! request is ever answered (a broken reply may swallow all later ones), and whether callers went away
//! without a reply.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use cache_core::clock::{self, Instant};

use super::Node;
use crate::aging::retirement;
use crate::identity::NodeId;
use crate::reply::Reply;
use crate::tracking::ConnectionTracking;
use crate::wire::{Connection, Events};

/// One connection of a node.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    node: Weak<Node>,
    /// The cluster node that answers; `None` if unknown.
    leads_to: Option<NodeId>,
    /// Whether reads over it are tracked.
    pub(super) connection_tracking: Arc<ConnectionTracking>,
    /// Why it was given up, if it was silent.
    fault: OnceLock<&'static str>,
    /// The number of replies during setup.
    setup: u64,
    /// When it must be replaced.
    retire_at: Option<Instant>,
    watch: Mutex<Watch>,
}

/// What the supervisor remembers between two checks.
#[derive(Debug)]
struct Watch {
    /// How long requests have waited without any bytes.
    heard: Standstill,
    /// How long requests have waited without a reply.
    answered: Standstill,
    /// How long no call has been answered.
    used: Standstill,
    /// Replies to the supervisor's own requests.
    supervisor_replies: u64,
    /// When the connection must authenticate again.
    renew_at: Option<Instant>,
    /// How long to wait after a failed renewal.
    renew_pause: Duration,
    /// Failed renewals in a row.
    renewals_failed: u32,
    /// When the server's role was last checked.
    role_checked_at: Option<Instant>,
}

/// How often the role is checked over a connection with tracked reads. If the near cache answers all reads,
/// nothing else would reveal a dead connection.
pub(super) const ROLE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Link {
    pub(super) fn new(
        node: Weak<Node>,
        connection: Connection,
        valid_for: Option<Duration>,
        max_age: Option<Duration>,
        connection_tracking: Arc<ConnectionTracking>,
    ) -> Self {
        let watch = Watch {
            heard: Standstill::default(),
            answered: Standstill::default(),
            used: Standstill::default(),
            supervisor_replies: 0,
            renew_at: valid_for.and_then(renewal),
            renew_pause: pause(valid_for),
            renewals_failed: 0,
            role_checked_at: None,
        };
        Self {
            connection_tracking,
            fault: OnceLock::new(),
            setup: connection.traffic().answers(),
            retire_at: retirement(max_age),
            connection,
            node,
            leads_to: None,
            watch: Mutex::new(watch),
        }
    }

    /// Sets the cluster node that answers.
    pub(super) fn leading_to(self, id: Option<NodeId>) -> Self {
        Self { leads_to: id, ..self }
    }

    /// The cluster node that answers, if known.
    pub(super) const fn leads_to(&self) -> Option<&NodeId> {
        self.leads_to.as_ref()
    }

    /// The node that it belongs to, if that still exists.
    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        self.node.upgrade()
    }

    /// How long requests have waited while no byte was read or written. Call this at a steady pace: silence
    /// counts from the first call that notices it.
    pub(super) fn silent_for(&self) -> Duration {
        let traffic = self.connection.traffic();
        let mut watch = self.watch();
        watch.heard.update(traffic.moves(), traffic.in_flight() > 0)
    }

    /// How long requests have waited without a reply, even if other bytes arrived. Call this at a steady
    /// pace.
    pub(super) fn unanswered_for(&self) -> Duration {
        let traffic = self.connection.traffic();
        let mut watch = self.watch();
        watch.answered.update(traffic.answers(), traffic.in_flight() > 0)
    }

    /// How long no call has used it. Call this at a steady pace.
    pub(super) fn idle_for(&self) -> Duration {
        let traffic = self.connection.traffic();
        let mut watch = self.watch();
        let used = traffic.answers().saturating_sub(watch.supervisor_replies);
        watch.used.update(used, traffic.in_flight() == 0)
    }

    /// Records a reply to the supervisor's own request, which does not count as use.
    pub(super) fn note_supervisor_reply(&self) {
        self.watch().supervisor_replies += 1;
    }

    /// Whether calls should prefer another connection.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_held_up() || self.connection.traffic().is_crowded()
    }

    /// Whether calls would wait behind big values.
    pub(super) fn is_held_up(&self) -> bool {
        let traffic = self.connection.traffic();
        // A written big value may still be on its way.
        traffic.big() > 0 || traffic.has_big_calls()
    }

    /// Its load: bytes first, then calls.
    pub(super) fn load(&self) -> (usize, u32) {
        let traffic = self.connection.traffic();
        (traffic.big(), traffic.in_flight())
    }

    /// Closes the connection. Returns after listeners were told to drop the entries read over it.
    pub(super) fn close(&self) {
        self.connection.close();
        self.connection_tracking.end();
    }

    /// Closes the connection because of its silence. `fault` is the reason for waiting callers.
    pub(super) fn give_up(&self, fault: &'static str) {
        let _ = self.fault.set(fault);
        self.close();
    }

    /// Why it was given up, where that was for its silence.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault.get().copied()
    }

    /// Whether a role check is due; records that it begins.
    pub(super) fn is_role_check_due(&self) -> bool {
        if self.connection.is_closed() || !self.connection_tracking.needs_role_checks() {
            return false;
        }
        let mut watch = self.watch();
        let now = clock::now();
        let is_due = watch
            .role_checked_at
            .is_none_or(|at| now >= at + ROLE_CHECK_INTERVAL);
        if is_due {
            watch.role_checked_at = Some(now);
        }
        is_due
    }

    /// Whether it has answered anything since its setup.
    pub(super) fn has_served(&self) -> bool {
        self.connection.traffic().answers() > self.setup
    }

    /// Whether callers went away without a reply, nothing arrived since, and no request is left to reveal a
    /// dead connection.
    pub(super) fn is_in_doubt(&self) -> bool {
        let traffic = self.connection.traffic();
        traffic.in_flight() == 0 && traffic.is_abandoned()
    }

    /// Whether the credentials must be renewed now.
    pub(super) fn is_due(&self) -> bool {
        self.watch().renew_at.is_some_and(|at| clock::now() >= at)
    }

    /// Records that a renewal has begun, which takes at most `limit`.
    pub(super) fn renewing(&self, limit: Duration) {
        self.watch().renew_at = clock::now().checked_add(limit * 2);
    }

    /// Records a successful renewal with credentials that are valid for `valid_for`.
    pub(super) fn renewed(&self, valid_for: Option<Duration>) {
        let mut watch = self.watch();
        watch.renew_at = valid_for.and_then(renewal);
        watch.renew_pause = pause(valid_for);
        watch.renewals_failed = 0;
    }

    /// Records a failed renewal.
    pub(super) fn renewal_failed(&self, failure: Renewal) {
        let mut watch = self.watch();
        watch.renew_at = clock::now().checked_add(watch.renew_pause);
        watch.renewals_failed = match failure {
            Renewal::Failed => watch.renewals_failed.saturating_add(1),
            Renewal::Refused => watch.renewals_failed.max(RENEWALS),
        };
    }

    /// Whether the connection must be replaced: it reached its maximum age, or cannot renew its credentials.
    pub(super) fn is_worn(&self) -> bool {
        self.retire_at.is_some_and(|at| clock::now() >= at) || self.watch().renewals_failed >= RENEWALS
    }

    /// When the replacement became due.
    pub(super) fn due_since(&self) -> Instant {
        let now = clock::now();
        self.retire_at.map_or(now, |at| at.min(now))
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a renewal failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// For a temporary reason.
    Failed,
    /// The server refused the credentials.
    Refused,
}

/// Failed renewals in a row after which the connection is replaced.
const RENEWALS: u32 = 3;

/// Measures how long a count has not grown while something waited for it.
#[derive(Debug, Default)]
struct Standstill {
    count: u64,
    since: Option<Instant>,
}

impl Standstill {
    fn update(&mut self, count: u64, waiting: bool) -> Duration {
        if count != self.count || !waiting {
            self.since = None;
        }
        self.count = count;
        if !waiting {
            return Duration::ZERO;
        }
        let since = *self.since.get_or_insert_with(clock::now);
        clock::now().saturating_duration_since(since)
    }
}

/// Renews after 80 % of the validity, so that a few failures do no harm.
fn renewal(valid_for: Duration) -> Option<Instant> {
    clock::now().checked_add(valid_for.mul_f64(0.8))
}

/// Forwards the events of a connection, and wakes the supervisor when it ends.
pub(super) struct LinkEvents {
    pub(super) node: Weak<Node>,
    pub(super) connection_tracking: Arc<ConnectionTracking>,
}

impl Events for LinkEvents {
    fn on_push(&self, kind: &str, data: Vec<Reply>) {
        self.connection_tracking.hear(kind, data);
    }

    fn on_closed(&self) {
        self.connection_tracking.end();
        if let Some(node) = self.node.upgrade() {
            node.report_tracking();
            node.work.notify_one();
        }
    }
}

/// How long to wait after a failed renewal, so that several attempts fit into the remaining validity.
fn pause(valid_for: Option<Duration>) -> Duration {
    let (least, most) = RENEW_AGAIN;
    valid_for.map_or(most, |valid_for| (valid_for / 20).clamp(least, most))
}

/// The shortest and the longest wait after a failed renewal.
const RENEW_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn standstill_counts_only_while_something_waits() {
        let mut still = Standstill::default();
        let second = Duration::from_secs(1);
        assert_eq!(still.update(0, true), Duration::ZERO);
        tokio::time::advance(second).await;
        assert_eq!(still.update(0, true), second);
        assert_eq!(still.update(1, true), Duration::ZERO);
        tokio::time::advance(second).await;
        assert_eq!(still.update(1, false), Duration::ZERO);
        assert_eq!(still.update(1, true), Duration::ZERO);
    }
}
