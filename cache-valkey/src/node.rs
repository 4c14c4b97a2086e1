//! One server: its connections, and whether it can be used now.
//!
//! Callers share a few multiplexed connections and never queue for one. A background supervisor does
//! everything that takes time: it connects, opens more connections under load, replaces silent and old ones,
//! renews credentials, and backs off while the server is down. Callers only read its findings: calls to a
//! server that is known to be down fail at once.
//!
//! Not in here: which server a command goes to, and whether to retry.

mod cooldown;
mod identity;
mod idle;
mod link;
mod pick;
mod renew;
mod replace;
mod resume;
mod supervisor;
mod tracked;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwap;
use cache_core::clock;
use cache_core::config::Address;
use cache_core::{CacheError, Lease, Outcome, Unavailability};
use tokio::sync::{Notify, watch};

use crate::background::BackgroundTask;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Dialed, Dialer, Mode, ServerHello};
use crate::identity::Expected;
use crate::reply::Reply;
use crate::stats::NodeStats;
use crate::tracking::{ConnectionTracking, NodeStatus};
use cooldown::Cooldown;
pub(crate) use link::Link;
use link::LinkEvents;
use replace::Retired;

/// One server.
pub(crate) struct Node {
    address: Address,
    mode: Mode,
    /// The server that must answer.
    expected: ArcSwap<Expected>,
    /// Whether a refused call suggests that the wrong server answers.
    suspected: AtomicBool,
    dialer: Arc<Dialer>,
    links: ArcSwap<Vec<Arc<Link>>>,
    /// Connections that get no more calls and are closed once their calls in flight have ended.
    retired: Mutex<Vec<Retired>>,
    health: watch::Sender<Health>,
    server_hello: ArcSwap<ServerHello>,
    /// Wakes the supervisor; shared with it so that it can wait without keeping the node alive.
    work: Arc<Notify>,
    supervisor: Arc<BackgroundTask>,
    /// Whether there has been any connection.
    has_connected: AtomicBool,
    wants_more: AtomicBool,
    /// Whether opening more connections fails now.
    cannot_grow: AtomicBool,
    /// This node's tracking status, as listeners see it.
    tracking: NodeStatus,
    counts_for_tracking: AtomicBool,
    cooldown: Cooldown,
}

/// What opening a connection to a node needs, without holding the node.
struct Blueprint {
    node: Weak<Node>,
    address: Address,
    mode: Mode,
    expected: Arc<Expected>,
    dialer: Arc<Dialer>,
    lease: Lease,
}

impl Blueprint {
    /// Opens a connection, and returns it with the server's `HELLO`.
    async fn open(&self) -> Result<(Link, ServerHello), CacheError> {
        let connection_tracking = ConnectionTracking::new(Arc::clone(self.dialer.feed()), self.lease);
        let events = Arc::new(LinkEvents {
            node: self.node.clone(),
            connection_tracking: Arc::clone(&connection_tracking),
        });
        let dialed = self
            .dialer
            .dial(&self.address, self.mode, &self.expected, events)
            .await;
        let Dialed {
            connection,
            server_hello,
            valid_for,
            tracking,
            ..
        } = dialed.inspect_err(|_| self.dialer.counts().dial_failed())?;
        if let Some(node) = self.node.upgrade() {
            node.count_connection();
        }
        connection_tracking.set_response(tracking, server_hello.replica);
        let max_age = self.dialer.limits().max_age;
        let node = self.node.clone();
        let link = Link::new(node, connection, valid_for, max_age, connection_tracking);
        Ok((link.leading_to(server_hello.id.clone()), server_hello))
    }
}

/// Whether a server can be used.
#[derive(Clone, Debug)]
enum Health {
    /// Not used yet.
    Idle,
    /// The first connection attempt since the last use is under way.
    Connecting {
        /// Whether it takes so long that calls no longer wait for it.
        is_slow: bool,
    },
    /// There is a connection.
    Up,
    /// The last attempt failed, and the supervisor keeps retrying.
    Down(CacheError),
    /// The node is closed for good.
    Closed,
}

impl Node {
    /// Records that this server announces `addresses`, so that errors can name it.
    pub(crate) fn announces<'a>(&self, addresses: impl IntoIterator<Item = &'a Address>) {
        self.dialer.announced().note(&self.address, addresses);
    }

    /// Creates the node for `address`. It connects at the first use.
    pub(crate) fn new(address: Address, mode: Mode, dialer: Arc<Dialer>) -> Arc<Self> {
        Arc::new(Self {
            address,
            mode,
            expected: ArcSwap::default(),
            suspected: AtomicBool::new(false),
            tracking: dialer.feed().register_node(),
            counts_for_tracking: AtomicBool::new(mode == Mode::Primary),
            dialer,
            links: ArcSwap::default(),
            retired: Mutex::default(),
            health: watch::Sender::new(Health::Idle),
            server_hello: ArcSwap::default(),
            work: Arc::new(Notify::new()),
            supervisor: BackgroundTask::new(),
            has_connected: AtomicBool::new(false),
            wants_more: AtomicBool::new(false),
            cannot_grow: AtomicBool::new(false),
            cooldown: Cooldown::new(),
        })
    }

    /// Sends one command. Errors are transport errors; a refusal is [`Reply::Error`].
    pub(crate) async fn send(
        self: &Arc<Self>,
        command: &Command<'_>,
        deadline: Deadline,
    ) -> Result<Reply, CacheError> {
        let link = self.link(deadline).await?;
        self.send_on(&link, command, deadline).await
    }

    /// As [`send`](Self::send), on this connection.
    async fn send_on(
        &self,
        link: &Link,
        command: &Command<'_>,
        deadline: Deadline,
    ) -> Result<Reply, CacheError> {
        let result = link.connection.send(command, deadline).await;
        self.judge(link, command, result)
    }

    /// Checks the outcome of `command` on a connection of this node.
    pub(crate) fn judge(
        &self,
        link: &Link,
        command: &Command<'_>,
        result: Result<Reply, CacheError>,
    ) -> Result<Reply, CacheError> {
        match result {
            Ok(reply) if command.is_answered_by(&reply) => {
                self.note_refusal(&reply);
                self.cool_down_if_unready(&reply);
                Ok(reply)
            }
            Ok(reply) => Err(self.give_up(link, command, &reply)),
            Err(error) => Err(self.name(error, link)),
        }
    }

    /// Sends commands as one pipeline on one connection. Returns the replies in order, refusals included.
    pub(crate) async fn send_batch(
        self: &Arc<Self>,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        let link = self.link(deadline).await?;
        self.exchange(&link, commands, deadline).await
    }

    /// As [`send_batch`](Self::send_batch), and once more if the connection turned out to be dead. Only for
    /// commands that may run twice.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        questions: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        match self.send_batch(questions, deadline).await {
            Err(CacheError::Unavailable {
                reason: Unavailability::Lost,
                ..
            }) => self.send_batch(questions, deadline).await,
            result => result,
        }
    }

    async fn exchange(
        &self,
        link: &Link,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        let replies = link.connection.send_batch(commands, deadline).await;
        let replies = replies.map_err(|error| self.name(error, link))?;
        if self.mode == Mode::Replica {
            replies.iter().for_each(|reply| self.cool_down_if_unready(reply));
        }
        let mismatch = commands
            .iter()
            .zip(&replies)
            .find(|(command, reply)| !command.is_answered_by(reply));
        replies.iter().for_each(|reply| self.note_refusal(reply));
        match mismatch {
            Some((command, reply)) => Err(self.give_up(link, command, reply)),
            None => Ok(replies),
        }
    }

    /// As [`send_batch`](Self::send_batch), with a result for each command: replies are kept even if the rest
    /// of the pipeline was lost.
    pub(crate) async fn send_each(
        self: &Arc<Self>,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        let link = match self.link(deadline).await {
            Ok(link) => link,
            Err(error) => return std::iter::repeat_n(error, commands.len()).map(Err).collect(),
        };
        self.exchange_each(&link, commands, deadline).await
    }

    /// [`send_each`](Self::send_each) on one connection.
    async fn exchange_each(
        &self,
        link: &Link,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Vec<Result<Reply, CacheError>> {
        let results = link.connection.send_each(commands, deadline).await;
        if self.mode == Mode::Replica {
            results
                .iter()
                .flatten()
                .for_each(|reply| self.cool_down_if_unready(reply));
        }
        results
            .iter()
            .flatten()
            .for_each(|reply| self.note_refusal(reply));
        let mismatch = commands
            .iter()
            .zip(&results)
            .find_map(|(command, result)| match result {
                Ok(reply) if !command.is_answered_by(reply) => Some((command, reply)),
                _ => None,
            });
        if let Some((command, reply)) = mismatch {
            // All commands fail, because the replies may have shifted before the first visible mismatch.
            let error = self.give_up(link, command, reply);
            return std::iter::repeat_n(error, commands.len()).map(Err).collect();
        }
        let named = |result: Result<Reply, CacheError>| result.map_err(|error| self.name(error, link));
        results.into_iter().map(named).collect()
    }

    /// Closes a connection after a reply that cannot belong to its command: the replies may have shifted, so
    /// the next one might look right and belong to another call.
    fn give_up(&self, link: &Link, command: &Command<'_>, reply: &Reply) -> CacheError {
        tracing::warn!(
            node = %self.address,
            command = command.name(),
            ?reply,
            "a reply does not belong to its command; the connection is given up"
        );
        link.close();
        CacheError::Corrupt {
            detail: format!(
                "{} answered {} with {reply:?}; the connection was given up",
                self.address,
                command.name()
            )
            .into(),
            source: None,
        }
    }

    /// Whether the server is known to be down, so that calls fail at once.
    pub(crate) fn is_down(&self) -> bool {
        match &*self.health.borrow() {
            Health::Closed => true,
            // The findings of a supervisor that no longer runs are outdated.
            Health::Down(_) | Health::Connecting { is_slow: true } => {
                self.supervisor.is_alive_at(clock::now())
            }
            Health::Up | Health::Idle | Health::Connecting { is_slow: false } => false,
        }
    }

    /// Counts an opened connection, before it is used.
    fn count_connection(&self) {
        let is_first = !self.has_connected.swap(true, Ordering::Relaxed);
        let has_other = || self.links.load().iter().any(|link| !link.connection.is_closed());
        if !is_first && !has_other() {
            self.dialer.counts().reconnected();
        }
    }

    /// Statistics of the connections that calls use.
    pub(crate) fn stats(&self) -> NodeStats {
        let mut stats = NodeStats::new(self.address.clone());
        for link in self.links.load().iter() {
            if !link.connection.is_closed() {
                let traffic = link.connection.traffic();
                stats.connections += 1;
                stats.calls_in_flight += u64::from(traffic.in_flight());
                stats.bytes_in_flight += traffic.unwritten();
            }
        }
        stats
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// What the server said about itself in the last handshake.
    pub(crate) fn server_hello(&self) -> Arc<ServerHello> {
        self.server_hello.load_full()
    }

    /// Closes all connections. Calls in flight fail; later ones are [`CacheError::Closed`].
    pub(crate) fn close(&self) {
        self.health.send_replace(Health::Closed);
        for link in self.links.swap(Arc::default()).iter() {
            link.close();
        }
        self.drop_retired();
        self.tracking.set(None);
        self.work.notify_one();
    }

    fn blueprint(self: &Arc<Self>) -> Blueprint {
        Blueprint {
            node: Arc::downgrade(self),
            address: self.address.clone(),
            mode: self.mode,
            expected: self.expected.load_full(),
            dialer: Arc::clone(&self.dialer),
            lease: self.supervisor.lease(),
        }
    }

    /// Names this server in an error of its connection.
    fn name(&self, error: CacheError, link: &Link) -> CacheError {
        match error {
            CacheError::Unavailable {
                reason: Unavailability::Lost,
                outcome,
                source,
                ..
            } => {
                // `Closed` means that nothing was applied.
                if outcome == Outcome::NotApplied && matches!(&*self.health.borrow(), Health::Closed) {
                    return CacheError::Closed;
                }
                self.lost(outcome, source, link)
            }
            other => other,
        }
    }

    fn lost(&self, outcome: Outcome, source: Option<cache_core::ErrorSource>, link: &Link) -> CacheError {
        let detail = match link.fault() {
            Some(fault) => format!("{}, {fault}", self.address),
            None => self.address.to_string(),
        };
        CacheError::Unavailable {
            reason: Unavailability::Lost,
            detail: detail.into(),
            outcome,
            source,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.work.notify_one();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("address", &self.address.to_string())
            .field("mode", &self.mode)
            .field("connections", &self.links.load().len())
            .finish_non_exhaustive()
    }
}
