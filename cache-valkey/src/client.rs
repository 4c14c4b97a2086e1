//! The client: its timeouts, and how its calls reach the servers.
//!
//! Which commands make up an operation of the contract is in `client/contract.rs`.

mod builder;
mod contract;
mod each;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::CacheError;
use cache_core::config::{Address, ValkeyConfig};

pub use builder::Builder;

use crate::admin::Administration;
use crate::command::{Command, Effect};
use crate::deadline::Deadline;
use crate::error::accept;
use crate::reply::Reply;
use crate::retry::undecided;
use crate::router::Router;
use crate::script::Script;
use crate::tracking::Feed;

/// The largest value, in bytes: what a server takes by default (`proto-max-bulk-len`), 512 MiB.
pub const MAX_VALUE_LEN: usize = 512 * 1024 * 1024;

/// Keys of one command; a longer list becomes several commands of one pipeline, so that no single one
/// holds the server up.
const KEYS_PER_COMMAND: usize = 256;

/// A client of a Valkey server, cluster, or primary behind sentinels.
///
/// Callers share a few multiplexed connections per node and never queue for one, so one client serves a
/// whole process; make one and hand out `Arc`s.
///
/// # Deadlines
///
/// A call ends within [`read_timeout`](ValkeyConfig::read_timeout) where it reads and within
/// [`write_timeout`](ValkeyConfig::write_timeout) where it writes, retries included. While a server is
/// known to be down, its calls fail at once; those that were sent before keep their deadlines, because it may only
/// have paused.
///
/// # Memory
///
/// At most 4 MiB per connection are encoded and not yet written. Calls beyond that wait in order, with their values by
/// reference. Values of 64 KiB or more are never copied. A value that is read may share a buffer of up to 64 KiB with
/// others: copy a small one that you keep for long.
///
/// # Retries
///
/// Up to [`max_retries`](ValkeyConfig::max_retries) times, with jittered back-off, after a connection was
/// lost or a server said that it is not ready. `incr`, `incr_by` and conditional writes are not repeated
/// while it is unknown whether they were carried out.
///
/// # Tracking
///
/// [`invalidations`](cache_core::CacheClient::invalidations) reports changes of the keys that were read by
/// [`get_entry`](cache_core::CacheClient::get_entry) while somebody listened, as [`Builder::tracking`] says. Such reads
/// go to the primary, also where replicas answer others.
///
/// While all is well a change is heard as soon as its message arrives. A connection that dies without a sign is given
/// up ([`ConnectionLost`](cache_core::Invalidation::ConnectionLost)) within one second plus five times a third of the
/// shorter timeout (that third being 100 ms at least and 5 s at most): 6 s with the default timeouts. A failover, or
/// slots that move, are seen within about a second, four where the nodes are slow to agree, and within a minute where
/// the user may not ask for `CLUSTER INFO`. Servers do not report
/// `SWAPDB`.
///
/// # Examples
///
/// ```no_run
/// use cache_core::config::{Address, Topology, ValkeyConfig};
/// use cache_core::{CacheClient, Ttl};
/// use cache_valkey::ValkeyClient;
///
/// # async fn example() -> Result<(), cache_core::CacheError> {
/// // One address is enough: the cluster tells the others.
/// let seeds = vec![Address::new("cache.example.org", 6379)];
/// let client = ValkeyClient::connect(&ValkeyConfig::new(Topology::Cluster { seeds })).await?;
/// client.set("greeting", "hello".into(), Ttl::secs(60)).await?;
/// # Ok(())
/// # }
/// ```
pub struct ValkeyClient {
    router: Router,
    administration: Administration,
    feed: Arc<Feed>,
    read_timeout: Duration,
    write_timeout: Duration,
    closed: AtomicBool,
}

/// A command that newer servers have and older ones lack: the first version of Valkey that has it.
///
/// Older servers are not tried: their refusal of an unknown command repeats its arguments, which may be
/// any bytes, and a reply that is no text ends the connection.
#[derive(Clone, Copy)]
struct Since(u32, u32);

impl Since {
    /// `SET ... IFEQ`.
    const SET_IF_EQUAL: Self = Self(8, 1);
    /// `DELIFEQ`.
    const DELETE_IF_EQUAL: Self = Self(9, 0);
}

impl ValkeyClient {
    /// Connects as `config` says, and fails where the server cannot be reached.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] for certificates that cannot be read and for IAM authentication, which needs
    /// a [`CredentialsSource`](cache_core::credentials::CredentialsSource); [`CacheError::Unavailable`] and [`CacheError::Unauthorized`] for a server
    /// that cannot be used.
    pub async fn connect(config: &ValkeyConfig) -> Result<Self, CacheError> {
        Self::builder(config).connect().await
    }

    /// A client as `config` says, with more to choose.
    #[must_use]
    pub fn builder(config: &ValkeyConfig) -> Builder<'_> {
        Builder::new(config)
    }

    /// What administration needs: the topology, and each primary by itself, over connections of its own.
    #[must_use]
    pub fn administration(&self) -> Administration {
        self.administration.clone()
    }

    /// The primaries in use, as this client knows them at the moment; none is asked.
    #[must_use]
    pub fn primaries(&self) -> Vec<Address> {
        let primaries = self.router.primaries();
        primaries.iter().map(|node| node.address().clone()).collect()
    }

    fn reading(&self) -> Result<Deadline, CacheError> {
        self.open().map(|()| Deadline::after(self.read_timeout))
    }

    fn writing(&self) -> Result<Deadline, CacheError> {
        self.open().map(|()| Deadline::after(self.write_timeout))
    }

    fn open(&self) -> Result<(), CacheError> {
        if self.closed.load(Ordering::Acquire) {
            Err(CacheError::Closed)
        } else {
            Ok(())
        }
    }

    /// Sends one command; its refusal is the call's error.
    async fn call(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        accept(self.router.send(command, deadline).await?, command.name())
    }

    /// Sends commands; the first refusal is the call's error.
    async fn call_all(&self, commands: &[Command<'_>], deadline: Deadline) -> Result<Vec<Reply>, CacheError> {
        let all = async {
            let replies = self.router.send_batch(commands, deadline).await?;
            let replies = replies.into_iter().zip(commands);
            replies
                .map(|(reply, command)| accept(reply, command.name()))
                .collect()
        };
        // What one command failed with says nothing of what the others have written.
        let writes = commands.len() > 1 && commands.iter().any(|command| !command.reads());
        let result: Result<Vec<Reply>, CacheError> = all.await;
        result.map_err(|error| if writes { undecided(error) } else { error })
    }

    /// Runs a script by its digest, and by its text where the server does not know it yet.
    async fn run(
        &self,
        script: &'static Script,
        key: &str,
        arguments: &[&[u8]],
        effect: Effect,
        deadline: Deadline,
    ) -> Result<Reply, CacheError> {
        let command = |name, what| {
            let start = Command::new(name, effect).answered_by(script.answer());
            let start = start.arg(what).int(1).key(key.as_bytes());
            arguments
                .iter()
                .fold(start, |command, argument| command.arg(*argument))
        };
        let known = command("EVALSHA", script.digest());
        match self.router.send(&known, deadline).await? {
            Reply::Error(error) if error.code == "NOSCRIPT" => {
                self.call(&command("EVAL", script.text), deadline).await
            }
            reply => accept(reply, known.name()),
        }
    }

    /// Whether the server that serves `key` has the command.
    fn has(&self, command: Since, key: &str) -> bool {
        let Since(major, minor) = command;
        self.router
            .greeting(key.as_bytes())
            .is_some_and(|server| server.is_valkey_from(major, minor))
    }

    /// Whether the server that serves `key` has `GETDEL` and `GETEX`.
    fn has_getdel(&self, key: &str) -> bool {
        let greeting = self.router.greeting(key.as_bytes());
        greeting.is_some_and(|server| server.is_valkey_from(0, 0) || server.is_redis_from(6, 2))
    }

    /// Counts over `keys` of any slots by `name`: as few commands as the topology allows.
    async fn count(
        &self,
        name: &'static str,
        effect: Effect,
        keys: &[&str],
        deadline: Deadline,
    ) -> Result<u64, CacheError> {
        let group = if self.router.takes_keys_together() {
            KEYS_PER_COMMAND
        } else {
            1
        };
        let mut commands = keys.chunks(group).map(|keys| {
            keys.iter().fold(Command::new(name, effect), |command, key| {
                command.key(key.as_bytes())
            })
        });
        match (commands.next(), commands.next()) {
            (None, _) => Ok(0),
            (Some(only), None) => self.call(&only, deadline).await?.into_count(),
            (Some(first), Some(second)) => {
                let all: Vec<_> = [first, second].into_iter().chain(commands).collect();
                self.call_all(&all, deadline)
                    .await?
                    .into_iter()
                    .map(Reply::into_count)
                    .sum()
            }
        }
    }
}

impl Drop for ValkeyClient {
    fn drop(&mut self) {
        self.feed.close();
        // Administration may have outlived the client in somebody's hands; the connections go here.
        self.router.close();
        self.administration.close();
    }
}

impl fmt::Debug for ValkeyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValkeyClient")
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}
