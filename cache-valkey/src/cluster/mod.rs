//! Routes commands to the cluster node that serves their slot, across failovers and slot migrations.
//!
//! [`Cluster`] is the part with sockets: `route.rs` picks the node of a call, `recover.rs` retries a failed
//! call, `batch.rs` splits many commands (`resend.rs` repeats what was lost), `refresh.rs` is the background
//! task that triggers discoveries, `discovery.rs` asks the nodes. The pure parts decide: `table.rs` maps
//! slots to shards, `state.rs` applies redirections and discoveries, `retry.rs` decides what a call does
//! after a failure, `report.rs` reads what nodes say about their cluster, `known_cluster.rs` decides which
//! view to accept, `epoch.rs` and `schedule.rs` (one level up) decide when to ask.
//!
//! Not in here: connections and whether a node is down, see `node.rs`; operations, see the client.

mod batch;
mod discovery;
mod each;
mod epoch;
mod known_cluster;
mod members;
mod recover;
mod refresh;
mod report;
mod resend;
mod retry;
mod route;
#[cfg(test)]
mod simulation;
mod state;
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
use crate::refresher::{Hint, Refresher};
use crate::reply::Reply;
use crate::startup::tolerate;
use crate::stats::Counts;
use crate::tracking::Feed;
use known_cluster::KnownCluster;
use members::Members;
use retry::Failure;
use state::State;
use table::Table;

/// How long a call waits for the discovery that follows a redirection to an unknown node.
const DISCOVERY_WAIT: Duration = Duration::from_millis(500);

/// A cluster.
pub(crate) struct Cluster {
    /// The routing table: a copy of the state's, readable without a lock.
    table: ArcSwap<Table<Arc<Node>>>,
    state: Mutex<State<Arc<Node>>>,
    /// The identity of this cluster.
    known_cluster: Mutex<KnownCluster>,
    /// Until when the result that all seeds lead to this cluster is valid.
    seeds_asked_until: Mutex<Option<Instant>>,
    /// When the seeds were last asked because no known node answered.
    seeds_asked_at: Mutex<Option<Instant>>,
    dialer: Arc<Dialer>,
    seeds: Vec<Address>,
    read_from: ReadFrom,
    max_retries: u32,
    dial_timeout: Duration,
    /// How long a node is kept after it left: the longest time that a call may be in flight.
    grace: Duration,
    /// The refresh task, shared so that it can wait without keeping the cluster alive.
    refresher: Arc<Refresher>,
    /// This cluster, for the refresh task.
    me: Weak<Self>,
    /// Held during a discovery, so that an older answer is never applied after a newer one.
    discovering: tokio::sync::Mutex<()>,
    /// The error of the last discovery.
    failure: Mutex<Option<CacheError>>,
    closed: AtomicBool,
    feed: Arc<Feed>,
    counts: Arc<Counts>,
}

impl Cluster {
    /// Discovers the cluster from `seeds`, of which one must answer, and connects to every primary.
    ///
    /// Fails if no seed answers or no primary can be reached, unless `startup` tolerates that.
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
                // Until the table names it as a primary.
                node.set_counts_for_tracking(false);
                node
            }
        };
        let expect = |node: &Arc<Node>, expected: &Expected| node.expect(expected.clone());
        let members = Members::new(make, expect);
        let state = State::new(members, config.read_from != ReadFrom::Primary);
        let cluster = Arc::new_cyclic(|me| Self {
            table: ArcSwap::new(Arc::clone(state.table())),
            state: Mutex::new(state),
            known_cluster: Mutex::default(),
            seeds_asked_until: Mutex::default(),
            seeds_asked_at: Mutex::default(),
            dialer,
            seeds,
            read_from: config.read_from,
            max_retries: config.max_retries,
            dial_timeout: config.dial_timeout,
            grace: config.read_timeout.max(config.write_timeout) + Duration::from_secs(1),
            refresher: Refresher::new(),
            me: Weak::clone(me),
            discovering: tokio::sync::Mutex::default(),
            failure: Mutex::default(),
            closed: AtomicBool::new(false),
            feed,
            counts,
        });
        let started = match cluster.discover().await {
            Ok(()) => cluster.connect_primaries().await,
            Err(error) => Err(error),
        };
        tolerate(startup, started)?;
        cluster.ensure_refreshing(clock::now());
        Ok(cluster)
    }

    /// Starts the refresh task unless it runs, for example after the end of its runtime.
    pub(crate) fn ensure_refreshing(&self, now: Instant) {
        let start =
            |run| refresh::refresh_until_closed(Weak::clone(&self.me), Arc::clone(&self.refresher), run);
        if !self.is_closed() {
            self.refresher.ensure(start, now);
        }
    }

    /// Sends one command to the node that serves its key. Follows redirections and retries nodes that are not
    /// ready; other refusals are the reply. `first` is the outcome of the first attempt, if there was one.
    pub(crate) async fn send(
        &self,
        command: &Command<'_>,
        deadline: Deadline,
        first: Option<(Arc<Node>, Result<Reply, CacheError>)>,
    ) -> Result<Reply, CacheError> {
        self.ensure_refreshing(deadline.started_at());
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

    /// Pings every primary that serves slots. Fails if one does not answer.
    pub(crate) async fn ping(&self, deadline: Deadline) -> Result<(), CacheError> {
        self.ensure_refreshing(deadline.started_at());
        let primaries = self.primaries();
        if primaries.is_empty() {
            return Err(self.no_node_for(None));
        }
        let ping = Command::read("PING");
        let pings = primaries.iter().map(|node| async {
            let replies = node.ask(&[&ping], deadline).await;
            let replies =
                replies.inspect_err(|error| self.note_failure(&Failure::of_failure(error), node))?;
            let accepted = replies
                .into_iter()
                .try_for_each(|reply| accept(reply, ping.name()).map(drop));
            accepted.inspect_err(|_| self.refresher.hint(Hint::Outage))
        });
        try_join_all(pings).await.map(drop)
    }

    /// Discovers the topology at once, without the rate limit that applies to hints. Fails if a configured
    /// address leads to another cluster.
    pub(crate) async fn refresh_thoroughly(&self, deadline: Deadline) -> Result<(), CacheError> {
        if self.is_closed() {
            return Err(CacheError::Closed);
        }
        deadline
            .limit(cache_core::Stage::Call, self.discover_and_check_seeds())
            .await
    }

    /// The primaries that serve slots.
    pub(crate) fn primaries(&self) -> Vec<Arc<Node>> {
        let table = self.table.load();
        let serving = table.serving();
        serving.map(|shard| Arc::clone(shard.primary())).collect()
    }

    /// All known nodes.
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
        self.refresher.stop();
    }

    /// Records a failure at `node`, which may hint at a topology change.
    fn note_failure(&self, failure: &Failure, node: &Node) {
        if matches!(failure, Failure::MovedHere) {
            // The rest of the cluster means another server at this address.
            node.suspect();
        }
        let mut hint = failure.hint();
        if let Failure::Moved { slot, to: Some(to) } = failure {
            let is_news = {
                let mut state = self.state();
                !self.is_closed() && state.moved(*slot, to, clock::now())
            };
            if is_news {
                self.apply_state();
            } else {
                hint = None;
            }
        }
        if let Some(hint) = hint {
            self.refresher.hint(hint);
        }
    }

    /// Publishes the state's routing table.
    ///
    /// If slots have another owner in it, entries read from them are revoked twice: before anything can be
    /// read from the new owner, so that no older value is found in a near cache after that, and again once
    /// nothing is read from the old owner, for reads in between. No lock is held, because a listener may hold
    /// the last reference to this client.
    fn apply_state(&self) {
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
            node.set_counts_for_tracking(primaries.iter().any(|primary| Arc::ptr_eq(primary, node)));
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
            return Err(self.no_node_for(None));
        }
        let deadline = Deadline::after(self.dial_timeout + Duration::from_secs(1));
        let results = join_all(primaries.iter().map(|node| node.connect(deadline))).await;
        let one_is_there = results.iter().any(Result::is_ok);
        // A primary that is down may be failing over, but a permanent error needs a correction.
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
