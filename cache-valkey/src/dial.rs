//! Opens connections: name lookup, TCP, TLS and handshake, each with its own error.
//!
//! Names are resolved again for every connection, and every address of a name is tried, so that a
//! configuration endpoint with several addresses works while some of them are gone. Not in here: when to
//! connect and how often to retry. The node decides that.

mod addresses;
mod attempt;
mod failure;
mod login;
pub(crate) mod server_check;
mod server_hello;
mod setup;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cache_core::CacheError;
use cache_core::config::{TlsConfig, Topology, ValkeyConfig};
use cache_core::credentials::CredentialsSource;

use addresses::AddressOrigins;
pub(crate) use addresses::Announced;
pub(crate) use login::Login;
pub(crate) use server_hello::ServerHello;

use crate::identity::{Ids, ServerKind};
use crate::resolve::Resolve;
use crate::stats::Counts;
use crate::tls::Tls;
use crate::tracking::{Feed, TrackingResponse};
use crate::wire::{Connection, Wire};

/// The default time that a connection beyond a node's first one may be idle before it is closed.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// Opens connections as a [`ValkeyConfig`] says.
pub(crate) struct Dialer {
    tls: Option<Tls>,
    origins: AddressOrigins,
    credentials: Arc<dyn CredentialsSource>,
    resolve: Arc<dyn Resolve>,
    db: u32,
    client_name: Option<String>,
    limits: Limits,
    feed: Arc<Feed>,
    wire: Wire,
    /// The kind of server that must answer.
    kind: ServerKind,
    /// The nodes of the known cluster. Empty outside of a cluster, and before its topology is known.
    known: ArcSwap<Ids>,
    counts: Arc<Counts>,
}

/// How to reach one kind of server: data nodes or sentinels.
pub(crate) struct Access<'a> {
    pub(crate) tls: Option<&'a TlsConfig>,
    /// The database to select.
    pub(crate) db: u32,
    pub(crate) credentials: Arc<dyn CredentialsSource>,
    /// Records which server announced which address.
    pub(crate) announced: Arc<Announced>,
}

/// Limits of connections and their timeouts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections per node.
    pub(crate) connections: usize,
    /// How long opening a connection may take.
    pub(crate) dial_timeout: Duration,
    /// How long a connection with requests in flight may be silent before it is checked.
    pub(crate) silence: Duration,
    /// How long requests may be in flight without any reply before the connection is given up: the longest
    /// call timeout.
    pub(crate) unanswered: Duration,
    /// The age at which a connection is replaced.
    pub(crate) max_age: Option<Duration>,
    /// How long a connection beyond the first may be unused before it is closed.
    pub(crate) idle: Duration,
}

/// A connection that is ready for use.
pub(crate) struct Dialed {
    pub(crate) connection: Connection,
    pub(crate) server_hello: ServerHello,
    /// Whether the server can send pushes.
    pub(crate) has_pushes: bool,
    /// How long its credentials are valid.
    pub(crate) valid_for: Option<Duration>,
    /// The server's response to the tracking request.
    pub(crate) tracking: TrackingResponse,
}

/// What a connection is used for, which decides its setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads and writes, with tracking as the feed asks.
    Primary,
    /// Reads only (`READONLY` on a cluster's replica).
    Replica,
    /// Work other than cache calls: administration, sentinels.
    Auxiliary,
}

impl Dialer {
    /// The database that the connections select.
    pub(crate) const fn database(&self) -> u32 {
        self.db
    }

    /// Creates a dialer for the servers of `config` that are reached with `access`.
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
            origins: AddressOrigins {
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
                unanswered: config.read_timeout.max(config.write_timeout),
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

    /// Makes this the dialer for the configuration's sentinels.
    pub(crate) fn for_sentinels(mut self) -> Self {
        self.kind = ServerKind::Sentinel;
        self
    }

    /// The kind of server that must answer.
    pub(crate) const fn kind(&self) -> ServerKind {
        self.kind
    }

    /// The nodes of the known cluster.
    pub(crate) fn known_nodes(&self) -> Arc<Ids> {
        self.known.load_full()
    }

    /// Sets the nodes of the known cluster.
    pub(crate) fn set_known_nodes(&self, nodes: Ids) {
        self.known.store(Arc::new(nodes));
    }

    /// Sets how long a connection beyond a node's first one may be idle.
    pub(crate) const fn close_idle_after(mut self, idle: Duration) -> Self {
        self.limits.idle = idle;
        self
    }

    /// Counters of the connections that it opens for nodes.
    pub(crate) const fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// The feed that delivers the changes that primaries report.
    pub(crate) const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Records which server announced which address.
    pub(crate) fn announced(&self) -> &Announced {
        &self.origins.announced
    }

    /// Fetches the credentials for a connection that is opened or renewed now.
    pub(crate) async fn login(&self) -> Result<Login<'_>, CacheError> {
        Login::ask(&*self.credentials).await
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("tls", &self.tls.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The bounds of [`Limits::silence`].
const SILENCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
