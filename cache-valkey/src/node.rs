//! One server: its connections, and whether it can be used at the moment.
//!
//! Callers share a few multiplexed connections and never queue for one. A keeper task in the background
//! does everything that takes time: it connects, grows the number of connections under load, replaces
//! what went silent or got old, renews credentials, and backs off while the server is down. Callers only look at
//! what it found: a server that is known to be down fails them at once.
//!
//! Not in here: which server a command belongs to, and whether to try again.

mod keeper;
mod link;
mod replace;
mod tracked;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use cache_core::clock::{self, Instant};
use cache_core::config::Address;
use cache_core::{CacheError, Outcome, Stage, Unavailability};
use tokio::sync::{Notify, watch};

use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Dialed, Dialer, Greeting, Mode};
use crate::reply::Reply;
use crate::tracking::{Member, Witness};
pub(crate) use link::Link;
use link::LinkEvents;
use replace::Retired;

/// How long a call waits for another connection to be opened if all are held up by big values.
const HELD_UP: Duration = Duration::from_millis(500);

/// How long a call waits for a connection that is being made before it fails: long enough for a
/// reconnect across regions, short enough that a black hole does not eat every call's deadline.
const PATIENCE: Duration = Duration::from_secs(1);

/// One server.
pub(crate) struct Node {
    address: Address,
    mode: Mode,
    dialer: Arc<Dialer>,
    links: ArcSwap<Vec<Arc<Link>>>,
    /// Connections that get no more calls and are closed when those in flight have ended.
    retired: Mutex<Vec<Retired>>,
    health: watch::Sender<Health>,
    greeting: ArcSwap<Greeting>,
    /// Wakes the keeper; shared with it so that it can wait without keeping the node alive.
    work: Arc<Notify>,
    kept: AtomicBool,
    wants_more: AtomicBool,
    /// Whether further connections cannot be opened at the moment.
    cannot_grow: AtomicBool,
    /// Its say in whether changes are reported, and whether it has one.
    tracking: Member,
    counts: AtomicBool,
}

/// What a connection to a node is made from, without holding the node.
struct Blueprint {
    node: Weak<Node>,
    address: Address,
    mode: Mode,
    dialer: Arc<Dialer>,
}

impl Blueprint {
    /// Opens a connection; what the server said of itself comes with it.
    async fn open(&self) -> Result<(Link, Greeting), CacheError> {
        let witness = Witness::new(Arc::clone(self.dialer.feed()));
        let events = Arc::new(LinkEvents {
            node: self.node.clone(),
            witness: Arc::clone(&witness),
        });
        let Dialed {
            connection,
            greeting,
            valid_for,
            tracking,
            ..
        } = self.dialer.dial(&self.address, self.mode, events).await?;
        witness.agreed(tracking, greeting.replica);
        let max_age = self.dialer.limits().max_age;
        let node = self.node.clone();
        Ok((Link::new(node, connection, valid_for, max_age, witness), greeting))
    }
}

/// A connection for a call.
struct Picked {
    link: Arc<Link>,
    /// Whether big values keep it busy and another connection is about to be opened.
    is_held_up: bool,
}

/// Whether a server can be used.
#[derive(Clone, Debug)]
enum Health {
    /// Never used so far.
    Idle,
    /// The first try to connect since it was last used is under way.
    Connecting { since: Instant },
    /// There is a connection.
    Up,
    /// The last try failed; the next one is on its way.
    Down(CacheError),
    /// We are done with it.
    Closed,
}

impl Node {
    /// The server at `address`. Nothing is connected before the first use.
    pub(crate) fn new(address: Address, mode: Mode, dialer: Arc<Dialer>) -> Arc<Self> {
        Arc::new(Self {
            address,
            mode,
            tracking: dialer.feed().member(),
            counts: AtomicBool::new(mode == Mode::Primary),
            dialer,
            links: ArcSwap::default(),
            retired: Mutex::default(),
            health: watch::Sender::new(Health::Idle),
            greeting: ArcSwap::default(),
            work: Arc::new(Notify::new()),
            kept: AtomicBool::new(false),
            wants_more: AtomicBool::new(false),
            cannot_grow: AtomicBool::new(false),
        })
    }

    /// Waits for a connection, for as long as the first try to make one takes.
    pub(crate) async fn connect(self: &Arc<Self>, deadline: Deadline) -> Result<(), CacheError> {
        self.wait_for_link(deadline, Duration::MAX).await.map(drop)
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

    /// A connection that a call need not wait for, if there is one.
    pub(crate) fn ready_link(&self) -> Option<Arc<Link>> {
        self.pick()
            .filter(|picked| !picked.is_held_up)
            .map(|picked| picked.link)
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
            Ok(reply) if command.is_answered_by(&reply) => Ok(reply),
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

    async fn exchange(
        &self,
        link: &Link,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Reply>, CacheError> {
        let replies = link.connection.send_batch(commands, deadline).await;
        let replies = replies.map_err(|error| self.name(error, link))?;
        let stray = commands
            .iter()
            .zip(&replies)
            .find(|(command, reply)| !command.is_answered_by(reply));
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
        let results = link.connection.send_each(commands, deadline).await;
        let stray = commands
            .iter()
            .zip(&results)
            .find_map(|(command, result)| match result {
                Ok(reply) if !command.is_answered_by(reply) => Some((command, reply)),
                _ => None,
            });
        if let Some((command, reply)) = stray {
            // All of them: the replies may have shifted before the first that shows it.
            let error = self.give_up(&link, command, reply);
            return std::iter::repeat_n(error, commands.len()).map(Err).collect();
        }
        let named = |result: Result<Reply, CacheError>| result.map_err(|error| self.name(error, &link));
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
        matches!(&*self.health.borrow(), Health::Down(_) | Health::Closed)
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

    /// A connection for one call.
    async fn link(self: &Arc<Self>, deadline: Deadline) -> Result<Arc<Link>, CacheError> {
        match self.pick() {
            Some(Picked {
                link,
                is_held_up: false,
            }) => Ok(link),
            Some(Picked { link, .. }) => Ok(Box::pin(self.wait_for_roomy_link(link, deadline)).await),
            None => Box::pin(self.wait_for_link(deadline, PATIENCE)).await,
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

    async fn wait_for_link(
        self: &Arc<Self>,
        deadline: Deadline,
        patience: Duration,
    ) -> Result<Arc<Link>, CacheError> {
        self.start_keeper();
        let mut health = self.health.subscribe();
        let asked = clock::now();
        loop {
            let since = match &*health.borrow_and_update() {
                Health::Down(error) => return Err(error.clone()),
                Health::Closed => return Err(CacheError::Closed),
                Health::Up => match self.pick() {
                    Some(picked) => return Ok(picked.link),
                    // Lost a moment ago; the keeper is about to say so.
                    None => asked,
                },
                Health::Idle => asked,
                Health::Connecting { since } => *since,
            };
            let until = since
                .checked_add(patience)
                .map_or(deadline.at(), |end| end.min(deadline.at()));
            if tokio::time::timeout_at(until, health.changed()).await.is_err() {
                return Err(if until < deadline.at() {
                    self.still_connecting()
                } else {
                    deadline.passed(Stage::Connect)
                });
            }
        }
    }

    fn start_keeper(self: &Arc<Self>) {
        if !self.kept.swap(true, Ordering::AcqRel) {
            tokio::spawn(keeper::keep(Arc::downgrade(self), Arc::clone(&self.work)));
        }
    }

    fn blueprint(self: &Arc<Self>) -> Blueprint {
        Blueprint {
            node: Arc::downgrade(self),
            address: self.address.clone(),
            mode: self.mode,
            dialer: Arc::clone(&self.dialer),
        }
    }

    fn still_connecting(&self) -> CacheError {
        CacheError::Unavailable {
            reason: Unavailability::Connect,
            detail: format!("{}, still connecting after {}", self.address, humantime(PATIENCE)).into(),
            outcome: Outcome::NotApplied,
            source: None,
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

fn humantime(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
