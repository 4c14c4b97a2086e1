//! One connection of a node, with what its keeper remembers of it.
//!
//! Whether a connection is still good for anything is read off three things: whether anything is heard
//! while requests wait, whether any of them is ever answered (a broken reply may swallow all that come
//! after it), and whether callers went away without their reply.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use cache_core::clock::{self, Instant};

use super::Node;
use crate::aging::retirement;
use crate::identity::NodeId;
use crate::reply::Reply;
use crate::tracking::Witness;
use crate::wire::{Connection, Events};

/// One connection of a node.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    node: Weak<Node>,
    /// The node of a cluster that answers; `None` if it does not say.
    leads_to: Option<NodeId>,
    /// What it vouches for.
    pub(super) witness: Arc<Witness>,
    /// Why it was given up, where that was for its silence.
    fault: OnceLock<&'static str>,
    /// The replies of its setup.
    setup: u64,
    /// When it has to be replaced.
    retire_at: Option<Instant>,
    watch: Mutex<Watch>,
}

/// What the keeper remembers from one look to the next.
#[derive(Debug)]
struct Watch {
    /// Reads, and since when requests have waited without one.
    heard: Standstill,
    /// Replies, and since when requests have waited without one.
    answered: Standstill,
    /// Replies to calls, and since when there was none.
    used: Standstill,
    /// Replies to questions of the keeper.
    own_answers: u64,
    /// When the connection must authenticate again.
    renew_at: Option<Instant>,
    /// How long a renewal that failed waits for the next one.
    renew_pause: Duration,
    /// Renewals in a row that failed.
    renewals_failed: u32,
    /// When the server was last asked for its role.
    asked_at: Option<Instant>,
}

/// How often the server is asked over a connection that vouches for what is kept near: as long as all reads
/// are answered near nothing else would tell that the connection is dead.
pub(super) const PULSE: Duration = Duration::from_secs(1);

impl Link {
    pub(super) fn new(
        node: Weak<Node>,
        connection: Connection,
        valid_for: Option<Duration>,
        max_age: Option<Duration>,
        witness: Arc<Witness>,
    ) -> Self {
        let watch = Watch {
            heard: Standstill::default(),
            answered: Standstill::default(),
            used: Standstill::default(),
            own_answers: 0,
            renew_at: valid_for.and_then(renewal),
            renew_pause: pause(valid_for),
            renewals_failed: 0,
            asked_at: None,
        };
        Self {
            witness,
            fault: OnceLock::new(),
            setup: connection.traffic().answers(),
            retire_at: retirement(max_age),
            connection,
            node,
            leads_to: None,
            watch: Mutex::new(watch),
        }
    }

    /// The same, with the node of the cluster that answers.
    pub(super) fn leading_to(self, id: Option<NodeId>) -> Self {
        Self { leads_to: id, ..self }
    }

    /// The node of a cluster that answers, if it says who it is.
    pub(super) const fn leads_to(&self) -> Option<&NodeId> {
        self.leads_to.as_ref()
    }

    /// The node that it leads to, if that is still in use.
    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        self.node.upgrade()
    }

    /// For how long requests have waited without anything being heard from the server, or written to it. To be asked
    /// at a steady pace: silence is counted from the first time it is noticed.
    pub(super) fn silence(&self) -> Duration {
        let traffic = self.connection.traffic();
        let mut watch = self.watch();
        watch.heard.look(traffic.moves(), traffic.in_flight() > 0)
    }

    /// For how long requests have waited without any being answered, whatever was heard meanwhile. To be
    /// asked at a steady pace.
    pub(super) fn fruitless(&self) -> Duration {
        let traffic = self.connection.traffic();
        let mut watch = self.watch();
        watch.answered.look(traffic.answers(), traffic.in_flight() > 0)
    }

    /// For how long no call has used it. To be asked at a steady pace.
    pub(super) fn idle_for(&self) -> Duration {
        let traffic = self.connection.traffic();
        let mut watch = self.watch();
        let used = traffic.answers().saturating_sub(watch.own_answers);
        watch.used.look(used, traffic.in_flight() == 0)
    }

    /// Notes that a question of the keeper itself has been answered, which is no use.
    pub(super) fn note_own_answer(&self) {
        self.watch().own_answers += 1;
    }

    /// Whether further calls had better use another connection.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_held_up() || self.connection.traffic().is_crowded()
    }

    /// Whether calls have to wait for big values that are on their way.
    pub(super) fn is_held_up(&self) -> bool {
        let traffic = self.connection.traffic();
        // What is written of a big value may still be on its way.
        traffic.big() > 0 || traffic.has_big_calls()
    }

    /// How much there is to do on it: bytes count before calls.
    pub(super) fn load(&self) -> (usize, u32) {
        let traffic = self.connection.traffic();
        (traffic.big(), traffic.in_flight())
    }

    /// Ends the connection; returns when whoever keeps what was read over it has been told.
    pub(super) fn close(&self) {
        self.connection.close();
        self.witness.end();
    }

    /// Ends the connection because it gave no more replies; `fault` says so to those who wait for one.
    pub(super) fn give_up(&self, fault: &'static str) {
        let _ = self.fault.set(fault);
        self.close();
    }

    /// Why it was given up, where that was for its silence.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault.get().copied()
    }

    /// Whether the server must be asked by now if it is still there, and in which role; notes that it is.
    pub(super) fn is_to_be_asked(&self) -> bool {
        if self.connection.is_closed() || !self.witness.is_worth_asking() {
            return false;
        }
        let mut watch = self.watch();
        let now = clock::now();
        let is_due = watch.asked_at.is_none_or(|at| now >= at + PULSE);
        if is_due {
            watch.asked_at = Some(now);
        }
        is_due
    }

    /// Whether it has answered anything since it was set up.
    pub(super) fn has_served(&self) -> bool {
        self.connection.traffic().answers() > self.setup
    }

    /// Whether callers went away without their reply, nothing was heard since, and nobody is waiting who
    /// would notice that nothing will be.
    pub(super) fn is_in_doubt(&self) -> bool {
        let traffic = self.connection.traffic();
        traffic.in_flight() == 0 && traffic.is_abandoned()
    }

    /// Whether the connection must authenticate again by now.
    pub(super) fn is_due(&self) -> bool {
        self.watch().renew_at.is_some_and(|at| clock::now() >= at)
    }

    /// Notes that a renewal has begun, which takes at most `limit`.
    pub(super) fn renewing(&self, limit: Duration) {
        self.watch().renew_at = clock::now().checked_add(limit * 2);
    }

    /// Notes that the connection has authenticated again, with credentials that are good for `valid_for`.
    pub(super) fn renewed(&self, valid_for: Option<Duration>) {
        let mut watch = self.watch();
        watch.renew_at = valid_for.and_then(renewal);
        watch.renew_pause = pause(valid_for);
        watch.renewals_failed = 0;
    }

    /// Notes that the connection could not authenticate again.
    pub(super) fn renewal_failed(&self, failure: Renewal) {
        let mut watch = self.watch();
        watch.renew_at = clock::now().checked_add(watch.renew_pause);
        watch.renewals_failed = match failure {
            Renewal::Failed => watch.renewals_failed.saturating_add(1),
            Renewal::Refused => watch.renewals_failed.max(RENEWALS),
        };
    }

    /// Whether the connection has to be replaced: it has reached its age, or cannot authenticate again.
    pub(super) fn is_worn(&self) -> bool {
        self.retire_at.is_some_and(|at| clock::now() >= at) || self.watch().renewals_failed >= RENEWALS
    }

    /// Since when it has to be replaced, if it has to be.
    pub(super) fn due_since(&self) -> Instant {
        let now = clock::now();
        self.retire_at.map_or(now, |at| at.min(now))
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a connection could not authenticate again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// For a reason that may pass.
    Failed,
    /// The server refused the credentials.
    Refused,
}

/// Renewals in a row that fail before the connection is replaced.
const RENEWALS: u32 = 3;

/// A count, and since when it has stood still while something waited for it to grow.
#[derive(Debug, Default)]
struct Standstill {
    count: u64,
    since: Option<Instant>,
}

impl Standstill {
    fn look(&mut self, count: u64, waiting: bool) -> Duration {
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

/// Renews well before the end, at four fifths of the life, so that a few failures do no harm.
fn renewal(valid_for: Duration) -> Option<Instant> {
    clock::now().checked_add(valid_for.mul_f64(0.8))
}

/// Hands on what a connection reports, and tells the node's keeper that it has ended.
pub(super) struct LinkEvents {
    pub(super) node: Weak<Node>,
    pub(super) witness: Arc<Witness>,
}

impl Events for LinkEvents {
    fn on_push(&self, kind: &str, data: Vec<Reply>) {
        self.witness.hear(kind, data);
    }

    fn on_closed(&self) {
        self.witness.end();
        if let Some(node) = self.node.upgrade() {
            node.report_tracking();
            node.work.notify_one();
        }
    }
}

/// How long a renewal that failed waits for the next one: so that several fit in what is left.
fn pause(valid_for: Option<Duration>) -> Duration {
    let (least, most) = RENEW_AGAIN;
    valid_for.map_or(most, |valid_for| (valid_for / 20).clamp(least, most))
}

/// The shortest and the longest wait between two renewals of which the first failed.
const RENEW_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_count_stands_still_only_while_something_waits_for_it() {
        let mut still = Standstill::default();
        let second = Duration::from_secs(1);
        assert_eq!(still.look(0, true), Duration::ZERO);
        tokio::time::advance(second).await;
        assert_eq!(still.look(0, true), second);
        assert_eq!(still.look(1, true), Duration::ZERO);
        tokio::time::advance(second).await;
        assert_eq!(still.look(1, false), Duration::ZERO);
        assert_eq!(still.look(1, true), Duration::ZERO);
    }
}
