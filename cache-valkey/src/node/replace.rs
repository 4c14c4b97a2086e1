//! Replaces connections that have reached their maximum age, can no longer renew their credentials, or may lead to the
//! wrong server (`identity.rs`).
//!
//! The new connection is opened first, in a task of its own. Then the old one is *retired*: new calls go to the
//! others, nothing that was read over it is trusted any more, and it is closed when its last call has ended. If
//! no new connection can be opened, the old one stays in use and the next try waits longer.
//!
//! Not in here: connections that end or go silent, see `keeper.rs`.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Unavailability};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::AbortHandle;

use super::identity::Looks;
use super::link::Link;
use super::{Blueprint, Health, Node};
use crate::aging::Pace;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Greeting, Mode};
use crate::reply::Reply;

/// How much longer than the longest deadline a retired connection stays open at most.
const SLACK: Duration = Duration::from_secs(1);

/// What came of a try to open a connection.
type Opened = Result<(Link, Greeting), CacheError>;

/// The replacement that is under way, at most one per node, and when the next one may begin.
#[derive(Debug, Default)]
pub(super) struct Replacing {
    pace: Pace,
    looks: Looks,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    old: Arc<Link>,
    reason: Reason,
    fresh: oneshot::Receiver<Opened>,
    task: AbortHandle,
}

/// Why a connection is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It has reached its age, or cannot renew its credentials.
    Worn,
    /// It may lead to the wrong server.
    Suspected,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that gets no more calls.
#[derive(Debug)]
pub(super) struct Retired {
    link: Arc<Link>,
    /// When it is closed although calls still wait on it: by then their deadlines have passed.
    until: Instant,
}

impl Replacing {
    /// Gives up the replacement that is under way: the connection that it was for is gone.
    pub(super) fn cancel(&mut self) {
        self.under_way = None;
    }

    /// The node has connected: where its address leads is known for the moment.
    pub(super) fn connected(&mut self) {
        self.looks.begin();
    }

    /// How long it is until the node has to look where its address leads, if it has to.
    pub(super) fn time_to_look(&self, node: &Node) -> Option<Duration> {
        if self.under_way.is_some() {
            return None;
        }
        let due = node.look_due(&self.looks)?;
        Some(due.saturating_duration_since(clock::now()))
    }

    /// What became of the replacement that was under way, why and of which connection; `None` while that is open.
    fn outcome(&mut self) -> Option<(Arc<Link>, Reason, Opened)> {
        let under_way = self.under_way.as_mut()?;
        let opened = match under_way.fresh.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Ok(opened) => opened,
            Err(TryRecvError::Closed) => Err(unavailable(
                Unavailability::Connect,
                "the task that connects panicked".to_owned(),
            )),
        };
        let (old, reason) = (Arc::clone(&under_way.old), under_way.reason);
        self.under_way = None;
        Some((old, reason, opened))
    }
}

impl Node {
    /// Puts a replacement in place that is ready, and begins one if a connection needs it.
    pub(super) fn replace_if_worn(self: &Arc<Self>, replacing: &mut Replacing) {
        match replacing.outcome() {
            Some((old, Reason::Suspected, opened)) => self.end_look(&mut replacing.looks, &old, opened),
            Some((old, Reason::Worn, Ok((fresh, greeting)))) => {
                replacing.pace.succeeded();
                self.exchange_links(&old, fresh, greeting);
            }
            Some((_, Reason::Worn, Err(error))) => {
                if replacing.pace.failed() {
                    tracing::warn!(node = %self.address, %error, "could not replace a connection that has reached its maximum age; it stays in use");
                } else {
                    tracing::debug!(node = %self.address, %error, "still no replacement for an old connection");
                }
            }
            None if replacing.under_way.is_some() => return,
            None => {}
        }
        let links = self.links.load_full();
        // The one that is due for longest: at one per second, the others might never have their turn.
        let worn = links.iter().filter(|link| link.is_worn());
        let worn = worn.min_by_key(|link| link.due_since()).map(Arc::clone);
        if let Some(old) = worn
            && replacing.pace.begin_if_ready()
        {
            replacing.under_way = Some(self.begin_replacement(old, Reason::Worn));
        } else if let Some(first) = links.first()
            && replacing.time_to_look(self) == Some(Duration::ZERO)
        {
            self.begin_look(&mut replacing.looks);
            replacing.under_way = Some(self.begin_replacement(Arc::clone(first), Reason::Suspected));
        }
    }

    /// Puts the connection in place that a look has opened, if it leads to a better server.
    fn end_look(&self, looks: &mut Looks, old: &Link, opened: Opened) {
        match opened {
            Ok((fresh, greeting)) if self.is_better(&fresh, &greeting, old) => {
                looks.end(true);
                self.move_to(fresh, greeting);
            }
            Ok((_, greeting)) => {
                looks.end(false);
                self.greeting.store(Arc::new(greeting));
                tracing::debug!(node = %self.address, "the address still leads to a server that cannot serve");
            }
            Err(error) => {
                looks.end(false);
                tracing::debug!(node = %self.address, %error, "could not look where the address leads");
            }
        }
    }

    fn begin_replacement(self: &Arc<Self>, old: Arc<Link>, reason: Reason) -> UnderWay {
        let (done, fresh) = oneshot::channel();
        // Without the node in hand, so that it ends when its users drop it.
        let (blueprint, work) = (self.blueprint(), Arc::clone(&self.work));
        let known = Arc::clone(&old);
        let task = tokio::spawn(async move {
            let made = match reason {
                Reason::Worn => open_instead_of(&known, &blueprint).await,
                Reason::Suspected => blueprint.open().await,
            };
            drop(known);
            // If no call waits for it any longer, the connection ends here.
            let _ = done.send(made);
            work.notify_one();
        });
        UnderWay {
            old,
            reason,
            fresh,
            task: task.abort_handle(),
        }
    }

    /// Puts `fresh` in the place of `old`.
    fn exchange_links(&self, old: &Arc<Link>, fresh: Link, greeting: Greeting) {
        let mut links = self.links.load().as_ref().clone();
        let place = links.iter().position(|link| Arc::ptr_eq(link, old));
        if place.is_none() && links.len() >= self.dialer.limits().connections {
            // The old one ended by itself, and others took its place.
            return;
        }
        self.greeting.store(Arc::new(greeting));
        let Some(place) = place else {
            self.add(fresh);
            return;
        };
        // What was read over a connection is given up before a newer one answers.
        old.witness.end();
        links[place] = Arc::new(fresh);
        self.links.store(Arc::new(links));
        self.retire(Arc::clone(old));
        self.report_tracking();
        if matches!(&*self.health.borrow(), Health::Closed) {
            // Closed in the meantime, which took only what it found.
            self.close();
        }
        tracing::debug!(node = %self.address, "replaced a connection that has reached its maximum age");
    }

    /// Keeps `link`, which gets no more calls, until those under way have ended, or their deadlines have passed.
    pub(super) fn retire(&self, link: Arc<Link>) {
        let limits = self.dialer.limits();
        let until = clock::now() + limits.fruitless.max(limits.dial_timeout) + SLACK;
        link.witness.end();
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

/// Opens a connection that can do what `old` does.
async fn open_instead_of(old: &Link, blueprint: &Blueprint) -> Opened {
    let (fresh, greeting) = blueprint.open().await?;
    // A name may lead to a replica for a while. A primary that is still one is better than that.
    if blueprint.mode == Mode::Primary && greeting.replica {
        let deadline = Deadline::after(blueprint.dialer.limits().dial_timeout);
        let asked = old
            .connection
            .send(&Command::read("HELLO").int(3), deadline)
            .await;
        if let Ok(reply @ (Reply::Map(_) | Reply::Array(_))) = asked
            && !Greeting::read(&reply).replica
        {
            let detail = format!("{} now leads to a replica", blueprint.address);
            return Err(unavailable(Unavailability::NotReady, detail));
        }
    }
    Ok((fresh, greeting))
}

fn unavailable(reason: Unavailability, detail: String) -> CacheError {
    CacheError::Unavailable {
        reason,
        detail: detail.into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}
