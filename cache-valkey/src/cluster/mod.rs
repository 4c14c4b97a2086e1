//! The cluster: commands go to the node that serves their slot, whatever happens to the cluster.
//!
//! [`Cluster`] is the part with sockets, and does what the pure parts decide: `table.rs` knows where a
//! slot is, `state.rs` what redirections and surveys change about that, `journey.rs` what a call does
//! after an answer that is no result, `survey.rs` what nodes say of their cluster, `schedule.rs` when
//! they are asked. `batch.rs` splits many commands, `refresh.rs` is the task that asks.
//!
//! Not in here: connections and whether a node is down, see `node.rs`; operations, see the client.

mod batch;
mod journey;
mod members;
mod refresh;
mod schedule;
#[cfg(test)]
mod simulation;
mod state;
mod survey;
mod table;
mod topology;
mod view;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use cache_core::clock;
use cache_core::config::{Address, ReadFrom, Startup, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_core::{CacheError, Outcome, Unavailability};
use futures::future::{join_all, try_join_all};
use rand::Rng;
use tokio::sync::Notify;

use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Dialer, Mode};
use crate::error::{accept, from_server};
use crate::node::Node;
use crate::reply::Reply;
use crate::retry::undecided;
use crate::startup::tolerate;
use journey::{Journey, Setback, Step};
use members::Members;
use state::State;
use table::{Shard, Table};

/// A cluster.
pub(crate) struct Cluster {
    /// What calls are routed by; a copy of the state's, to be read without a lock.
    table: ArcSwap<Table<Arc<Node>>>,
    state: Mutex<State<Arc<Node>>>,
    seeds: Vec<Address>,
    read_from: ReadFrom,
    max_retries: u32,
    dial_timeout: Duration,
    /// For how long a call may be in flight at most, and so a node must stay after it has left.
    grace: Duration,
    /// Wakes the task that asks the cluster; shared with it so that it can wait without keeping the
    /// cluster alive.
    hints: Arc<Notify>,
    /// One survey at a time, so that an older answer never comes after a newer one.
    surveying: tokio::sync::Mutex<()>,
    /// Why the last survey found nothing.
    failure: Mutex<Option<CacheError>>,
    closed: AtomicBool,
}

impl Cluster {
    /// Asks `seeds`, of which one that answers is enough, and connects to every primary.
    ///
    /// Fails where no seed answers or no primary can be reached, unless `startup` is to go on without.
    pub(crate) async fn connect(
        config: &ValkeyConfig,
        seeds: Vec<Address>,
        dialer: Arc<Dialer>,
        startup: Startup,
    ) -> Result<Arc<Self>, CacheError> {
        let members = Members::new(move |address, reads_only| {
            let mode = if reads_only { Mode::Replica } else { Mode::Primary };
            Node::new(address.clone(), mode, Arc::clone(&dialer))
        });
        let state = State::new(members, config.read_from != ReadFrom::Primary);
        let cluster = Arc::new(Self {
            table: ArcSwap::new(Arc::clone(state.table())),
            state: Mutex::new(state),
            seeds,
            read_from: config.read_from,
            max_retries: config.max_retries,
            dial_timeout: config.dial_timeout,
            grace: config.read_timeout.max(config.write_timeout) + Duration::from_secs(1),
            hints: Arc::default(),
            surveying: tokio::sync::Mutex::default(),
            failure: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let started = match cluster.survey().await {
            Ok(()) => cluster.connect_primaries().await,
            Err(error) => Err(error),
        };
        tolerate(startup, started)?;
        tokio::spawn(refresh::keep_fresh(
            Arc::downgrade(&cluster),
            Arc::clone(&cluster.hints),
        ));
        Ok(cluster)
    }

    /// Sends one command to the node that serves its key. Redirections and what the node cannot do at the
    /// moment are seen to; other refusals are the reply.
    pub(crate) async fn send(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        let node = self.route(command, false)?;
        match node.send(command, deadline).await {
            Ok(reply) if !matches!(reply, Reply::Error(_)) => Ok(reply),
            // On the heap, so that the way that calls go stays small.
            result => Box::pin(self.recover(command, deadline, node, result)).await,
        }
    }

    /// One round trip to every primary that serves slots; fails where one does not answer.
    pub(crate) async fn ping(&self, deadline: Deadline) -> Result<(), CacheError> {
        let primaries = self.primaries();
        if primaries.is_empty() {
            return Err(self.nobody(None));
        }
        let ping = Command::read("PING");
        let pings = primaries
            .iter()
            .map(|node| async { accept(node.send(&ping, deadline).await?, ping.name()).map(drop) });
        let result = try_join_all(pings).await;
        if result.is_err() {
            self.hint();
        }
        result.map(drop)
    }

    /// Asks the cluster anew how it looks, at once: whoever asks by name does not wait for the pace at
    /// which hints are followed.
    pub(crate) async fn refresh(&self, deadline: Deadline) -> Result<(), CacheError> {
        if self.is_closed() {
            return Err(CacheError::Closed);
        }
        deadline.limit(cache_core::Stage::Call, self.survey()).await
    }

    /// The primaries that serve slots.
    fn primaries(&self) -> Vec<Arc<Node>> {
        let table = self.table.load();
        let serving = table.serving();
        serving.map(|shard| Arc::clone(shard.primary())).collect()
    }

    /// The primary that serves the slot of `key`, as far as is known.
    pub(crate) fn owner(&self, key: &[u8]) -> Option<Arc<Node>> {
        let table = self.table.load();
        table.shard(slot_of(key)).map(|shard| Arc::clone(shard.primary()))
    }

    /// Gives up all connections; calls in flight fail, later ones are [`CacheError::Closed`].
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let nodes = {
            let mut state = self.state();
            let nodes = state.clear();
            self.table.store(Arc::clone(state.table()));
            nodes
        };
        for node in nodes {
            node.close();
        }
        self.hints.notify_one();
    }

    /// The node to send `command` to: by its key, or any primary where it has none.
    fn route(&self, command: &Command<'_>, retried: bool) -> Result<Arc<Node>, CacheError> {
        let table = self.table.load();
        let Some(key) = command.routing_key() else {
            return self.any_primary(&table);
        };
        let slot = slot_of(key);
        match table.shard(slot) {
            Some(shard) => self.choose(shard, command.reads(), retried),
            None => Err(self.nobody(Some(slot))),
        }
    }

    /// The node of `shard` that is to answer.
    #[inline]
    fn choose(&self, shard: &Shard<Arc<Node>>, reads: bool, retried: bool) -> Result<Arc<Node>, CacheError> {
        let replica = || shard.replica(|node| !node.is_down());
        let node = match self.read_from {
            ReadFrom::Replica if reads => replica().ok_or_else(|| self.no_replica(shard))?,
            ReadFrom::PreferReplica if reads && !retried => replica().unwrap_or(shard.primary()),
            _ => shard.primary(),
        };
        Ok(Arc::clone(node))
    }

    fn any_primary(&self, table: &Table<Arc<Node>>) -> Result<Arc<Node>, CacheError> {
        let primaries: Vec<_> = table.serving().map(|shard| shard.primary()).collect();
        let start = rand::rng().random_range(0..primaries.len().max(1));
        let (before, after) = primaries.split_at(start);
        let mut turn = after.iter().chain(before);
        let node = turn.clone().find(|node| !node.is_down()).or_else(|| turn.next());
        node.map(|node| Arc::clone(node)).ok_or_else(|| self.nobody(None))
    }

    /// Sees a call through whose try at `node` ended with `result`, which may be its result after all.
    async fn recover(
        &self,
        command: &Command<'_>,
        deadline: Deadline,
        mut node: Arc<Node>,
        mut result: Result<Reply, CacheError>,
    ) -> Result<Reply, CacheError> {
        let has_choice = command.reads() && self.read_from != ReadFrom::Primary;
        let mut journey = Journey::new(command.effect(), has_choice, self.max_retries);
        loop {
            let setback = match &result {
                Ok(Reply::Error(error)) => match Setback::of_refusal(error, node.address()) {
                    Some(setback) => setback,
                    None => return result,
                },
                Ok(_) => return result,
                Err(CacheError::Closed) if self.is_closed() => return result,
                Err(error) => Setback::of_failure(error),
            };
            self.take_note(&setback);
            result = match journey.next(&setback) {
                Step::Follow { to, asking, pause } if self.pause(pause, deadline).await => {
                    node = self.state().node(&to);
                    if asking {
                        ask(&node, command, deadline).await
                    } else {
                        node.send(command, deadline).await
                    }
                }
                Step::Again { pause } if self.pause(pause, deadline).await => {
                    node = match self.route(command, journey.was_retried()) {
                        Ok(node) => node,
                        Err(error) => return Err(at_the_end_of(&journey, error)),
                    };
                    node.send(command, deadline).await
                }
                // The end, or no time left for what would be next.
                _ => return give_up(&journey, &setback, result, command),
            };
        }
    }

    /// Waits, unless that would outlast the call.
    async fn pause(&self, pause: Duration, deadline: Deadline) -> bool {
        if pause.is_zero() {
            return !self.is_closed();
        }
        if deadline.remaining() <= pause {
            return false;
        }
        tokio::time::sleep(pause).await;
        !self.is_closed()
    }

    fn take_note(&self, setback: &Setback) {
        if let Setback::Moved { slot, to: Some(to) } = setback {
            let mut state = self.state();
            if !self.is_closed() && state.moved(*slot, to, clock::now()) {
                self.table.store(Arc::clone(state.table()));
            }
        }
        if setback.hints_at_change() {
            self.hint();
        }
    }

    /// Asks for a survey; however often, it is one.
    fn hint(&self) {
        self.hints.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn failure(&self) -> MutexGuard<'_, Option<CacheError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State<Arc<Node>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a call that nobody can serve. The slot has been asked for: a table is what a survey
    /// found, and surveys go on while anything is missing in it.
    #[cold]
    fn nobody(&self, slot: Option<u16>) -> CacheError {
        if self.is_closed() {
            return CacheError::Closed;
        }
        self.hint();
        if let Some(failure) = self.failure().as_ref()
            && self.table.load().shards().is_empty()
        {
            return failure.clone();
        }
        not_ready(match slot {
            Some(slot) => format!("no node of the cluster serves slot {slot}"),
            None => "no node of the cluster serves any slot".to_owned(),
        })
    }

    #[cold]
    fn no_replica(&self, shard: &Shard<Arc<Node>>) -> CacheError {
        self.hint();
        not_ready(format!(
            "no replica of {} can be reached, and CACHE_READ_FROM=replica rules out the primary",
            shard.primary().address()
        ))
    }

    async fn connect_primaries(&self) -> Result<(), CacheError> {
        let primaries = self.primaries();
        let deadline = Deadline::after(self.dial_timeout + Duration::from_secs(1));
        let results = join_all(primaries.iter().map(|node| node.connect(deadline))).await;
        let one_is_there = results.iter().any(Result::is_ok);
        // One that is down may be about to fail over; one that refuses us needs somebody to act.
        results
            .into_iter()
            .filter_map(Result::err)
            .find(|error| !one_is_there || !error.is_transient())
            .map_or(Ok(()), Err)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.load();
        f.debug_struct("Cluster")
            .field("epoch", &table.epoch())
            .field("primaries", &table.serving().count())
            .finish_non_exhaustive()
    }
}

/// Sends a command to a node that is about to serve its slot.
async fn ask(node: &Arc<Node>, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
    let asking = Command::write("ASKING");
    let mut replies = node.send_batch(&[&asking, command], deadline).await?;
    replies.pop().ok_or_else(|| Reply::Nil.unexpected("two replies"))
}

/// What a call ends with that does not go on: never a redirection, which no caller could use, and never
/// "not done" where an earlier try may have done it.
fn give_up(
    journey: &Journey,
    setback: &Setback,
    result: Result<Reply, CacheError>,
    command: &Command<'_>,
) -> Result<Reply, CacheError> {
    let error = match (setback, result) {
        (Setback::Moved { .. } | Setback::Ask { .. }, _) => not_ready(
            "the nodes of the cluster send the call back and forth; they do not agree who serves its slot"
                .to_owned(),
        ),
        (_, Ok(Reply::Error(error))) => from_server(&error, command.name()),
        (_, Ok(reply)) => return Ok(reply),
        (_, Err(error)) => error,
    };
    Err(at_the_end_of(journey, error))
}

/// The error that ends a call: "not done" only where no earlier try may have done it.
fn at_the_end_of(journey: &Journey, error: CacheError) -> CacheError {
    if journey.may_be_done() {
        undecided(error)
    } else {
        error
    }
}

fn not_ready(detail: String) -> CacheError {
    CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: detail.into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
}
