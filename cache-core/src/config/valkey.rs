//! What the Valkey client needs to know.

use std::fmt;
use std::time::Duration;

use crate::Secret;

/// What the Valkey client needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValkeyConfig {
    /// One server, a cluster, or sentinels that know the primary.
    pub topology: Topology,
    /// Who the client is. Default: the server's default user without a password.
    pub authentication: Authentication,
    /// TLS. Default: none.
    pub tls: Option<TlsConfig>,
    /// Connections per node at most. Default: 10.
    pub pool_size: u32,
    /// Tries after the first, on transient failures only. Default: 3.
    pub max_retries: u32,
    /// How long making a connection may take: TCP, TLS, authentication. Default: 5 s.
    pub dial_timeout: Duration,
    /// The deadline of a call that reads, retries included. Default: 3 s.
    pub read_timeout: Duration,
    /// The deadline of a call that writes, retries included. Default: 3 s.
    pub write_timeout: Duration,
    /// Which nodes answer reads. Default: [`ReadFrom::Primary`].
    pub read_from: ReadFrom,
}

impl ValkeyConfig {
    /// The defaults, for servers at `topology`.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Self {
            topology,
            authentication: Authentication::None,
            tls: None,
            pool_size: 10,
            max_retries: 3,
            dial_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(3),
            read_from: ReadFrom::Primary,
        }
    }
}

/// Where the servers are and how they belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topology {
    /// One primary, and perhaps replicas of it.
    Single {
        /// The primary first; further addresses are replicas that may answer reads.
        addresses: Vec<Address>,
        /// The database to select. Default: 0.
        db: u32,
    },
    /// A cluster.
    Cluster {
        /// Where to ask for the topology; one is enough (a configuration endpoint).
        seeds: Vec<Address>,
    },
    /// A primary that sentinels watch.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<Address>,
        /// The name under which they watch it.
        master: String,
        /// The sentinels' own password.
        password: Option<Secret>,
        /// The database to select on the primary. Default: 0.
        db: u32,
    },
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A host name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// The address `host`:`port`; `host` is without brackets.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Who the client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authentication {
    /// The server's default user, without a password.
    #[default]
    None,
    /// A password, and an ACL user unless it is the default one.
    Password {
        /// The ACL user; `None` is the server's default user.
        username: Option<String>,
        /// Its password.
        password: Secret,
    },
    /// A short-lived token for every connection, from the cloud's identity service.
    Iam {
        /// The IAM-enabled user.
        username: String,
        /// The cache's name, never its endpoint.
        cache_name: String,
        /// Whether the cache is a serverless one.
        serverless: bool,
    },
}

/// TLS 1.2 or newer, with the host name always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The authorities to trust, as PEM. Default: the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// What the client shows the server. Default: nothing.
    pub identity: Option<ClientIdentity>,
}

/// A client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate chain, as PEM.
    pub certificate_pem: Vec<u8>,
    /// The private key, as PEM.
    pub key_pem: Secret<Vec<u8>>,
}

/// Which nodes answer reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// Primaries only: a read sees every write that was answered before it.
    #[default]
    Primary,
    /// Replicas only; a read may be older than a write that was answered before it.
    Replica,
    /// Replicas where one is there, else the primary.
    PreferReplica,
}
