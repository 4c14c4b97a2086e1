//! Connections for administration, pooled by `deadpool`.
//!
//! The pool is plain `deadpool` with our own manager, not its Redis variant. So the same dialer makes these
//! connections as all others, with fresh credentials, the same TLS and the same errors.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::CacheError;
use cache_core::clock::{self, Instant};
use cache_core::config::Address;
use deadpool::managed::{self, Metrics, Pool, PoolError, RecycleError, RecycleResult, Timeouts};

use super::{Identity, NodeView};
use crate::aging::{Pace, retirement};
use crate::command::Command;
use crate::deadline::Deadline;
use crate::dial::{Dialer, Mode};
use crate::identity::{Expected, WrongServer};
use crate::reply::Reply;
use crate::wire::{Connection, Events};

/// The most connections per node, which leaves the server to its callers.
const PER_NODE: usize = 4;

/// A connection that was used within this time is lent again without a check.
const FRESH: Duration = Duration::from_secs(1);

/// After another server answered at a node's address, how long to wait before trying again.
const WRONG_SERVER: Duration = Duration::from_secs(1);

/// A borrowed connection.
pub(super) type Loan = managed::Object<Manager>;

/// The address of a node, and the server that has to answer there.
type Place = (Address, Expected);

/// A pool for each node.
pub(super) struct Pools {
    dialer: Arc<Dialer>,
    /// `None` once closed.
    by_node: Mutex<Option<HashMap<Place, Pool<Manager>>>>,
}

impl Pools {
    pub(super) fn new(dialer: Arc<Dialer>) -> Self {
        Self {
            dialer,
            by_node: Mutex::new(Some(HashMap::new())),
        }
    }

    /// The database that the connections select.
    pub(super) fn database(&self) -> u32 {
        self.dialer.database()
    }

    /// A connection to the `expected` server at `address`. Dropping the loan returns it.
    pub(super) async fn get(&self, address: &Address, expected: &Expected) -> Result<Loan, CacheError> {
        let pool = self.pool(address, expected)?;
        // Boxed, because making a connection is rare and its future is large.
        Box::pin(pool.get()).await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Closed => CacheError::Closed,
            _ => CacheError::Timeout {
                stage: cache_core::Stage::Connect,
                after: self.dialer.limits().dial_timeout,
            },
        })
    }

    /// Closes the pools of nodes that are not among `nodes`.
    pub(super) fn keep_only(&self, nodes: &[NodeView]) {
        if let Some(pools) = &mut *self.pools() {
            pools.retain(|(address, expected), pool| {
                let stays = nodes
                    .iter()
                    .any(|node| node.address == *address && node.expected() == *expected);
                if !stays {
                    pool.close();
                }
                stays
            });
        }
    }

    pub(super) fn close(&self) {
        for pool in self.pools().take().into_iter().flat_map(HashMap::into_values) {
            pool.close();
        }
    }

    fn pools(&self) -> MutexGuard<'_, Option<HashMap<Place, Pool<Manager>>>> {
        self.by_node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self, address: &Address, expected: &Expected) -> Result<Pool<Manager>, CacheError> {
        let mut pools = self.pools();
        let pools = pools.as_mut().ok_or(CacheError::Closed)?;
        let place = (address.clone(), expected.clone());
        if let Some(pool) = pools.get(&place) {
            return Ok(pool.clone());
        }
        let limit = Some(self.dialer.limits().dial_timeout);
        let manager = Manager {
            dialer: Arc::clone(&self.dialer),
            address: address.clone(),
            expected: expected.clone(),
            pace: Mutex::default(),
            refused: Mutex::default(),
        };
        let pool = Pool::builder(manager)
            .max_size(PER_NODE)
            .timeouts(Timeouts {
                wait: limit,
                create: limit,
                recycle: limit,
            })
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| CacheError::Unsupported {
                detail: error.to_string().into(),
            })?;
        pools.insert(place, pool.clone());
        Ok(pool)
    }
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pools")
    }
}

/// Makes the connections of one pool.
pub(super) struct Manager {
    dialer: Arc<Dialer>,
    address: Address,
    expected: Expected,
    /// Limits how often an old connection is replaced.
    pace: Mutex<Pace>,
    /// The error after another server answered, and when.
    refused: Mutex<Option<(Instant, CacheError)>>,
}

/// A connection, and whether it has ended.
pub(super) struct Pooled {
    pub(super) connection: Connection,
    ended: Arc<Ended>,
    /// The ids of the cache that the server reported, and the cache for which they were accepted.
    pub(super) ids: BTreeSet<String>,
    pub(super) vouched_for: Option<Arc<Identity>>,
    /// When it has to be replaced: at its maximum age, well before its credentials expire, or at once after a reply
    /// showed that it leads to the wrong server.
    retire_at: Option<Instant>,
}

impl Pooled {
    /// Notes refusals that only a wrong server gives, or one that has lost its role.
    pub(super) fn note_refusals(&mut self, replies: &[Reply]) {
        let is_telling = |reply: &Reply| matches!(reply, Reply::Error(refusal) if refusal.code == "READONLY");
        if replies.iter().any(is_telling) {
            self.retire_at = Some(clock::now());
        }
    }
}

impl Manager {
    /// Replaces a connection that has reached its maximum age. Keeps the old one if that fails or the last try was a
    /// moment ago: an old connection is better than none.
    async fn replace_if_old(&self, pooled: &mut Pooled) {
        if pooled.retire_at.is_none_or(|at| clock::now() < at) || !self.pace().begin_if_ready() {
            return;
        }
        // Less than the recycle timeout, which would discard the old connection when it ends.
        let limit = self.dialer.limits().dial_timeout / 2;
        match tokio::time::timeout(limit, managed::Manager::create(self)).await {
            Ok(Ok(fresh)) => {
                *pooled = fresh;
                self.pace().succeeded();
            }
            failed => {
                self.pace().failed();
                let error = failed.ok().and_then(Result::err);
                tracing::debug!(node = %self.address, ?error, "no replacement for an old connection");
            }
        }
    }

    /// The error, if another server answered a moment ago: it would answer again.
    fn refusal(&self) -> Option<CacheError> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = refused.as_ref()?;
        (clock::now() < *at + WRONG_SERVER).then(|| error.clone())
    }

    fn note_refusal(&self, error: &CacheError) {
        if WrongServer::is_cause_of(error) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused = Some((clock::now(), error.clone()));
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl managed::Manager for Manager {
    type Type = Pooled;
    type Error = CacheError;

    async fn create(&self) -> Result<Pooled, CacheError> {
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        let ended = Arc::new(Ended::default());
        let events = Arc::clone(&ended);
        // Boxed: a dial carries a TLS handshake, and would make every future around it as large.
        let dialing = self
            .dialer
            .dial(&self.address, Mode::Auxiliary, &self.expected, events);
        let dialed = Box::pin(dialing)
            .await
            .inspect_err(|error| self.note_refusal(error))?;
        let limits = [
            self.dialer.limits().max_age,
            dialed.valid_for.map(|time| time.mul_f64(0.8)),
        ];
        Ok(Pooled {
            connection: dialed.connection,
            ended,
            ids: BTreeSet::new(),
            vouched_for: None,
            retire_at: retirement(limits.into_iter().flatten().min()),
        })
    }

    async fn recycle(&self, pooled: &mut Pooled, metrics: &Metrics) -> RecycleResult<CacheError> {
        if pooled.ended.0.load(Ordering::Relaxed) {
            return Err(RecycleError::message("the connection has ended"));
        }
        self.replace_if_old(pooled).await;
        // During steady work, one round trip per loan would take half of the time.
        if metrics.last_used() < FRESH {
            return Ok(());
        }
        match pooled
            .connection
            .send(
                &Command::read("PING"),
                Deadline::after(self.dialer.limits().dial_timeout),
            )
            .await
        {
            Ok(Reply::Error(_)) => Err(RecycleError::message("the server refused PING")),
            Ok(_) => Ok(()),
            Err(error) => Err(RecycleError::Backend(error)),
        }
    }
}

/// Ignores pushes, and remembers the end of the connection.
#[derive(Default)]
struct Ended(AtomicBool);

impl Events for Ended {
    fn on_push(&self, _kind: &str, _data: Vec<Reply>) {}

    fn on_closed(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
