//! One server: its connections, and whether it can be used at the moment.
//!
//! Callers share a few multiplexed connections and never queue for one. A keeper task in the background
//! does everything that takes time: it connects, grows the number of connections under load, replaces
//! what went silent or got old, renews credentials, and backs off while the server is down. Callers only look at
//! what it found: a server that is known to be down fails them at once.
//!
//! Not in here: which server a command belongs to, and whether to try again.

mod identity;
mod idle;
mod keeper;
mod link;
mod pick;
mod renew;
mod replace;
mod rest;
mod tracked;
mod wake;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwap;
use cache_core::clock;
use cache_core::config::Address;
use cache_core::{CacheError, Lease, Outcome, Unavailability};
use tokio::sync::{Notify, watch};

use crate::background::Background;
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Dialed, Dialer, Greeting, Mode};
use crate::identity::Expected;
use crate::reply::Reply;
use crate::stats::NodeStats;
use crate::tracking::{Member, Witness};
pub(crate) use link::Link;
use link::LinkEvents;
use replace::Retired;
use rest::Rest;

/// One server.
pub(crate) struct Node {
    address: Address,
    mode: Mode,
    /// Which server has to answer.
    expected: ArcSwap<Expected>,
    /// Whether a refused call makes it doubtful that the right server answers.
    suspected: AtomicBool,
    dialer: Arc<Dialer>,
    links: ArcSwap<Vec<Arc<Link>>>,
    /// Connections that get no more calls and are closed when those in flight have ended.
    retired: Mutex<Vec<Retired>>,
    health: watch::Sender<Health>,
    greeting: ArcSwap<Greeting>,
    /// Wakes the keeper; shared with it so that it can wait without keeping the node alive.
    work: Arc<Notify>,
    keeper: Arc<Background>,
    /// Whether there has been a connection.
    has_connected: AtomicBool,
    wants_more: AtomicBool,
    /// Whether further connections cannot be opened at the moment.
    cannot_grow: AtomicBool,
    /// Its say in whether changes are reported, and whether it has one.
    tracking: Member,
    counts: AtomicBool,
    rest: Rest,
}

/// What a connection to a node is made from, without holding the node.
struct Blueprint {
    node: Weak<Node>,
    address: Address,
    mode: Mode,
    expected: Arc<Expected>,
    dialer: Arc<Dialer>,
    lease: Lease,
}

impl Blueprint {
    /// Opens a connection; what the server said of itself comes with it.
    async fn open(&self) -> Result<(Link, Greeting), CacheError> {
        let witness = Witness::new(Arc::clone(self.dialer.feed()), self.lease);
        let events = Arc::new(LinkEvents {
            node: self.node.clone(),
            witness: Arc::clone(&witness),
        });
        let dialed = self
            .dialer
            .dial(&self.address, self.mode, &self.expected, events)
            .await;
        let Dialed {
            connection,
            greeting,
            valid_for,
            tracking,
            ..
        } = dialed.inspect_err(|_| self.dialer.counts().dial_failed())?;
        if let Some(node) = self.node.upgrade() {
            node.count_connection();
        }
        witness.agreed(tracking, greeting.replica);
        let max_age = self.dialer.limits().max_age;
        let node = self.node.clone();
        let link = Link::new(node, connection, valid_for, max_age, witness);
        Ok((link.leading_to(greeting.id.clone()), greeting))
    }
}

/// Whether a server can be used.
#[derive(Clone, Debug)]
enum Health {
    /// Never used so far.
    Idle,
    /// The first try to connect since it was last used is under way.
    Connecting {
        /// Whether it takes so long that calls do not wait for it.
        is_slow: bool,
    },
    /// There is a connection.
    Up,
    /// The last try failed; the next one is on its way.
    Down(CacheError),
    /// We are done with it.
    Closed,
}

impl Node {
    /// Notes that this server announces `addresses`, so that errors can say who named them.
    pub(crate) fn announces<'a>(&self, addresses: impl IntoIterator<Item = &'a Address>) {
        self.dialer.announced().note(&self.address, addresses);
    }

    /// The server at `address`. Nothing is connected before the first use.
    pub(crate) fn new(address: Address, mode: Mode, dialer: Arc<Dialer>) -> Arc<Self> {
        Arc::new(Self {
            address,
            mode,
            expected: ArcSwap::default(),
            suspected: AtomicBool::new(false),
            tracking: dialer.feed().member(),
            counts: AtomicBool::new(mode == Mode::Primary),
            dialer,
            links: ArcSwap::default(),
            retired: Mutex::default(),
            health: watch::Sender::new(Health::Idle),
            greeting: ArcSwap::default(),
            work: Arc::new(Notify::new()),
            keeper: Background::new(),
            has_connected: AtomicBool::new(false),
            wants_more: AtomicBool::new(false),
            cannot_grow: AtomicBool::new(false),
            rest: Rest::new(),
        })
    }

    /// Sends one command. Errors are of the transport; a refusal is [`Reply::Error`].
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

    /// What the outcome of `command` on a connection of this node means.
    pub(crate) fn judge(
        &self,
        link: &Link,
        command: &Command<'_>,
        result: Result<Reply, CacheError>,
    ) -> Result<Reply, CacheError> {
        match result {
            Ok(reply) if command.is_answered_by(&reply) => {
                self.note_refusal(&reply);
                self.rest_if_unfit(&reply);
                Ok(reply)
            }
            Ok(reply) => Err(self.give_up(link, command, &reply)),
            Err(error) => Err(self.name(error, link)),
        }
    }

    /// Sends commands as one pipeline on one connection; a reply for each, in order, refusals in their
    /// places.
    pub(crate) async fn send_batch(
        self: &Arc<Self>,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        let link = self.link(deadline).await?;
        self.exchange(&link, commands, deadline).await
    }

    /// As [`send_batch`](Self::send_batch), once more if the connection turned out dead. For questions only, which may
    /// be asked twice.
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
            replies.iter().for_each(|reply| self.rest_if_unfit(reply));
        }
        let stray = commands
            .iter()
            .zip(&replies)
            .find(|(command, reply)| !command.is_answered_by(reply));
        replies.iter().for_each(|reply| self.note_refusal(reply));
        match stray {
            Some((command, reply)) => Err(self.give_up(link, command, reply)),
            None => Ok(replies),
        }
    }

    /// As [`send_batch`](Self::send_batch), with a result for each command: what the server answered stays where the
    /// rest of the pipeline was lost.
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
                .for_each(|reply| self.rest_if_unfit(reply));
        }
        results
            .iter()
            .flatten()
            .for_each(|reply| self.note_refusal(reply));
        let stray = commands
            .iter()
            .zip(&results)
            .find_map(|(command, result)| match result {
                Ok(reply) if !command.is_answered_by(reply) => Some((command, reply)),
                _ => None,
            });
        if let Some((command, reply)) = stray {
            // All of them: the replies may have shifted before the first that shows it.
            let error = self.give_up(link, command, reply);
            return std::iter::repeat_n(error, commands.len()).map(Err).collect();
        }
        let named = |result: Result<Reply, CacheError>| result.map_err(|error| self.name(error, link));
        results.into_iter().map(named).collect()
    }

    /// Ends a connection on which a command got a reply that cannot be its own: if replies have shifted,
    /// the next one might look right and be another call's.
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

    /// Whether it is known that the server cannot be used: calls fail at once.
    pub(crate) fn is_down(&self) -> bool {
        match &*self.health.borrow() {
            Health::Closed => true,
            // What a keeper found out that does not run any more says nothing of now.
            Health::Down(_) | Health::Connecting { is_slow: true } => self.keeper.is_seen(clock::now()),
            Health::Up | Health::Idle | Health::Connecting { is_slow: false } => false,
        }
    }

    /// Counts a connection that was opened, before it is in use.
    fn count_connection(&self) {
        let is_first = !self.has_connected.swap(true, Ordering::Relaxed);
        let has_other = || self.links.load().iter().any(|link| !link.connection.is_closed());
        if !is_first && !has_other() {
            self.dialer.counts().reconnected();
        }
    }

    /// What is known of the connections that calls go over.
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

    /// What the server said of itself when it was last connected to.
    pub(crate) fn greeting(&self) -> Arc<Greeting> {
        self.greeting.load_full()
    }

    /// Gives up all connections; calls in flight fail, later ones are [`CacheError::Closed`].
    pub(crate) fn close(&self) {
        self.health.send_replace(Health::Closed);
        for link in self.links.swap(Arc::default()).iter() {
            link.close();
        }
        self.drop_retired();
        self.tracking.say(None);
        self.work.notify_one();
    }

    fn blueprint(self: &Arc<Self>) -> Blueprint {
        Blueprint {
            node: Arc::downgrade(self),
            address: self.address.clone(),
            mode: self.mode,
            expected: self.expected.load_full(),
            dialer: Arc::clone(&self.dialer),
            lease: self.keeper.lease(),
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
                // `Closed` says that nothing was done.
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
