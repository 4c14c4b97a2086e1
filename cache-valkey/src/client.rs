//! The client: its timeouts, and how its calls reach the servers.
//!
//! Which commands make up an operation of the contract is in `client/contract.rs`.

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
/// lost or a server said that it is not ready, and once more, at once, if the connection of the call turned out dead.
/// `incr`, `incr_by` and conditional writes are not repeated while it is unknown whether they were carried out. What is lost
/// of a batch is repeated as a batch; later writes of a key stay later.
///
/// # Runtimes
///
/// A client belongs to no runtime: connect on one, call on others. Connections are served by tasks of the runtime on which
/// they were opened. If that runtime ends, they are lost, the next call opens new ones where it runs, and what the client
/// does in the background (reconnecting, following failovers, renewing credentials) goes on there. The first such call
/// waits for a look at the topology if the node that it knows is gone.
///
/// The same holds for a runtime that does not run for more than a second: one that runs only during calls, as in a
/// process that is frozen between requests, or one that is kept while calls are made on others. The next call has the
/// connections asked (`PING`) before it uses them, one round trip, and dead ones replaced; it waits for that at most a
/// second, counted from the call. A call that is under way on another runtime when the one of its connection stops is
/// repeated after about 1.3 s, or ends by its deadline.
///
/// # Load on servers
///
/// - The topology of a cluster is asked for every 30 to 60 s, and when a call meets a sign of change. However many calls
///   fail, that is at most eight times in a row and then once per 1.25 s; while a primary stays dead, after 0.2 s and then
///   half as often each time, down to once per 10 to 20 s. In between, one node at a time is asked for the cluster's epoch, at
///   most five times per second at first and once per second later, so that a failover is followed as it happens. A
///   deadline that passes is no sign of change. Sentinels are asked likewise.
/// - Connections that more load has opened are closed after a minute without calls
///   ([`Builder::idle_timeout`]), down to one per node.
/// - A replica that answers `LOADING`, `MASTERDOWN`, `BUSY` or `CLUSTERDOWN` is left out of reads for two seconds, and for as
///   long as it answers a `PING` so. With [`ReadFrom::Replica`](cache_core::config::ReadFrom::Replica) it is asked if there is no other.
///
/// # Identity
///
/// An address is only where a server is reached today. Each new connection is checked before a call is sent over it: the
/// kind of server against the configured topology (a contradiction is [`CacheError::Config`]), and in a cluster the id of the
/// node against the one that the cluster gave for the address. A view of a cluster that shares less than half of its nodes
/// with the known one is never believed, and configured addresses of several clusters are an error that names them. After a
/// write that was refused with `READONLY`, or a redirection to the address that was just asked, the address is looked up
/// again and another connection is opened, at most once per second. What servers do not say is no contradiction. The page
/// `docs/identity.md` has all cases.
///
/// # Refusals
///
/// A command that the user may not run is [`CacheError::Denied`]. The first refusal of each command and its end are
/// logged, once per change, and [`ping`](cache_core::CacheClient::ping) fails with the refusal until a later call of that
/// command is accepted: a health check sees that this cache is of no use.
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
/// `SWAPDB`. If the client did not run for more than a second (see above), what was read before is not served from a near
/// cache until its connection has answered, and is given up if that does not answer within half a second.
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
    /// [`CacheError::Config`] for a configuration that does not hold ([`ValkeyConfig::validate`], whoever made it), for
    /// certificates that cannot be read, and for IAM authentication, which needs
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

    /// A command that the contract does not have, such as `HGETALL`: the way out of the contract.
    ///
    /// It goes over the client's own connections, to the node that its keys belong to, with the same retries,
    /// redirections and deadline as any other call. See [`Request`] for keys, deadline and replies.
    ///
    /// `effect` says what the command does, and so whether it may be repeated and where it may go: say it with care.
    ///
    /// Nothing of the layers applies, because this is below them: no key prefix (`cache_stack::Stack::key_prefix` says
    /// what to put before keys), no encryption, no circuit breaker, no metrics. A near cache hears of changes made this way as
    /// of any other client's.
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

    /// A Lua script, which a server runs as one step. All its keys have to be stated, as keys.
    ///
    /// Everything else is as for [`command`](Self::command). The script is sent by its digest, and with its text to a server that
    /// does not know it yet. A server runs nothing else meanwhile: keep it short.
    ///
    /// A number that a script returns loses its fraction, and is exact up to 2^53 only: return text for larger ones.
    /// A script that fails half way has done the half before.
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

    /// The primaries in use, as this client knows them at the moment; none is asked.
    #[must_use]
    pub fn primaries(&self) -> Vec<Address> {
        let primaries = self.router.primaries();
        primaries.iter().map(|node| node.address().clone()).collect()
    }

    /// What it knows about its connections at the moment. No I/O.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.counts
            .with(self.router.nodes().iter().map(|node| node.stats()))
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
        let reply = accept(self.router.send(command, deadline).await?, command.name());
        self.refusals.note(command.name(), &reply);
        reply
    }

    /// Sends commands; the first refusal is the call's error.
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
        // What one command failed with says nothing of what the others have written.
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

    /// Runs a script by its digest, and by its text where the server does not know it yet.
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
        // Administration may have outlived the client in somebody's hands; the connections go here.
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
            // A name may be long, and this is one short line.
            (Router::Single(_), [primary, ..]) => write!(f, "{:.80}", primary.address().to_string())?,
        }
        f.write_str(")")
    }
}
