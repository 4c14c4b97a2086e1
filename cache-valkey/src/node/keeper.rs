//! The task that keeps a node's connections: makes them, grows them, replaces them, backs off.

use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheError, Outcome, Unavailability};
use tokio::sync::Notify;

use super::link::{Link, PULSE};
use super::replace::Replacing;
use super::{Health, Node};
use crate::background::Run;
use crate::backoff::Backoff;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::Greeting;
use crate::identity::WrongServer;
use crate::reply::Reply;

/// Keeps `node` until it is closed or dropped.
pub(super) async fn keep(node: Weak<Node>, work: Arc<Notify>, run: Run) {
    let end = End {
        node: Weak::clone(&node),
        run,
    };
    let run = &end.run;
    let mut failures = 0;
    let mut connected = false;
    let mut growth = Growth::default();
    let mut replacing = Replacing::default();
    loop {
        let pause = {
            let Some(node) = node.upgrade() else { return };
            if matches!(&*node.health.borrow(), Health::Closed) {
                return;
            }
            if run.was_suspended() {
                node.vet_links().await;
                run.resume();
                node.settle_health();
            }
            run.beat();
            let served = node.forget_closed_links();
            node.close_retired();
            node.replace_if_worn(&mut replacing);
            if node.links.load().is_empty() {
                replacing.cancel();
                if served {
                    failures = 0;
                }
                // A peer that shakes hands and hangs up must not be called as fast as it answers.
                let hung_up = mem::take(&mut connected) && !served;
                if !hung_up && run.attend(node.reconnect()).await {
                    connected = true;
                    replacing.connected();
                    continue;
                }
                failures += 1;
                Pause::Full(if node.has_wrong_server() {
                    WRONG_SERVER
                } else {
                    Backoff::CONNECT.delay(failures - 1)
                })
            } else {
                run.attend(async {
                    node.ask_if_in_doubt();
                    node.ask_for_roles();
                    node.ask_if_fit();
                    node.replace_if_useless().await;
                    node.close_idle();
                    node.grow_if_asked(&mut growth).await;
                    node.renew_if_due();
                })
                .await;
                let pause = (node.dialer.limits().silence / 2).min(PULSE / 2);
                Pause::UntilAsked(
                    replacing
                        .time_to_look(&node)
                        .map_or(pause, |time| time.min(pause)),
                )
            }
        };
        // Without the node in hand, so that whoever drops it ends this task.
        match pause {
            Pause::Full(time) => run.attend(tokio::time::sleep(time)).await,
            Pause::UntilAsked(time) => drop(tokio::time::timeout(time, work.notified()).await),
        }
    }
}

/// How long to wait before the next try to connect after another server than the expected one answered. It accepts
/// connections as fast as they come.
const WRONG_SERVER: Duration = Duration::from_secs(1);

/// The tries to open further connections in a row that failed, and until when there is none.
#[derive(Default)]
struct Growth {
    failures: u32,
    not_before: Option<Instant>,
}

/// How long to wait before looking again.
enum Pause {
    /// To the end: connections that were never used end, too, and would cut it short.
    Full(Duration),
    /// Until something happens.
    UntilAsked(Duration),
}

/// Lets the next call start another keeper where this one ended before its time: it runs code that is not
/// ours (name look-up, credentials), which may panic, and on a runtime that may be shut down.
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
                // What it found out is out of date by the next call.
                Health::Connecting { .. } | Health::Down(_) => {
                    *health = Health::Connecting { is_slow: false }
                }
                Health::Idle | Health::Up | Health::Closed => {}
            });
        }
    }
}

impl Node {
    /// Takes out connections that have ended; whether any of them had served a call.
    fn forget_closed_links(&self) -> bool {
        let links = self.links.load();
        let (closed, open): (Vec<_>, Vec<_>) = links
            .iter()
            .cloned()
            .partition(|link| link.connection.is_closed());
        if !closed.is_empty() {
            self.links.store(Arc::new(open));
            for link in &closed {
                link.witness.end();
            }
            self.report_tracking();
        }
        closed.iter().any(|link| link.has_served())
    }

    /// One try to connect, with the outcome made known; whether it succeeded.
    async fn reconnect(self: &Arc<Self>) -> bool {
        // While the server is known to be down, callers keep failing at once: only the first try after a
        // loss is one that they wait for.
        self.health.send_if_modified(|health| match health {
            Health::Idle | Health::Up => {
                *health = Health::Connecting { is_slow: false };
                true
            }
            _ => false,
        });
        match self.dial_in_sight().await {
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
        // What was read over a connection that is gone must be given up before a newer one answers.
        self.forget_closed_links();
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
            self.give_up_strangers();
            self.report_tracking();
        } else {
            self.links.store(Arc::default());
        }
    }

    /// Whether it is down because another server answers at its address.
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
        let (link, greeting) = self.blueprint().open().await?;
        self.refuse_if_worse(&greeting)?;
        self.greeting.store(Arc::new(greeting));
        Ok(link)
    }

    async fn grow_if_asked(self: &Arc<Self>, growth: &mut Growth) {
        // While it backs off the wish stays open, so that callers do not repeat it.
        if !self.wants_more.load(Ordering::Relaxed) || growth.not_before.is_some_and(|at| clock::now() < at) {
            return;
        }
        if self.links.load().len() < self.dialer.limits().connections {
            // Not longer than the watchdog may be kept waiting: a server that is overrun because it has
            // just stalled asks for growth, too.
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

    /// Waits for a reply where callers have gone away without theirs: callers with less patience than
    /// the watchdog would hide from it that a connection is dead.
    fn ask_if_in_doubt(&self) {
        let limits = self.dialer.limits();
        for link in self.links.load().iter().filter(|link| link.is_in_doubt()) {
            let link = Arc::clone(link);
            let deadline = Deadline::after(limits.fruitless + limits.silence * 2);
            tokio::spawn(async move {
                // What it says is of no interest; what counts is that somebody waits for it.
                if link
                    .connection
                    .send(&Command::read("PING"), deadline)
                    .await
                    .is_ok()
                {
                    link.note_own_answer();
                }
            });
        }
    }

    /// Asks servers for their role over connections that vouch for what is kept near, at a steady pace and
    /// while somebody listens. The answer tells of a primary that became a replica with its connections open;
    /// that there is none shows a dead connection to the watchdog.
    fn ask_for_roles(self: &Arc<Self>) {
        if !self.tracking.feed().is_heard() {
            return;
        }
        let limits = self.dialer.limits();
        for link in self.links.load().iter().filter(|link| link.is_to_be_asked()) {
            let (node, link) = (Arc::downgrade(self), Arc::clone(link));
            let deadline = Deadline::after(limits.fruitless + limits.silence * 2);
            tokio::spawn(async move {
                let hello = Command::read("HELLO").int(3);
                let asked = link.connection.send(&hello, deadline).await;
                if asked.is_ok() {
                    link.note_own_answer();
                }
                if let Ok(reply @ (Reply::Map(_) | Reply::Array(_))) = asked {
                    let greeting = Greeting::read(&reply);
                    link.witness.set_replica(greeting.replica);
                    if let Some(node) = node.upgrade() {
                        node.greeting.store(Arc::new(greeting));
                        node.report_tracking();
                    }
                }
            });
        }
    }

    /// Looks into connections whose requests have waited for longer than the limit without a sign of
    /// life, or for longer than any call may without one being answered: a fresh connection tells a dead
    /// server from a dead connection.
    ///
    /// Slow is not dead. If the server does not answer the fresh connection either, new calls fail at once, and those
    /// under way keep their deadlines: it may have paused. If it does, a connection that carries a big value keeps its
    /// calls, too, because what was written may still be on its way.
    async fn replace_if_useless(self: &Arc<Self>) {
        let limits = self.dialer.limits();
        let limit = limits.silence;
        let is_useless = |link: &&Arc<Link>| {
            let (silence, fruitless) = (link.silence(), link.fruitless());
            silence >= limit || fruitless >= limits.fruitless
        };
        let links = self.links.load_full();
        let useless: Vec<_> = links.iter().filter(is_useless).collect();
        if useless.is_empty() {
            return;
        }
        match tokio::time::timeout(limit, self.dial()).await {
            Ok(Ok(fresh)) => {
                // The server lives. What is still useless by now is a connection that only looks alive.
                let dead: Vec<_> = useless.into_iter().filter(is_useless).collect();
                if dead.is_empty() {
                    return;
                }
                tracing::warn!(node = %self.address, connections = dead.len(), "replaced connections that gave no more replies");
                for link in dead {
                    let is_slow =
                        link.connection.traffic().has_big_calls() && link.fruitless() < limits.fruitless;
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
                // It may have answered in the meantime; then it was slow, not dead.
                if links.iter().any(|link| link.silence() < limit) {
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
