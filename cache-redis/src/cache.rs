//! The client, and its constructors over the connections that a service has.

use std::fmt;
use std::time::Duration;

use cache_core::CacheError;
use redis::aio::MultiplexedConnection;

use crate::calls::Calls;
use crate::connection::{Single, Source};

/// The default deadline of a call.
const DEADLINE: Duration = Duration::from_secs(3);

/// The longest deadline.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// A cache over a connection or pool that the service created. See the [crate](crate) for its guarantees.
///
/// Create one and share it as `Arc<dyn CacheClient>`. All calls share the connection with the service's other
/// commands.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cache_core::{CacheClient, Ttl};
/// use cache_redis::RedisCache;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = redis::Client::open("redis://127.0.0.1:6379")?;
/// let connection = client.get_multiplexed_async_connection().await?;
///
/// let cache = RedisCache::from_connection(connection.clone()).with_deadline(Duration::from_millis(250))?;
/// let cache: Arc<dyn CacheClient> = Arc::new(cache);
/// cache.set("greeting", "hello".into(), Ttl::secs(60)).await?;
/// # Ok(())
/// # }
/// ```
pub struct RedisCache {
    pub(crate) calls: Calls,
}

impl RedisCache {
    /// A cache over a connection to one server. A lost connection is not reopened: every later call is
    /// [`Unavailable`](CacheError::Unavailable). A long-running service should use a connection manager.
    #[must_use]
    pub fn from_connection(connection: MultiplexedConnection) -> Self {
        Self::over(Single::new(connection, "connection"))
    }

    /// A cache over a connection manager, which reconnects by itself after its connection is lost. The call
    /// that is under way then fails.
    #[cfg(feature = "connection-manager")]
    #[must_use]
    pub fn from_manager(manager: redis::aio::ConnectionManager) -> Self {
        Self::over(Single::new(manager, "connection manager"))
    }

    /// A cache over a connection to a cluster. Calls with keys in many slots are split here.
    ///
    /// A `ClusterConnection` sends a request again after a lost connection, up to the `retries` of its
    /// builder (16 unless set), writes included: an increment may be applied twice, and a conditional write
    /// that was applied may report that it was not. If that matters, build the client with
    /// [`retries(0)`](redis::cluster::ClusterClientBuilder::retries); redirections are then followed here,
    /// and nothing else is repeated. The outcome of a failed write is unknown either way.
    #[cfg(feature = "cluster")]
    #[must_use]
    pub fn from_cluster(connection: redis::cluster_async::ClusterConnection) -> Self {
        Self::over(crate::connection::OnCluster(connection))
    }

    /// A cache over a pool of connections to one server. Each call checks one connection out, which costs a
    /// round trip (the pool pings it). Set the pool's `wait` timeout, or keep the deadline of this client;
    /// otherwise a call waits for a connection as long as other callers hold them.
    #[cfg(feature = "deadpool")]
    #[must_use]
    pub fn from_pool(pool: deadpool_redis::Pool) -> Self {
        Self::over(crate::connection::SinglePool(pool))
    }

    /// A cache over a pool of cluster connections: as [`from_pool`](Self::from_pool) and
    /// [`from_cluster`](Self::from_cluster).
    #[cfg(all(feature = "cluster", feature = "deadpool"))]
    #[must_use]
    pub fn from_cluster_pool(pool: deadpool_redis::cluster::Pool) -> Self {
        Self::over(crate::connection::ClusterPool(pool))
    }

    /// How long a call may take in total. Default: 3 s.
    ///
    /// The timeouts of the connection and of the pool apply too: the shortest one ends the call.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for zero, and for more than a day.
    pub fn with_deadline(mut self, deadline: Duration) -> Result<Self, CacheError> {
        if deadline.is_zero() || deadline > LONGEST_DEADLINE {
            return Err(CacheError::InvalidInput {
                argument: "deadline",
                reason: "must be longer than zero and at most 24 hours".into(),
            });
        }
        self.calls.deadline = Some(deadline);
        Ok(self)
    }

    /// Leaves only the timeouts of the connection and of the pool. Without any of those, a call may wait
    /// forever.
    #[must_use]
    pub fn without_deadline(mut self) -> Self {
        self.calls.deadline = None;
        self
    }

    fn over(source: impl Source) -> Self {
        Self {
            calls: Calls::new(source, Some(DEADLINE)),
        }
    }
}

impl fmt::Debug for RedisCache {
    /// One short line, without an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = if self.calls.is_closed() { ", closed" } else { "" };
        write!(f, "RedisCache({}{closed})", self.calls.name())
    }
}
