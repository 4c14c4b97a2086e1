//! The task that supervises a node's connections: opens, adds and replaces them, and backs off.

use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Unavailability};
use tokio::sync::Notify;

use super::link::{Link, ROLE_CHECK_INTERVAL};
use super::replace::Replacement;
use super::{Health, Node};
use crate::background::Run;
use crate::backoff::Backoff;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::ServerHello;
use crate::identity::WrongServer;
use crate::reply::Reply;

/// Supervises `node` until it is closed or dropped.
pub(super) async fn supervise(node: Weak<Node>, work: Arc<Notify>, run: Run) {
    let end = End {
        node: Weak::clone(&node),
        run,
    };
    let run = &end.run;
    let mut failures = 0;
    let mut connected = false;
    let mut growth = Growth::default();
    let mut replacement = Replacement::default();
    loop {
        let pause = {
            let Some(node) = node.upgrade() else { return };
            if matches!(&*node.health.borrow(), Health::Closed) {
                return;
            }
            if run.was_suspended() {
                node.ping_links().await;
                run.resume();
                node.settle_health();
            }
            run.beat();
            let served = node.remove_closed_links();
            node.close_retired();
            node.replace_old_links(&mut replacement);
            if node.links.load().is_empty() {
                replacement.cancel();
                if served {
                    failures = 0;
                }
                // A peer that accepts a handshake and hangs up must not be reconnected in a tight loop.
                let hung_up = mem::take(&mut connected) && !served;
                if !hung_up && run.run_with_heartbeat(node.reconnect()).await {
                    connected = true;
                    replacement.connected();
                    continue;
                }
                failures += 1;
                Pause::Full(if node.has_wrong_server() {
                    WRONG_SERVER
                } else {
                    Backoff::CONNECT.delay(failures - 1)
                })
            } else {
                run.run_with_heartbeat(async {
                    node.ping_if_in_doubt();
                    node.check_roles();
                    node.probe_if_cooling_down();
                    node.replace_silent_links().await;
                    node.close_idle();
                    node.grow_if_wanted(&mut growth).await;
                    node.renew_if_due();
                })
                .await;
                let pause = (node.dialer.limits().silence / 2).min(ROLE_CHECK_INTERVAL / 2);
                Pause::UntilAsked(
                    replacement
                        .time_to_address_check(&node)
                        .map_or(pause, |time| time.min(pause)),
                )
            }
        };
        // Does not hold the node while waiting, so that dropping it ends this task.
        match pause {
            Pause::Full(time) => run.run_with_heartbeat(tokio::time::sleep(time)).await,
            Pause::UntilAsked(time) => drop(tokio::time::timeout(time, work.notified()).await),
        }
    }
}

/// How long to wait before connecting again after the wrong server answered. Such a server accepts
/// connections as fast as they come.
const WRONG_SERVER: Duration = Duration::from_secs(1);

/// Failed attempts in a row to open more connections, and when the next one may begin.
#[derive(Default)]
struct Growth {
    failures: u32,
    not_before: Option<Instant>,
}

/// How long to wait before the next round.
enum Pause {
    /// The full time: the end of an unused connection must not cut it short.
    Full(Duration),
    /// Until woken, at most this long.
    UntilAsked(Duration),
}

/// Lets the next call start another supervisor if this one ended early: it runs foreign code (name
/// resolution, credentials), which may panic, and its runtime may be shut down.
struct End {
    node: Weak<Node>,
    run: Run,
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(node) = self.node.upgrade()
            && self.run.is_current()
        {
            self.run.end();
            node.health.send_modify(|health| match health {
                // Its findings are outdated by the next call.
                Health::Connecting { .. } | Health::Down(_) => {
                    *health = Health::Connecting { is_slow: false }
                }
                Health::Idle | Health::Up | Health::Closed => {}
            });
        }
    }
}

impl Node {
    /// Removes connections that have ended. Returns whether any of them had served a call.
    fn remove_closed_links(&self) -> bool {
        let links = self.links.load();
        let (closed, open): (Vec<_>, Vec<_>) = links
            .iter()
            .cloned()
            .partition(|link| link.connection.is_closed());
        if !closed.is_empty() {
            self.links.store(Arc::new(open));
            for link in &closed {
                link.connection_tracking.end();
            }
            self.report_tracking();
        }
        closed.iter().any(|link| link.has_served())
    }

    /// Attempts to connect once and publishes the outcome. Returns whether it succeeded.
    async fn reconnect(self: &Arc<Self>) -> bool {
        // While the server is known to be down, callers keep failing at once. They wait only for the first
        // attempt after a loss.
        self.health.send_if_modified(|health| match health {
            Health::Idle | Health::Up => {
                *health = Health::Connecting { is_slow: false };
                true
            }
            _ => false,
        });
        match self.dial_and_flag_slow().await {
            Ok(link) => {
                let was_down = matches!(&*self.health.borrow(), Health::Down(_));
                self.add(link);
                if was_down {
                    tracing::info!(node = %self.address, "connected again");
                }
                true
            }
            Err(error) => {
                self.mark_down(error);
                false
            }
        }
    }

    pub(super) fn add(&self, link: Link) {
        // Entries read over a lost connection must be dropped before a newer one answers.
        self.remove_closed_links();
        let mut links = self.links.load().as_ref().clone();
        links.push(Arc::new(link));
        self.links.store(Arc::new(links));
        let open = self.health.send_if_modified(|health| match health {
            Health::Closed => false,
            _ => {
                *health = Health::Up;
                true
            }
        });
        if open {
            self.close_links_to_other_nodes();
            self.report_tracking();
        } else {
            self.links.store(Arc::default());
        }
    }

    /// Whether the node is down because another server answers at its address.
    fn has_wrong_server(&self) -> bool {
        matches!(&*self.health.borrow(), Health::Down(error) if WrongServer::is_cause_of(error))
    }

    fn mark_down(&self, error: CacheError) {
        self.health.send_if_modified(|health| match health {
            Health::Closed => false,
            Health::Down(known) => {
                *known = error;
                true
            }
            _ => {
                tracing::warn!(node = %self.address, %error, "cannot be reached; calls to it fail at once until it is back");
                *health = Health::Down(error);
                true
            }
        });
    }

    pub(super) async fn dial(self: &Arc<Self>) -> Result<Link, CacheError> {
        let (link, server_hello) = self.blueprint().open().await?;
        self.refuse_if_worse(&server_hello)?;
        self.server_hello.store(Arc::new(server_hello));
        Ok(link)
    }

    async fn grow_if_wanted(self: &Arc<Self>, growth: &mut Growth) {
        // During the back-off `wants_more` stays set, so that callers do not set it again.
        if !self.wants_more.load(Ordering::Relaxed) || growth.not_before.is_some_and(|at| clock::now() < at) {
            return;
        }
        if self.links.load().len() < self.dialer.limits().connections {
            // Limited, so that the silence check is not delayed: a server that has just stalled also looks
            // overloaded.
            let dialed = tokio::time::timeout(self.dialer.limits().silence, self.dial()).await;
            if let Ok(Ok(link)) = dialed {
                self.add(link);
                *growth = Growth::default();
                self.cannot_grow.store(false, Ordering::Relaxed);
            } else {
                let error = dialed.map_or_else(|_| None, Result::err);
                tracing::debug!(node = %self.address, ?error, "no further connection");
                growth.not_before = Some(clock::now() + Backoff::CONNECT.delay(growth.failures));
                growth.failures += 1;
                self.cannot_grow.store(true, Ordering::Relaxed);
            }
        }
        self.wants_more.store(false, Ordering::Relaxed);
    }

    /// Pings connections whose callers went away without a reply. Callers with short deadlines would
    /// otherwise hide a dead connection from the silence check.
    fn ping_if_in_doubt(&self) {
        let limits = self.dialer.limits();
        for link in self.links.load().iter().filter(|link| link.is_in_doubt()) {
            let link = Arc::clone(link);
            let deadline = Deadline::after(limits.unanswered + limits.silence * 2);
            tokio::spawn(async move {
                // The reply does not matter; a request in flight lets the silence check work.
                if link
                    .connection
                    .send(&Command::read("PING"), deadline)
                    .await
                    .is_ok()
                {
                    link.note_supervisor_reply();
                }
            });
        }
    }

    /// Asks for the server's role over connections with tracked reads, at a steady pace and while there are
    /// listeners. The reply reveals a primary that became a replica with its connections open; a missing
    /// reply reveals a dead connection.
    fn check_roles(self: &Arc<Self>) {
        if !self.tracking.feed().has_listeners() {
            return;
        }
        let limits = self.dialer.limits();
        for link in self.links.load().iter().filter(|link| link.is_role_check_due()) {
            let (node, link) = (Arc::downgrade(self), Arc::clone(link));
            let deadline = Deadline::after(limits.unanswered + limits.silence * 2);
            tokio::spawn(async move {
                let hello = Command::read("HELLO").int(3);
                let asked = link.connection.send(&hello, deadline).await;
                if asked.is_ok() {
                    link.note_supervisor_reply();
                }
                if let Ok(reply @ (Reply::Map(_) | Reply::Array(_))) = asked {
                    let server_hello = ServerHello::read(&reply);
                    link.connection_tracking.set_replica(server_hello.replica);
                    if let Some(node) = node.upgrade() {
                        node.server_hello.store(Arc::new(server_hello));
                        node.report_tracking();
                    }
                }
            });
        }
    }

    /// AddressChecks Checks connections whose requests have waited too long without any bytes, or longer than
    /// any call may without a reply. A fresh connection tells a dead server from a dead connection.
    ///
    /// Slow is not dead. If the server does not answer on the fresh connection either, new calls fail at
    /// once, but calls under way keep their deadlines: the server may have paused. If it does answer, a
    /// connection that carries a big value keeps its calls too, because written data may still be on its way.
    async fn replace_silent_links(self: &Arc<Self>) {
        let limits = self.dialer.limits();
        let limit = limits.silence;
        let is_useless = |link: &&Arc<Link>| {
            let (silence, unanswered) = (link.silent_for(), link.unanswered_for());
            silence >= limit || unanswered >= limits.unanswered
        };
        let links = self.links.load_full();
        let useless: Vec<_> = links.iter().filter(is_useless).collect();
        if useless.is_empty() {
            return;
        }
        match tokio::time::timeout(limit, self.dial()).await {
            Ok(Ok(fresh)) => {
                // The server answers, so a connection that is still silent is dead.
                let dead: Vec<_> = useless.into_iter().filter(is_useless).collect();
                if dead.is_empty() {
                    return;
                }
                tracing::warn!(node = %self.address, connections = dead.len(), "replaced connections that no longer replied");
                for link in dead {
                    let is_slow = link.connection.traffic().has_big_calls()
                        && link.unanswered_for() < limits.unanswered;
                    if is_slow {
                        self.take_out(link);
                        self.retire(Arc::clone(link));
                    } else {
                        link.give_up("which gave no reply for too long; the connection was replaced");
                    }
                }
                self.add(fresh);
            }
            failed => {
                // If it has answered in the meantime, it was slow, not dead.
                if links.iter().any(|link| link.silent_for() < limit) {
                    return;
                }
                self.mark_down(match failed {
                    Ok(Err(error)) => error,
                    _ => self.stalled(),
                });
                self.links.store(Arc::default());
                for link in links.iter() {
                    self.retire(Arc::clone(link));
                }
                self.report_tracking();
            }
        }
    }

    pub(super) fn take_out(&self, link: &Arc<Link>) {
        let links = self.links.load();
        let others = links.iter().filter(|known| !Arc::ptr_eq(known, link));
        self.links.store(Arc::new(others.cloned().collect()));
    }

    fn stalled(&self) -> CacheError {
        CacheError::Unavailable {
            reason: Unavailability::Connect,
            detail: format!("{}, which accepts connections but does not answer", self.address).into(),
            outcome: Outcome::NotApplied,
            source: None,
        }
    }
}
