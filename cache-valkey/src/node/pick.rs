//! Finds a connection for a call: at once if there is one, else with patience.
//!
//! Not in here: making connections. That is the keeper's business, which a call starts again if its runtime is gone or
//! does not run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Stage, Unavailability};

use super::link::Link;
use super::{Health, Node, keeper};
use crate::deadline::Deadline;

/// How long a call waits for another connection to be opened if all are held up by big values.
const HELD_UP: Duration = Duration::from_millis(500);

/// How long a call waits for a connection that is being made before it fails: long enough for a
/// reconnect across regions, short enough that a black hole does not eat every call's deadline.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A connection for a call.
struct Picked {
    link: Arc<Link>,
    /// Whether big values keep it busy and another connection is about to be opened.
    is_held_up: bool,
}

/// How often a call that waits looks whether the keeper still runs.
const GLANCE: Duration = Duration::from_millis(250);

impl Node {
    /// Waits for a connection, for as long as the first try to make one takes.
    pub(crate) async fn connect(self: &Arc<Self>, deadline: Deadline) -> Result<(), CacheError> {
        self.wait_for_link(deadline, None).await.map(drop)
    }

    /// A connection that a call need not wait for, if there is one at `now`.
    pub(crate) fn ready_link(&self, now: Instant) -> Option<Arc<Link>> {
        self.pick_kept(now)
            .filter(|picked| !picked.is_held_up)
            .map(|picked| picked.link)
    }

    /// A connection for one call.
    pub(super) async fn link(self: &Arc<Self>, deadline: Deadline) -> Result<Arc<Link>, CacheError> {
        match self.pick_kept(deadline.begun()) {
            Some(Picked {
                link,
                is_held_up: false,
            }) => Ok(link),
            Some(Picked { link, .. }) => Ok(Box::pin(self.wait_for_roomy_link(link, deadline)).await),
            None => Box::pin(self.wait_for_link(deadline, Some(PATIENCE))).await,
        }
    }

    /// A connection of a keeper that runs. The tasks of connections run where it does: if it is suspended, nobody reads
    /// replies, looks at deadlines, or has noticed that the peer hung up.
    #[inline]
    fn pick_kept(&self, now: Instant) -> Option<Picked> {
        if self.keeper.is_seen(now) {
            self.pick()
        } else {
            None
        }
    }

    /// The first connection that is not crowded, else the least busy one: what travels together costs
    /// less, so connections that a past peak opened are left alone while one will do.
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

    /// Waits a moment for another connection than `held_up`, which big values keep busy.
    async fn wait_for_roomy_link(&self, held_up: Arc<Link>, deadline: Deadline) -> Arc<Link> {
        let mut health = self.health.subscribe();
        let until = (clock::now() + HELD_UP).min(deadline.at());
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

    /// Waits for a connection. With patience, that ends when the call has waited for so long, or when the keeper has tried
    /// for so long; without, it ends with what comes of the try.
    async fn wait_for_link(
        self: &Arc<Self>,
        deadline: Deadline,
        patience: Option<Duration>,
    ) -> Result<Arc<Link>, CacheError> {
        let mut health = self.health.subscribe();
        let end = patience.and_then(|patience| clock::now().checked_add(patience));
        let until = end.map_or(deadline.at(), |end| end.min(deadline.at()));
        loop {
            self.start_keeper();
            match &*health.borrow_and_update() {
                Health::Down(error) => return Err(error.clone()),
                Health::Closed => return Err(CacheError::Closed),
                Health::Connecting { is_slow: true } if patience.is_some() => {
                    return Err(self.still_connecting());
                }
                // What is not there was lost a moment ago; the keeper is about to say so.
                Health::Up => {
                    if let Some(picked) = self.pick_kept(clock::now()) {
                        return Ok(picked.link);
                    }
                }
                Health::Idle | Health::Connecting { .. } => {}
            }
            let next = until.min(clock::now() + GLANCE);
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

    /// Starts the keeper unless it runs. One that is suspended is replaced, and what it found out is out of date.
    fn start_keeper(self: &Arc<Self>) {
        let _ = self.keeper.ensure(|run| {
            self.health.send_if_modified(|health| match health {
                Health::Idle | Health::Closed | Health::Connecting { is_slow: false } => false,
                _ => {
                    *health = Health::Connecting { is_slow: false };
                    true
                }
            });
            keeper::keep(Arc::downgrade(self), Arc::clone(&self.work), run)
        });
    }

    pub(super) fn still_connecting(&self) -> CacheError {
        CacheError::Unavailable {
            reason: Unavailability::Connect,
            detail: format!(
                "{}, still connecting after {} ms",
                self.address,
                PATIENCE.as_millis()
            )
            .into(),
            outcome: Outcome::NotApplied,
            source: None,
        }
    }
}
