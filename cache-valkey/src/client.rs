//! The Valkey client: its timeouts, and how its calls reach the servers.
//!
//! Not in here: the commands that make up each operation of the contract, see `client/contract.rs`.

mod builder;
mod contract;
mod each;
mod lookup;
mod part;
mod request;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_core::CacheError;
use cache_core::config::{Address, ValkeyConfig};

pub use builder::Builder;
pub use request::Request;

use crate::admin::Administration;
use crate::command::{Command, Effect};
use crate::deadline::Deadline;
use crate::error::accept;
use crate::refusals::Refusals;
use crate::reply::Reply;
use crate::router::Router;
use crate::script::Script;
use crate::stats::{ConnectionStats, Counts};
use crate::tracking::Feed;

/// The largest value, in bytes: the server's default limit (`proto-max-bulk-len`), 512 MiB.
pub const MAX_VALUE_LEN: usize = 512 * 1024 * 1024;

/// The most keys in one command. A longer list becomes several commands in one pipeline, so that no single
/// command blocks the server for long.
const KEYS_PER_COMMAND: usize = 256;

/// A client for a Valkey server, a cluster, or a primary behind sentinels.
///
/// Callers share a few multiplexed connections per node and never queue for one. One client serves a whole
/// process: create one and share it as an `Arc`.
///
/// # Deadlines
///
/// A read ends within [`read_timeout`](ValkeyConfig::read_timeout) and a write within
/// [`write_timeout`](ValkeyConfig::write_timeout), retries included. While a server is known to be down, new
/// calls to it fail at once. Calls that were already sent keep their deadlines, because the server may only
/// have paused.
///
/// # Memory
///
/// At most 4 MiB per connection are encoded and not yet written. Further calls wait in order and hold their
/// values by reference. Values of 64 KiB or more are never copied. A value that is read may share a buffer of
/// up to 64 KiB with other values: copy a small value that you keep for long.
///
/// # Retries
///
/// A call is retried up to [`max_retries`](ValkeyConfig::max_retries) times, with jittered back-off, after a
/// lost connection or a reply that the server is not ready. It is retried once more, at once, if its
/// connection turned out to be dead. `incr`, `incr_by` and conditional writes are not repeated while their
/// outcome is unknown. The lost part of a batch is repeated as a batch; later writes of a key stay later.
///
/// # Runtimes
///
/// A client is not tied to a runtime: connect on one and call on others. Connections are served by tasks on
/// the runtime that opened them. If that runtime ends, its connections are lost. The next call then opens new
/// ones on its own runtime and restarts the background work there (reconnecting, following failovers,
/// renewing credentials). If the node that it knows is gone, that call first waits for a topology refresh.
///
/// The same holds for a runtime that is suspended for more than a second, for example in a process that is
/// frozen between requests. The next call sends a `PING` over each connection before it uses them, and dead
/// connections are replaced. The call waits for that at most one second. A call on another runtime whose
/// connection is suspended is repeated after about 1.3 s, or ends at its deadline.
///
/// # Load on servers
///
/// - The cluster topology is refreshed every 30 to 60 s, and when a call meets a sign of change. However many
///   calls fail, there are at most eight refreshes in a row and then one per 1.25 s. While a primary stays
///   down, refreshes start after 0.2 s and then halve in rate, down to one per 10 to 20 s. In between, one
///   node at a time is asked for the cluster's epoch, at most five times per second at first and once per
///   second later, so that a failover is noticed as it happens. A missed deadline is not a sign of change.
///   Sentinels are asked at the same rate.
/// - Connections that a load peak opened are closed after a minute without calls ([`Builder::idle_timeout`]),
///   down to one per node.
/// - A replica that answers `LOADING`, `MASTERDOWN`, `BUSY` or `CLUSTERDOWN` gets no reads for two seconds,
///   and for as long as it answers `PING` that way. With
///   [`ReadFrom::Replica`](cache_core::config::ReadFrom::Replica) it is still used if there is no other
///   replica.
///
/// # Identity
///
/// An address only says where a server is reached today. Each new connection is checked before it is used:
/// the kind of server must match the configured topology (otherwise [`CacheError::Config`]), and in a cluster
/// the node's id must match the id that the cluster gave for the address. A view of a cluster that shares
/// less than half of its nodes with the known one is never accepted, and configured addresses of several
/// clusters are an error that names them. After a write refused with `READONLY`, or a redirection to the
/// address that was just used, the client resolves the address again and opens another connection, at most
/// once per second. If a server does not identify itself, that is not an error. `docs/identity.md` describes
/// all cases.
///
/// # Refusals
///
/// A command that the user may not run is [`CacheError::Denied`]. The first refusal of each command and its
/// end are logged, once per change. [`ping`](cache_core::CacheClient::ping) fails with the refusal until a
/// later call of that command is accepted, so that a health check sees an unusable cache.
///
/// # Tracking
///
/// [`invalidations`](cache_core::CacheClient::invalidations) reports changes of the keys that were read by
/// [`get_entry`](cache_core::CacheClient::get_entry) while there was a listener, as [`Builder::tracking`]
/// says. Such reads go to the primary, even if replicas serve other reads.
///
/// A change is reported as soon as its message arrives. A silently dead connection is given up
/// ([`ConnectionLost`](cache_core::Invalidation::ConnectionLost)) within one second plus five times a third
/// of the shorter timeout (that third is between 100 ms and 5 s): 6 s with the default timeouts. A failover
/// or a moved slot is noticed within about a second, within four if the nodes are slow to agree, and within a
/// minute if the user may not run `CLUSTER INFO`. Servers do not report `SWAPDB`. If the process was frozen for more than a
/// second, what was read before is not served from a near cache until its connection has answered, and is given up if that
/// takes more than half a second.
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
/// let client = ValkeyClient::connect(&ValkeyConfig::new(Topology::cluster(seeds))).await?;
/// client.set("greeting", "hello".into(), Ttl::secs(60)).await?;
/// # Ok(())
/// # }
/// ```
pub struct ValkeyClient {
    router: Router,
    administration: Administration,
    feed: Arc<Feed>,
    counts: Arc<Counts>,
    refusals: Refusals,
    read_timeout: Duration,
    write_timeout: Duration,
    closed: AtomicBool,
}

/// The first version of Valkey that has a command.
///
/// Older servers are not sent the command: their refusal of an unknown command repeats its arguments, which
/// may be any bytes, and a reply that is not text ends the connection.
#[derive(Clone, Copy)]
struct AddedIn(u32, u32);

impl AddedIn {
    /// `SET ... IFEQ`.
    const SET_IF_EQUAL: Self = Self(8, 1);
    /// `DELIFEQ`.
    const DELETE_IF_EQUAL: Self = Self(9, 0);
}

impl ValkeyClient {
    /// Connects as `config` says. Fails if the server cannot be reached.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] for an invalid configuration ([`ValkeyConfig::validate`]), for certificates
    /// that cannot be read, and for IAM authentication, which needs a
    /// [`CredentialsSource`](cache_core::credentials::CredentialsSource); [`CacheError::Unavailable`] and
    /// [`CacheError::Unauthorized`] for a server that cannot be used.
    pub async fn connect(config: &ValkeyConfig) -> Result<Self, CacheError> {
        Self::builder(config).connect().await
    }

    /// Starts a [`Builder`], which has options beyond `config`.
    #[must_use]
    pub fn builder(config: &ValkeyConfig) -> Builder<'_> {
        Builder::new(config)
    }

    /// The administration API: the topology, and each primary separately, over connections of its own.
    #[must_use]
    pub fn administration(&self) -> Administration {
        self.administration.clone()
    }

    /// Builds a command that the contract does not have, such as `HGETALL`.
    ///
    /// It is sent over the client's own connections to the node that serves its keys, with the same retries,
    /// redirections and deadline as any other call. See [`Request`] for keys, deadline and replies.
    ///
    /// `effect` says what the command does. It decides whether the command may be repeated and which nodes
    /// may answer, so choose it with care.
    ///
    /// The layers do not apply to it: no key prefix (`cache_stack::Stack::key_prefix` gives the prefix to
    /// add), no encryption, no circuit breaker, no metrics. A near cache learns of changes made this way as
    /// it does of any other client's.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use cache_valkey::{Effect, ValkeyClient};
    ///
    /// # async fn example(client: &ValkeyClient) -> Result<(), cache_core::CacheError> {
    /// client
    ///     .command("HSET", Effect::Write)
    ///     .key("user:7")
    ///     .arg("name")
    ///     .arg("Ada")
    ///     .send()
    ///     .await?;
    /// let fields = client.command("HGETALL", Effect::Read).key("user:7").send().await?;
    /// for (field, value) in fields.into_map()? {
    ///     println!("{:?} has {} bytes", field.as_text(), value.into_value()?.map_or(0, |value| value.len()));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "nothing is sent before `send`"]
    pub fn command<'a>(&'a self, name: &'a str, effect: Effect) -> Request<'a> {
        Request::command(self, name, effect)
    }

    /// Builds a call of a Lua script, which a server runs as one step. Pass every key that it uses as a key.
    ///
    /// Everything else is as for [`command`](Self::command). The script is sent by its digest, and with its
    /// text if the server does not know it yet. The server runs nothing else until the script ends: keep it
    /// short.
    ///
    /// A number returned by a script loses its fraction and is exact only up to 2^53: return text for larger
    /// numbers. A script that fails half way is not rolled back.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use cache_valkey::{Effect, Script, ValkeyClient};
    ///
    /// static TAKE_ONE: Script = Script::new(
    ///     "if tonumber(redis.call('GET', KEYS[1]) or '0') < 1 then return 0 end
    ///      redis.call('DECR', KEYS[1])
    ///      return 1",
    /// );
    ///
    /// # async fn example(client: &ValkeyClient) -> Result<(), cache_core::CacheError> {
    /// let reply = client.script(&TAKE_ONE, Effect::WriteOnce).key("seats:7").send().await?;
    /// let taken = reply.into_int()? == 1;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "nothing is sent before `send`"]
    pub fn script<'a>(&'a self, script: &'a Script, effect: Effect) -> Request<'a> {
        Request::script(self, script, effect)
    }

    /// The primaries in use, as this client knows them now. No I/O.
    #[must_use]
    pub fn primaries(&self) -> Vec<Address> {
        let primaries = self.router.primaries();
        primaries.iter().map(|node| node.address().clone()).collect()
    }

    /// Statistics of the client's connections. No I/O.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.counts
            .with(self.router.nodes().iter().map(|node| node.stats()))
    }

    fn read_deadline(&self) -> Result<Deadline, CacheError> {
        self.check_open().map(|()| Deadline::after(self.read_timeout))
    }

    fn write_deadline(&self) -> Result<Deadline, CacheError> {
        self.check_open().map(|()| Deadline::after(self.write_timeout))
    }

    fn check_open(&self) -> Result<(), CacheError> {
        if self.closed.load(Ordering::Acquire) {
            Err(CacheError::Closed)
        } else {
            Ok(())
        }
    }

    /// Sends one command. A refusal becomes the call's error.
    async fn call(&self, command: &Command<'_>, deadline: Deadline) -> Result<Reply, CacheError> {
        let reply = accept(self.router.send(command, deadline).await?, command.name());
        self.refusals.note(command.name(), &reply);
        reply
    }

    /// Sends commands. The first refusal becomes the call's error.
    async fn call_all(&self, commands: &[Command<'_>], deadline: Deadline) -> Result<Vec<Reply>, CacheError> {
        let all = async {
            let replies = self.router.send_batch(commands, deadline).await?;
            let replies = replies.into_iter().zip(commands);
            replies
                .map(|(reply, command)| {
                    let reply = accept(reply, command.name());
                    self.refusals.note(command.name(), &reply);
                    reply
                })
                .collect()
        };
        // One command's failure does not tell whether the others were applied.
        let writes = commands.len() > 1 && commands.iter().any(|command| !command.reads());
        let result: Result<Vec<Reply>, CacheError> = all.await;
        result.map_err(|error| {
            if writes {
                error.with_unknown_outcome()
            } else {
                error
            }
        })
    }

    /// Runs a script by its digest, or by its text if the server does not know it yet.
    async fn run(
        &self,
        script: &Script,
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
                self.call(&command("EVAL", script.text()), deadline).await
            }
            reply => {
                let reply = accept(reply, known.name());
                self.refusals.note(known.name(), &reply);
                reply
            }
        }
    }

    /// Whether the server that serves `key` has the command.
    fn supports(&self, command: AddedIn, key: &str) -> bool {
        let AddedIn(major, minor) = command;
        self.router
            .server_hello(key.as_bytes())
            .is_some_and(|server| server.is_valkey_from(major, minor))
    }

    /// Whether the server that serves `key` has `GETDEL` and `GETEX`.
    fn has_getdel(&self, key: &str) -> bool {
        let server_hello = self.router.server_hello(key.as_bytes());
        server_hello.is_some_and(|server| server.is_valkey_from(0, 0) || server.is_redis_from(6, 2))
    }

    /// Runs the counting command `name` over `keys` in any slots, with as few commands as the topology
    /// allows.
    async fn count(
        &self,
        name: &str,
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
        // The caller may still hold an `Administration`, so its connections are closed here.
        self.router.close();
        self.administration.close();
    }
}

impl fmt::Debug for ValkeyClient {
    /// One short line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let primaries = self.router.primaries();
        f.write_str("ValkeyClient(")?;
        match (&self.router, primaries.as_slice()) {
            (Router::Cluster(_), [_]) => f.write_str("cluster, 1 primary")?,
            (Router::Cluster(_), primaries) => write!(f, "cluster, {} primaries", primaries.len())?,
            (Router::Single(_), []) => f.write_str("no primary known")?,
            // Truncated, because a host name may be long.
            (Router::Single(_), [primary, ..]) => write!(f, "{:.80}", primary.address().to_string())?,
        }
        f.write_str(")")
    }
}
