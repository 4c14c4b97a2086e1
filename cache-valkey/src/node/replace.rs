//! Replaces connections that reached their maximum age, cannot renew their credentials, or may lead to the
//! wrong server (`identity.rs`).
//!
//! The new connection is opened first, in a task of its own. Then the old one is *retired*: new calls use the
//! others, entries read over it are dropped, and it is closed after its last call. If no new connection can
//! be opened, the old one stays in use and the next attempt waits longer.
//!
//! Not in here: connections that end or go silent, see `supervisor.rs`.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Unavailability};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::AbortHandle;

use super::identity::AddressChecks;
use super::link::Link;
use super::{Blueprint, Health, Node};
use crate::aging::Pace;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Mode, ServerHello};
use crate::reply::Reply;

/// How much longer than the longest deadline a retired connection may stay open.
const SLACK: Duration = Duration::from_secs(1);

/// The outcome of opening a connection.
type Opened = Result<(Link, ServerHello), CacheError>;

/// The replacement in progress, at most one per node, and when the next one may begin.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    pace: Pace,
    checks: AddressChecks,
    in_progress: Option<InProgress>,
}

#[derive(Debug)]
struct InProgress {
    old: Arc<Link>,
    reason: Reason,
    fresh: oneshot::Receiver<Opened>,
    task: AbortHandle,
}

/// Why a connection is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It reached its maximum age, or cannot renew its credentials.
    Worn,
    /// It may lead to the wrong server.
    Suspected,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that gets no more calls.
#[derive(Debug)]
pub(super) struct Retired {
    link: Arc<Link>,
    /// When it is closed even if calls still wait on it: their deadlines have passed by then.
    until: Instant,
}

impl Replacement {
    /// Cancels the replacement in progress, because the old connection is gone.
    pub(super) fn cancel(&mut self) {
        self.in_progress = None;
    }

    /// Records that the node has just connected, which counts as an address check.
    pub(super) fn connected(&mut self) {
        self.checks.begin();
    }

    /// The time until the next address check, if one is needed.
    pub(super) fn time_to_address_check(&self, node: &Node) -> Option<Duration> {
        if self.in_progress.is_some() {
            return None;
        }
        let due = node.address_check_due(&self.checks)?;
        Some(due.saturating_duration_since(clock::now()))
    }

    /// The outcome of the replacement, with the old connection and the reason; `None` while it is in
    /// progress.
    fn outcome(&mut self) -> Option<(Arc<Link>, Reason, Opened)> {
        let in_progress = self.in_progress.as_mut()?;
        let opened = match in_progress.fresh.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(opened) => opened,
            Err(TryRecvError::Closed) => Err(unavailable(
                Unavailability::Connect,
                "the task that connects panicked".to_owned(),
            )),
        };
        let (old, reason) = (Arc::clone(&in_progress.old), in_progress.reason);
        self.in_progress = None;
        Some((old, reason, opened))
    }
}

impl Node {
    /// Installs a finished replacement, and begins one if a connection needs it.
    pub(super) fn replace_old_links(self: &Arc<Self>, replacement: &mut Replacement) {
        match replacement.outcome() {
            Some((old, Reason::Suspected, opened)) => {
                self.end_address_check(&mut replacement.checks, &old, opened);
            }
            Some((old, Reason::Worn, Ok((fresh, server_hello)))) => {
                replacement.pace.succeeded();
                self.exchange_links(&old, fresh, server_hello);
            }
            Some((_, Reason::Worn, Err(error))) => {
                if replacement.pace.failed() {
                    tracing::warn!(node = %self.address, %error, "could not replace a connection that has reached its maximum age; it stays in use");
                } else {
                    tracing::debug!(node = %self.address, %error, "still no replacement for an old connection");
                }
            }
            None if replacement.in_progress.is_some() => return,
            None => {}
        }
        let links = self.links.load_full();
        // The connection that is due the longest: at one per second, others might never get their turn.
        let worn = links.iter().filter(|link| link.is_worn());
        let worn = worn.min_by_key(|link| link.due_since()).map(Arc::clone);
        if let Some(old) = worn
            && replacement.pace.begin_if_ready()
        {
            replacement.in_progress = Some(self.begin_replacement(old, Reason::Worn));
        } else if let Some(first) = links.first()
            && replacement.time_to_address_check(self) == Some(Duration::ZERO)
        {
            self.begin_address_check(&mut replacement.checks);
            replacement.in_progress = Some(self.begin_replacement(Arc::clone(first), Reason::Suspected));
        }
    }

    /// Installs the connection that an address check opened, if it leads to a better server.
    fn end_address_check(&self, checks: &mut AddressChecks, old: &Link, opened: Opened) {
        match opened {
            Ok((fresh, server_hello)) if self.is_better(&fresh, &server_hello, old) => {
                checks.end(true);
                self.move_to(fresh, server_hello);
            }
            Ok((_, server_hello)) => {
                checks.end(false);
                self.server_hello.store(Arc::new(server_hello));
                tracing::debug!(node = %self.address, "the address still leads to a server that cannot serve");
            }
            Err(error) => {
                checks.end(false);
                tracing::debug!(node = %self.address, %error, "could not check where the address leads");
            }
        }
    }

    fn begin_replacement(self: &Arc<Self>, old: Arc<Link>, reason: Reason) -> InProgress {
        let (done, fresh) = oneshot::channel();
        // Does not hold the node, so that dropping it ends this task.
        let (blueprint, work) = (self.blueprint(), Arc::clone(&self.work));
        let known = Arc::clone(&old);
        let task = tokio::spawn(async move {
            let made = match reason {
                Reason::Worn => open_instead_of(&known, &blueprint).await,
                Reason::Suspected => blueprint.open().await,
            };
            drop(known);
            // If the receiver is gone, the connection is dropped here.
            let _ = done.send(made);
            work.notify_one();
        });
        InProgress {
            old,
            reason,
            fresh,
            task: task.abort_handle(),
        }
    }

    /// Replaces `old` by `fresh`.
    fn exchange_links(&self, old: &Arc<Link>, fresh: Link, server_hello: ServerHello) {
        let mut links = self.links.load().as_ref().clone();
        let place = links.iter().position(|link| Arc::ptr_eq(link, old));
        if place.is_none() && links.len() >= self.dialer.limits().connections {
            // The old one ended by itself and was replaced already.
            return;
        }
        self.server_hello.store(Arc::new(server_hello));
        let Some(place) = place else {
            self.add(fresh);
            return;
        };
        // Entries read over the old connection are dropped before a newer one answers.
        old.connection_tracking.end();
        links[place] = Arc::new(fresh);
        self.links.store(Arc::new(links));
        self.retire(Arc::clone(old));
        self.report_tracking();
        if matches!(&*self.health.borrow(), Health::Closed) {
            // The node was closed in the meantime and missed the new connection.
            self.close();
        }
        tracing::debug!(node = %self.address, "replaced a connection that has reached its maximum age");
    }

    /// Keeps `link`, which gets no more calls, until its calls have ended or their deadlines have passed.
    pub(super) fn retire(&self, link: Arc<Link>) {
        let limits = self.dialer.limits();
        let until = clock::now() + limits.unanswered.max(limits.dial_timeout) + SLACK;
        link.connection_tracking.end();
        self.retired().push(Retired { link, until });
    }

    /// Closes retired connections whose calls have ended.
    pub(super) fn close_retired(&self) {
        self.retired().retain(|retired| {
            // Each call holds the link from before it is sent until it has ended.
            let in_use = Arc::strong_count(&retired.link) > 1 && clock::now() < retired.until;
            let stays = in_use && !retired.link.connection.is_closed();
            if !stays {
                retired.link.close();
            }
            stays
        });
    }

    /// Closes all retired connections at once.
    pub(super) fn drop_retired(&self) {
        for retired in self.retired().drain(..) {
            retired.link.close();
        }
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Retired>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a connection that is at least as good as `old`.
async fn open_instead_of(old: &Link, blueprint: &Blueprint) -> Opened {
    let (fresh, server_hello) = blueprint.open().await?;
    // A name may lead to a replica for a while. A working connection to the primary is better than that.
    if blueprint.mode == Mode::Primary && server_hello.replica {
        let deadline = Deadline::after(blueprint.dialer.limits().dial_timeout);
        let asked = old
            .connection
            .send(&Command::read("HELLO").int(3), deadline)
            .await;
        if let Ok(reply @ (Reply::Map(_) | Reply::Array(_))) = asked
            && !ServerHello::read(&reply).replica
        {
            let detail = format!("{} now leads to a replica", blueprint.address);
            return Err(unavailable(Unavailability::NotReady, detail));
        }
    }
    Ok((fresh, server_hello))
}

fn unavailable(reason: Unavailability, detail: String) -> CacheError {
    CacheError::Unavailable {
        reason,
        detail: detail.into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}
