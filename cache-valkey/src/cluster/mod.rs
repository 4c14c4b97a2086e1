//! The cluster: commands go to the node that serves their slot, whatever happens to the cluster.
//!
//! [`Cluster`] is the part with sockets: `route.rs` picks the node of a call, `recover.rs` sees it through,
//! `batch.rs` splits many commands (`resend.rs` repeats what was lost), `refresh.rs` is the task that has nodes asked,
//! `inquiry.rs` asks them. It does what the pure parts decide: `table.rs` knows where a slot is, `state.rs` what
//! redirections and surveys change about that, `journey.rs` what a call does after an answer that is no result,
//! `survey.rs` what nodes say of their cluster, `belief.rs` which of them is believed, `epoch.rs` and `schedule.rs` (one
//! level up) when they are asked.
//!
//! Not in here: connections and whether a node is down, see `node.rs`; operations, see the client.

mod batch;
mod belief;
mod each;
mod epoch;
mod inquiry;
mod journey;
mod members;
mod recover;
mod refresh;
mod resend;
mod route;
#[cfg(test)]
mod simulation;
mod state;
mod survey;
mod table;
mod topology;
mod tracked;
mod view;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use cache_core::CacheError;
use cache_core::clock::{self, Instant};
use cache_core::config::{Address, ReadFrom, Startup, ValkeyConfig};
use cache_core::slot::slot_of;
use futures::future::{join_all, try_join_all};

use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Dialer, Mode};
use crate::error::accept;
use crate::identity::Expected;
use crate::node::Node;
use crate::reply::Reply;
use crate::startup::tolerate;
use crate::stats::Counts;
use crate::tracking::Feed;
use crate::upkeep::{Hint, Upkeep};
use belief::Belief;
use journey::Setback;
use members::Members;
use state::State;
use table::Table;

/// How long a call waits for the survey that follows a redirection to an unknown node.
const SURVEYED: Duration = Duration::from_millis(500);

/// A cluster.
pub(crate) struct Cluster {
    /// What calls are routed by; a copy of the state's, to be read without a lock.
    table: ArcSwap<Table<Arc<Node>>>,
    state: Mutex<State<Arc<Node>>>,
    /// Which cluster this is.
    belief: Mutex<Belief>,
    /// Until when it need not be asked whether all configured addresses lead to this cluster.
    seeds_asked_until: Mutex<Option<Instant>>,
    /// When they were last asked because no known node answered.
    seeds_asked_at: Mutex<Option<Instant>>,
    dialer: Arc<Dialer>,
    seeds: Vec<Address>,
    read_from: ReadFrom,
    max_retries: u32,
    dial_timeout: Duration,
    /// For how long a call may be in flight at most, and so a node must stay after it has left.
    grace: Duration,
    /// The task that asks the cluster; shared with it so that it can wait without keeping the cluster alive.
    upkeep: Arc<Upkeep>,
    /// This cluster, for that task.
    me: Weak<Self>,
    /// One survey at a time, so that an older answer never comes after a newer one.
    surveying: tokio::sync::Mutex<()>,
    /// Why the last survey found nothing.
    failure: Mutex<Option<CacheError>>,
    closed: AtomicBool,
    feed: Arc<Feed>,
    counts: Arc<Counts>,
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
        let feed = Arc::clone(dialer.feed());
        let counts = Arc::clone(dialer.counts());
        let make = {
            let dialer = Arc::clone(&dialer);
            move |address: &Address, reads_only| {
                let mode = if reads_only { Mode::Replica } else { Mode::Primary };
                let node = Node::new(address.clone(), mode, Arc::clone(&dialer));
                // Until the table says so.
                node.set_counts(false);
                node
            }
        };
        let expect = |node: &Arc<Node>, expected: &Expected| node.expect(expected.clone());
        let members = Members::new(make, expect);
        let state = State::new(members, config.read_from != ReadFrom::Primary);
        let cluster = Arc::new_cyclic(|me| Self {
            table: ArcSwap::new(Arc::clone(state.table())),
            state: Mutex::new(state),
            belief: Mutex::default(),
            seeds_asked_until: Mutex::default(),
            seeds_asked_at: Mutex::default(),
            dialer,
            seeds,
            read_from: config.read_from,
            max_retries: config.max_retries,
            dial_timeout: config.dial_timeout,
            grace: config.read_timeout.max(config.write_timeout) + Duration::from_secs(1),
            upkeep: Upkeep::new(),
            me: Weak::clone(me),
            surveying: tokio::sync::Mutex::default(),
            failure: Mutex::default(),
            closed: AtomicBool::new(false),
            feed,
            counts,
        });
        let started = match cluster.survey().await {
            Ok(()) => cluster.connect_primaries().await,
            Err(error) => Err(error),
        };
        tolerate(startup, started)?;
        cluster.revive(clock::now());
        Ok(cluster)
    }

    /// Starts the task that keeps the table fresh where it does not run, as after the end of the runtime that it ran on.
    pub(crate) fn revive(&self, now: Instant) {
        let start = |run| refresh::keep_fresh(Weak::clone(&self.me), Arc::clone(&self.upkeep), run);
        if !self.is_closed() {
            self.upkeep.ensure(start, now);
        }
    }

    /// Sends one command to the node that serves its key. Redirections and what the node cannot do at the
    /// moment are seen to; other refusals are the reply. `first` is what came of the first try, if there was one.
    pub(crate) async fn send(
        &self,
        command: &Command<'_>,
        deadline: Deadline,
        first: Option<(Arc<Node>, Result<Reply, CacheError>)>,
    ) -> Result<Reply, CacheError> {
        self.revive(deadline.begun());
        let (node, result) = match first {
            Some(first) => first,
            None => {
                let node = match self.route(command, false) {
                    Ok(node) => node,
                    Err(error) => self.route_again(command, false, error, deadline).await?,
                };
                let result = node.send(command, deadline).await;
                (node, result)
            }
        };
        self.recover(command, deadline, node, result).await
    }

    /// One round trip to every primary that serves slots; fails where one does not answer.
    pub(crate) async fn ping(&self, deadline: Deadline) -> Result<(), CacheError> {
        self.revive(deadline.begun());
        let primaries = self.primaries();
        if primaries.is_empty() {
            return Err(self.nobody(None));
        }
        let ping = Command::read("PING");
        let pings = primaries.iter().map(|node| async {
            let replies = node.ask(&[&ping], deadline).await;
            let replies = replies.inspect_err(|error| self.take_note(&Setback::of_failure(error), node))?;
            let accepted = replies
                .into_iter()
                .try_for_each(|reply| accept(reply, ping.name()).map(drop));
            accepted.inspect_err(|_| self.upkeep.hint(Hint::Outage))
        });
        try_join_all(pings).await.map(drop)
    }

    /// Asks the cluster how it looks, at once: an administrator does not wait for the pace at which hints are followed.
    /// Fails if a configured address leads to another cluster.
    pub(crate) async fn refresh_thoroughly(&self, deadline: Deadline) -> Result<(), CacheError> {
        if self.is_closed() {
            return Err(CacheError::Closed);
        }
        deadline
            .limit(cache_core::Stage::Call, self.survey_thoroughly())
            .await
    }

    /// The primaries that serve slots.
    pub(crate) fn primaries(&self) -> Vec<Arc<Node>> {
        let table = self.table.load();
        let serving = table.serving();
        serving.map(|shard| Arc::clone(shard.primary())).collect()
    }

    /// Every node that is known.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.state().nodes().map(Arc::clone).collect()
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
        self.upkeep.stop();
    }

    /// Takes note of what a call met at `node`.
    fn take_note(&self, setback: &Setback, node: &Node) {
        if matches!(setback, Setback::MovedHere) {
            // Another server answers there than the rest of the cluster means.
            node.suspect();
        }
        let mut hint = setback.hint();
        if let Setback::Moved { slot, to: Some(to) } = setback {
            let is_news = {
                let mut state = self.state();
                !self.is_closed() && state.moved(*slot, to, clock::now())
            };
            if is_news {
                self.follow_state();
            } else {
                hint = None;
            }
        }
        if let Some(hint) = hint {
            self.upkeep.hint(hint);
        }
    }

    /// Routes by what the state says from now on.
    ///
    /// Where slots have another owner in it, what was read of them is given up: before anything can be read from
    /// the new owner, so that nothing older is found near after that; and once more when nothing is read
    /// from the old one any longer, for what was between the two. No lock is held meanwhile: a listener may
    /// be the last to hold this client.
    fn follow_state(&self) {
        loop {
            let old = self.table.load_full();
            let new = Arc::clone(self.state().table());
            let lost = old.slots_lost_in(&new);
            if !lost.is_empty() {
                self.feed.revoke(lost.iter().copied());
            }
            let found = self.table.compare_and_swap(&old, new);
            if !lost.is_empty() {
                self.feed.revoke(lost.iter().copied());
            }
            if Arc::ptr_eq(&found, &old) {
                break;
            }
        }
        let state = self.state();
        let primaries = self.primaries();
        for node in state.nodes() {
            node.set_counts(primaries.iter().any(|primary| Arc::ptr_eq(primary, node)));
        }
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

    async fn connect_primaries(&self) -> Result<(), CacheError> {
        let primaries = self.primaries();
        if primaries.is_empty() {
            return Err(self.nobody(None));
        }
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
