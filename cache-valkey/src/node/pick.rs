//! Picks a connection for a call, and waits if none is ready.
//!
//! Not in here: opening connections. The supervisor does that; a call starts it again if its runtime is gone
//! or suspended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Stage, Unavailability};

use super::link::Link;
use super::{Health, Node, supervisor};
use crate::deadline::Deadline;

/// How long a call waits for another connection if all are busy with big values.
const ROOMY_LINK_WAIT: Duration = Duration::from_millis(500);

/// How long a call waits for a connection that is being opened: long enough for a reconnect across regions,
/// short enough that an unreachable host does not use up every call's deadline.
pub(super) const MAX_CONNECT_WAIT: Duration = Duration::from_secs(1);

/// A connection for a call.
struct Picked {
    link: Arc<Link>,
    /// Whether big values keep it busy while another connection is being opened.
    is_held_up: bool,
}

/// How often a waiting call checks whether the supervisor still runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

impl Node {
    /// Waits for a connection until the first attempt ends.
    pub(crate) async fn connect(self: &Arc<Self>, deadline: Deadline) -> Result<(), CacheError> {
        self.wait_for_link(deadline, None).await.map(drop)
    }

    /// A connection that is ready at `now`, if there is one.
    pub(crate) fn ready_link(&self, now: Instant) -> Option<Arc<Link>> {
        self.pick_if_supervised(now)
            .filter(|picked| !picked.is_held_up)
            .map(|picked| picked.link)
    }

    /// A connection for one call.
    pub(super) async fn link(self: &Arc<Self>, deadline: Deadline) -> Result<Arc<Link>, CacheError> {
        match self.pick_if_supervised(deadline.started_at()) {
            Some(Picked {
                link,
                is_held_up: false,
            }) => Ok(link),
            Some(Picked { link, .. }) => Ok(Box::pin(self.wait_for_roomy_link(link, deadline)).await),
            None => Box::pin(self.wait_for_link(deadline, Some(MAX_CONNECT_WAIT))).await,
        }
    }

    /// Picks a connection if the supervisor runs. The connections' tasks run on its runtime: if that is
    /// suspended, nothing reads replies, checks deadlines, or notices that the peer hung up.
    #[inline]
    fn pick_if_supervised(&self, now: Instant) -> Option<Picked> {
        if self.supervisor.is_alive_at(now) {
            self.pick()
        } else {
            None
        }
    }

    /// The first connection that is not crowded, otherwise the least busy one. Sharing one connection costs
    /// less, so extra connections stay idle while one suffices.
    fn pick(&self) -> Option<Picked> {
        let links = self.links.load();
        let open = || links.iter().filter(|link| !link.connection.is_closed());
        let roomy = open().find(|link| !link.is_crowded());
        let best = roomy.or_else(|| open().min_by_key(|link| link.load()))?;
        let may_grow = roomy.is_none() && links.len() < self.dialer.limits().connections;
        if may_grow && !self.wants_more.swap(true, Ordering::Relaxed) {
            self.work.notify_one();
        }
        Some(Picked {
            is_held_up: may_grow && best.is_held_up() && !self.cannot_grow.load(Ordering::Relaxed),
            link: Arc::clone(best),
        })
    }

    /// Waits briefly for another connection than `held_up`, which big values keep busy.
    async fn wait_for_roomy_link(&self, held_up: Arc<Link>, deadline: Deadline) -> Arc<Link> {
        let mut health = self.health.subscribe();
        let until = (clock::now() + ROOMY_LINK_WAIT).min(deadline.at());
        loop {
            match self.pick() {
                Some(Picked {
                    link,
                    is_held_up: false,
                }) => return link,
                _ if tokio::time::timeout_at(until, health.changed())
                    .await
                    .is_ok_and(|changed| changed.is_ok()) => {}
                Some(Picked { link, .. }) => return link,
                None => return held_up,
            }
        }
    }

    /// Waits for a connection: at most `patience`, or until the first attempt ends if that is `None`.
    async fn wait_for_link(
        self: &Arc<Self>,
        deadline: Deadline,
        patience: Option<Duration>,
    ) -> Result<Arc<Link>, CacheError> {
        let mut health = self.health.subscribe();
        let end = patience.and_then(|patience| clock::now().checked_add(patience));
        let until = end.map_or(deadline.at(), |end| end.min(deadline.at()));
        loop {
            self.start_supervisor();
            match &*health.borrow_and_update() {
                Health::Down(error) => return Err(error.clone()),
                Health::Closed => return Err(CacheError::Closed),
                Health::Connecting { is_slow: true } if patience.is_some() => {
                    return Err(self.still_connecting());
                }
                // The connection was lost a moment ago, and the supervisor is about to publish that.
                Health::Up => {
                    if let Some(picked) = self.pick_if_supervised(clock::now()) {
                        return Ok(picked.link);
                    }
                }
                Health::Idle | Health::Connecting { .. } => {}
            }
            let next = until.min(clock::now() + CHECK_INTERVAL);
            let is_over = tokio::time::timeout_at(next, health.changed()).await.is_err();
            if is_over && clock::now() >= until {
                return Err(if until < deadline.at() {
                    self.still_connecting()
                } else {
                    deadline.passed(Stage::Connect)
                });
            }
        }
    }

    /// Starts the supervisor unless it runs. A suspended one is replaced and its findings are discarded.
    fn start_supervisor(self: &Arc<Self>) {
        let _ = self.supervisor.ensure(|run| {
            self.health.send_if_modified(|health| match health {
                Health::Idle | Health::Closed | Health::Connecting { is_slow: false } => false,
                _ => {
                    *health = Health::Connecting { is_slow: false };
                    true
                }
            });
            supervisor::supervise(Arc::downgrade(self), Arc::clone(&self.work), run)
        });
    }

    pub(super) fn still_connecting(&self) -> CacheError {
        CacheError::Unavailable {
            reason: Unavailability::Connect,
            detail: format!(
                "{}, still connecting after {} ms",
                self.address,
                MAX_CONNECT_WAIT.as_millis()
            )
            .into(),
            outcome: Outcome::NotApplied,
            source: None,
        }
    }
}
