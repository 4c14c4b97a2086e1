//! Makes connections: name, TCP, TLS, handshake; each step with its own clear error.
//!
//! Names are resolved anew for every connection, and every address of a name is tried, so that a
//! configuration endpoint with several addresses works while some of them are gone. When to connect, and
//! how often to try, is the node's business.

mod greeting;
mod login;
mod place;
pub(crate) mod recognition;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cache_core::clock::{self, Instant};
use cache_core::config::{Address, TlsConfig, Topology, ValkeyConfig};
use cache_core::credentials::{Credentials, CredentialsSource};
use cache_core::{CacheError, ConfigError, Outcome, Unavailability};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

pub(crate) use greeting::Greeting;
pub(crate) use login::Login;
pub(crate) use place::Announced;
use place::{Place, Places};

use crate::command::Command;
use crate::deadline::Deadline;
use crate::error::{accept, from_login};
use crate::identity::{Expected, Ids, ServerKind};
use crate::reply::Reply;
use crate::resolve::Resolve;
use crate::stats::Counts;
use crate::tls::{self, Tls};
use crate::tracking::{Agreement, Feed, Tracking};
use crate::wire::{Connection, Events, Greeted, Handshake, HandshakeError, Protocol, Stream, Wire};

/// How long a connection beyond a node's first one may be unused before it is closed, unless the builder says otherwise.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// Makes connections as a [`ValkeyConfig`] says.
pub(crate) struct Dialer {
    tls: Option<Tls>,
    places: Places,
    credentials: Arc<dyn CredentialsSource>,
    resolve: Arc<dyn Resolve>,
    db: u32,
    client_name: Option<String>,
    limits: Limits,
    feed: Arc<Feed>,
    wire: Wire,
    /// What has to answer.
    kind: ServerKind,
    /// The nodes of the cluster that is believed in; none outside of a cluster, and before the first view of it.
    known: ArcSwap<Ids>,
    counts: Arc<Counts>,
}

/// How one kind of servers is reached: data nodes, or sentinels.
pub(crate) struct Access<'a> {
    pub(crate) tls: Option<&'a TlsConfig>,
    /// The database to select.
    pub(crate) db: u32,
    pub(crate) credentials: Arc<dyn CredentialsSource>,
    /// Where it is noted which addresses servers announce.
    pub(crate) announced: Arc<Announced>,
}

/// How much, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections per node.
    pub(crate) connections: usize,
    /// For making one.
    pub(crate) dial_timeout: Duration,
    /// How long a connection with requests in flight may be silent before it is looked into.
    pub(crate) silence: Duration,
    /// How long requests may be in flight without any being answered before the connection is given up:
    /// as long as the most patient call waits.
    pub(crate) fruitless: Duration,
    /// The age at which a connection is replaced.
    pub(crate) max_age: Option<Duration>,
    /// How long a connection beyond the first may be unused before it is closed.
    pub(crate) idle: Duration,
}

/// A connection that is ready for use.
pub(crate) struct Dialed {
    pub(crate) connection: Connection,
    pub(crate) greeting: Greeting,
    /// Whether the server can send what it was not asked for.
    pub(crate) has_pushes: bool,
    /// When it must authenticate again.
    pub(crate) valid_for: Option<Duration>,
    /// Whether changes of what is read over it are reported.
    pub(crate) tracking: Agreement,
}

/// What to tell the server besides who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads and writes, and hears of changes as the feed asks for.
    Primary,
    /// Reads only, also of slots that a cluster's replica only copies.
    Replica,
    /// Work that is not a caller's: administration, sentinels.
    Aside,
}

impl Dialer {
    /// The database that its connections select.
    pub(crate) const fn database(&self) -> u32 {
        self.db
    }

    /// A dialer to servers of `config` that are reached by `access`.
    pub(crate) fn new(
        config: &ValkeyConfig,
        access: Access<'_>,
        resolve: Arc<dyn Resolve>,
        feed: Arc<Feed>,
        wire: Wire,
    ) -> Result<Self, CacheError> {
        let silence = (config.read_timeout.min(config.write_timeout) / 3).clamp(SILENCE.0, SILENCE.1);
        Ok(Self {
            tls: access.tls.map(Tls::new).transpose()?,
            places: Places {
                map: config.address_map.clone(),
                configured: config.topology.addresses().to_vec(),
                announced: access.announced,
            },
            credentials: access.credentials,
            resolve,
            db: access.db,
            client_name: config.client_name.clone(),
            limits: Limits {
                connections: usize::try_from(config.pool_size).unwrap_or(usize::MAX).max(1),
                dial_timeout: config.dial_timeout,
                silence,
                fruitless: config.read_timeout.max(config.write_timeout),
                max_age: config.max_connection_age,
                idle: IDLE,
            },
            feed,
            wire,
            kind: match config.topology {
                Topology::Cluster { .. } => ServerKind::Cluster,
                _ => ServerKind::Single,
            },
            known: ArcSwap::default(),
            counts: Arc::default(),
        })
    }

    /// The same, to the sentinels of the configuration.
    pub(crate) fn for_sentinels(mut self) -> Self {
        self.kind = ServerKind::Sentinel;
        self
    }

    /// The kind of server that has to answer.
    pub(crate) const fn kind(&self) -> ServerKind {
        self.kind
    }

    /// The nodes of the cluster that is believed in.
    pub(crate) fn known_nodes(&self) -> Arc<Ids> {
        self.known.load_full()
    }

    /// From now on the cluster has these nodes.
    pub(crate) fn set_known_nodes(&self, nodes: Ids) {
        self.known.store(Arc::new(nodes));
    }

    /// Closes connections beyond a node's first one after they were unused for so long.
    pub(crate) const fn close_idle_after(mut self, idle: Duration) -> Self {
        self.limits.idle = idle;
        self
    }

    /// What is counted of the connections that it makes for nodes.
    pub(crate) const fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// Where what connections to primaries report is heard.
    pub(crate) const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Notes who announces which addresses.
    pub(crate) fn announced(&self) -> &Announced {
        &self.places.announced
    }

    /// Asks for the credentials of a connection that is opened or renewed now.
    pub(crate) async fn login(&self) -> Result<Login<'_>, CacheError> {
        Login::ask(&*self.credentials).await
    }

    /// Connects to `address`, a second time if the server refuses the credentials and there are newer ones. The
    /// whole takes at most the dial timeout.
    ///
    /// Of several addresses of a name, the first is used at which the right server answers; if a primary is wanted and
    /// only replicas are found, the first of these.
    pub(crate) async fn dial(
        &self,
        address: &Address,
        mode: Mode,
        expected: &Expected,
        events: Arc<dyn Events>,
    ) -> Result<Dialed, CacheError> {
        let deadline = Deadline::after(self.limits.dial_timeout);
        let reachable = self.places.map.reachable(address);
        let found = tokio::time::timeout_at(deadline.at(), self.look_up(address, &reachable)).await;
        let targets = found.unwrap_or_else(|_| {
            let detail = "no answer of the name service within the dial timeout";
            Err(unreachable(address, Unavailability::Resolve, detail, None))
        })?;
        let issued = tokio::time::timeout_at(deadline.at(), self.login()).await;
        let mut login = issued.unwrap_or_else(|_| {
            let detail = "no credentials were issued within the dial timeout";
            Err(unreachable(address, Unavailability::Connect, detail, None))
        })?;
        let place = Place {
            address,
            host: &reachable.host,
        };
        let (mut last, mut second_best) = (None, None);
        let mut has_reread = false;
        for (index, target) in targets.iter().enumerate() {
            // What is left is shared out, so that one silent address leaves time for the others.
            let left = u32::try_from(targets.len() - index).unwrap_or(u32::MAX);
            let until = clock::now() + deadline.remaining() / left;
            // On the heap: what a handshake keeps on the way is large, and connecting is rare.
            let mut reached =
                Box::pin(self.log_in_to(place, *target, until, mode, expected, &mut login, &events)).await;
            // Certificates may have been replaced on both sides at this very moment.
            if !has_reread && is_of_tls(&reached) && self.reread_certificates().await {
                has_reread = true;
                reached =
                    Box::pin(self.log_in_to(place, *target, until, mode, expected, &mut login, &events))
                        .await;
            }
            match reached {
                Ok(dialed) if self.is_second_best(&dialed, mode) => {
                    second_best.get_or_insert(dialed);
                }
                // What no waiting mends is wrong at the other addresses, too.
                Err(error) if error.is_transient() => last = Some(error),
                Err(error) => return Err(self.told_of(address, &reachable, error)),
                dialed => return dialed,
            }
        }
        if let Some(dialed) = second_best {
            return Ok(dialed);
        }
        let last = last.unwrap_or_else(|| {
            unreachable(address, Unavailability::Resolve, "the name has no address", None)
        });
        Err(self.told_of(address, &reachable, last))
    }

    /// Connects to `target`, logs in, and finds out whether it is the right server.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a try to connect depends on, used in one place"
    )]
    async fn log_in_to(
        &self,
        place: Place<'_>,
        target: SocketAddr,
        until: Instant,
        mode: Mode,
        expected: &Expected,
        login: &mut Login<'_>,
        events: &Arc<dyn Events>,
    ) -> Result<Dialed, CacheError> {
        let dialed = self.log_in(place, target, until, mode, login, events).await?;
        self.recognise(place.address, dialed, expected, Deadline::until(until))
            .await
    }

    /// Connects to one of the addresses of `address`, with newer credentials if it refuses the first ones.
    async fn log_in(
        &self,
        place: Place<'_>,
        target: SocketAddr,
        until: Instant,
        mode: Mode,
        login: &mut Login<'_>,
        events: &Arc<dyn Events>,
    ) -> Result<Dialed, CacheError> {
        loop {
            let who = login.credentials();
            let reached = self
                .reach(place, target, until, mode, who, Arc::clone(events))
                .await;
            if let Some(dialed) = login.settle(reached, until).await? {
                return Ok(dialed);
            }
        }
    }

    /// Connects to one of the addresses of `address`. What takes too long is told by its step.
    ///
    /// A server that hangs up when it reads `HELLO` gets a second chance to read it; after that it is taken for a proxy
    /// that speaks the older protocol only.
    async fn reach(
        &self,
        place: Place<'_>,
        target: SocketAddr,
        until: Instant,
        mode: Mode,
        credentials: Option<&Credentials>,
        events: Arc<dyn Events>,
    ) -> Result<Dialed, CacheError> {
        let mut first_failure = None;
        for protocol in [Protocol::Resp3, Protocol::Resp3, Protocol::Resp2] {
            let stream = self.open(place, target, until).await?;
            let handshake = Handshake {
                username: credentials.and_then(|known| known.username.as_deref()),
                password: credentials.map(|known| known.password.expose().as_str()),
                client_name: self.client_name.as_deref(),
                protocol,
            };
            let deadline = Deadline::until(until);
            let opened = Connection::open(self.wire, stream, &handshake, Arc::clone(&events), deadline);
            let opened = tokio::time::timeout_at(until, opened).await;
            let error = match opened {
                Ok(Ok((connection, greeted))) => {
                    return self
                        .prepare(connection, greeted, mode, credentials, deadline)
                        .await;
                }
                Ok(Err(error)) => error,
                Err(_) => HandshakeError::Late,
            };
            let has_hung_up = matches!(error, HandshakeError::HungUp(_));
            let error = self.refused(place, error);
            let error = first_failure.take().unwrap_or(error);
            if !has_hung_up {
                return Err(error);
            }
            first_failure = Some(error);
        }
        Err(first_failure.unwrap_or(CacheError::Closed))
    }

    /// Opens a stream to `target`, which is one of the addresses of `address`, and secures it.
    async fn open(&self, place: Place<'_>, target: SocketAddr, until: Instant) -> Result<Stream, CacheError> {
        let late = |detail| unreachable(place.address, Unavailability::Connect, detail, None);
        let stream = match tokio::time::timeout_at(until, open(target)).await {
            Ok(opened) => opened.map_err(|error| {
                let detail = error.kind().to_string();
                unreachable(place.address, Unavailability::Connect, &detail, Some(error))
            })?,
            Err(_) => return Err(late("no answer within the dial timeout")),
        };
        let Some(tls) = &self.tls else {
            return Ok(Stream::Tcp(stream));
        };
        let secured = tokio::time::timeout_at(until, tls.secure(place.host, stream)).await;
        let stream = secured.unwrap_or_else(|_| {
            Err(late(
                "which accepts connections but does not answer the TLS handshake; set CACHE_TLS_ENABLED=false or use its TLS port",
            ))
        })?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Makes a connection ready for its mode: tracking, database, reads from a replica.
    async fn prepare(
        &self,
        connection: Connection,
        greeted: Greeted,
        mode: Mode,
        credentials: Option<&Credentials>,
        deadline: Deadline,
    ) -> Result<Dialed, CacheError> {
        let db = i64::from(self.db);
        let hello = Command::read("HELLO").int(3);
        let select = Command::read("SELECT").int(db);
        let readonly = Command::read("READONLY");
        let (greeting, has_pushes) = match &greeted {
            Greeted::Resp3(reply) => (Greeting::read(reply), true),
            Greeted::Resp2 => (Greeting::default(), false),
        };
        let requests = match mode {
            Mode::Primary if has_pushes => self.feed.tracking().requests(),
            _ => Vec::new(),
        };
        // First, because the last of them has an effect on what follows it.
        let mut setup: Vec<_> = requests.iter().collect();
        if !requests.is_empty() {
            setup.push(&hello);
        }
        let settled_from = setup.len();
        if db != 0 {
            setup.push(&select);
        }
        if mode == Mode::Replica {
            setup.push(&readonly);
        }
        let mut replies = connection.send_batch(&setup, deadline).await?.into_iter();
        let agreed = replies.by_ref().take(settled_from).take(requests.len()).collect();
        let tracking = match (mode, has_pushes) {
            (Mode::Primary, false) if *self.feed.tracking() != Tracking::Off => {
                Agreement::Refused(NO_PUSHES.to_owned())
            }
            _ => agreement(agreed)?,
        };
        let replies = replies.skip(settled_from - requests.len());
        for (command, reply) in setup[settled_from..].iter().zip(replies) {
            self.settled(command, reply)?;
        }
        Ok(Dialed {
            connection,
            greeting,
            has_pushes,
            valid_for: credentials.and_then(|known| known.valid_for),
            tracking,
        })
    }

    fn settled(&self, command: &Command<'_>, reply: Reply) -> Result<(), CacheError> {
        match (command.name(), reply) {
            ("SELECT", Reply::Error(error)) if error.code == "ERR" => {
                let why = if error.detail.contains("not allowed in cluster mode") {
                    "the servers of this cluster have one database only; leave it out, or use Valkey from 9.0 with \
                     cluster-databases"
                        .to_owned()
                } else {
                    let detail = &error.detail;
                    format!(
                        "the server has no database {}: {detail}; check its settings databases and cluster-databases",
                        self.db
                    )
                };
                Err(CacheError::Config(ConfigError::one("CACHE_DB", why)))
            }
            // A server that is no cluster knows no READONLY, and its replicas serve reads without it.
            ("READONLY", Reply::Error(error)) if error.code == "ERR" => Ok(()),
            (name, reply) => accept(reply, name).map(drop),
        }
    }

    /// What a server means that ends a connection during the handshake.
    const fn hung_up(&self) -> &'static str {
        match &self.tls {
            Some(_) => "the server ended the connection during the handshake",
            None => {
                "the server ended the connection during the handshake; if this is a TLS port, set \
                 CACHE_TLS_ENABLED=true (rediss:// in a URL)"
            }
        }
    }

    fn refused(&self, place: Place<'_>, error: HandshakeError) -> CacheError {
        let Place { address, host } = place;
        let parsed = !matches!(error, HandshakeError::NotTheProtocol(_));
        match error {
            HandshakeError::Refused(error) => match from_login(&error, "HELLO") {
                // Each node keeps users for itself: which one it was matters.
                CacheError::Unauthorized { detail, source } => CacheError::Unauthorized {
                    detail: format!("{address}: {detail}").into(),
                    source,
                },
                other if other.is_transient() => named(address, other),
                other if error.code == "ERR" || error.code == "NOPROTO" => {
                    too_old(address, &other.to_string())
                }
                other => other,
            },
            HandshakeError::Late => unreachable(
                address,
                Unavailability::Connect,
                "which accepts connections but does not answer",
                None,
            ),
            HandshakeError::HungUp(source) => CacheError::Unavailable {
                reason: Unavailability::Connect,
                detail: format!("{address}: {}", self.hung_up()).into(),
                outcome: Outcome::NotApplied,
                source,
            },
            HandshakeError::Ended(source) | HandshakeError::NotTheProtocol(source) => {
                if let Some(tls) = &self.tls
                    && let Some(detail) = tls.explain(&*source, host)
                {
                    return tls::insecure(detail, Some(source));
                }
                let hint = if parsed {
                    self.hung_up()
                } else {
                    "what answers there does not speak the Redis protocol; check CACHE_ADDRS, and CACHE_TLS_ENABLED if \
                     this is a TLS port"
                };
                CacheError::Unavailable {
                    reason: Unavailability::Connect,
                    detail: format!("{address}: {hint}").into(),
                    outcome: Outcome::NotApplied,
                    source: Some(source),
                }
            }
        }
    }
}

fn is_of_tls(dialed: &Result<Dialed, CacheError>) -> bool {
    matches!(
        dialed,
        Err(CacheError::Unavailable {
            reason: Unavailability::Tls,
            ..
        })
    )
}

/// Why changes of keys are not reported by a server that speaks the older protocol.
const NO_PUSHES: &str = "the server, or a proxy before it, knows no HELLO: it speaks RESP2, which has no invalidation \
                         messages";

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("tls", &self.tls.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The least and the most silence that a connection with requests in flight is granted.
const SILENCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long the system keeps sending to a peer that acknowledges nothing.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

async fn open(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}

/// What the replies to the request to track mean. A server that cannot answer now may track later, so that
/// is no refusal but a connection that was not made.
fn agreement(replies: Vec<Reply>) -> Result<Agreement, CacheError> {
    let mut agreement = Agreement::None;
    for reply in replies {
        match accept(reply, "CLIENT TRACKING") {
            Ok(_) => agreement = Agreement::Given,
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => return Ok(Agreement::Refused(error.to_string())),
        }
    }
    Ok(agreement)
}

/// Names the server in an error that says nothing of it.
fn named(address: &Address, error: CacheError) -> CacheError {
    match error {
        CacheError::Unavailable {
            reason,
            detail,
            outcome,
            source,
        } => CacheError::Unavailable {
            reason,
            detail: format!("{address}: {detail}").into(),
            outcome,
            source,
        },
        other => other,
    }
}

fn too_old(address: &Address, why: &str) -> CacheError {
    CacheError::Unsupported {
        detail: format!(
            "{address} refused the handshake ({why}); RESP3 is needed: Valkey, or Redis from 6.0 on"
        )
        .into(),
    }
}

fn unreachable(
    address: &Address,
    reason: Unavailability,
    detail: &str,
    error: Option<io::Error>,
) -> CacheError {
    CacheError::Unavailable {
        reason,
        detail: format!("{address}, {detail}").into(),
        outcome: Outcome::NotApplied,
        source: error.map(|error| Arc::new(error) as cache_core::ErrorSource),
    }
}
