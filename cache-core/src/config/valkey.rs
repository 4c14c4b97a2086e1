//! The configuration of the Valkey client.
//!
//! Not in here: its validation (`check`), and how it is read from the environment.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Address, AddressMap, ConfigError, PasswordFile, TlsConfig, check};
use crate::Secret;

/// The configuration of the Valkey client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValkeyConfig {
    /// One server, a cluster, or sentinels that know the primary.
    pub topology: Topology,
    /// How the client authenticates. Default: the server's default user without a password.
    pub authentication: Authentication,
    /// The file of the password in `authentication`, to be read again for each connection. Default: none.
    pub password_file: Option<PasswordFile>,
    /// TLS. Default: none.
    pub tls: Option<TlsConfig>,
    /// How the client connects to the sentinels. Default: like the data nodes.
    pub sentinel_tls: SentinelTls,
    /// The file of the sentinels' password, to be read again for each connection. Default: none.
    pub sentinel_password_file: Option<PasswordFile>,
    /// Maps announced addresses to addresses that are reachable from here. Default: none are mapped.
    pub address_map: AddressMap,
    /// The most connections per node. Default: 10.
    pub pool_size: u32,
    /// Retries, on transient failures only. Default: 3.
    pub max_retries: u32,
    /// The time limit for connecting: TCP, TLS, authentication. Default: 5 s.
    pub dial_timeout: Duration,
    /// The deadline of a call that reads, retries included. Default: 3 s.
    pub read_timeout: Duration,
    /// The deadline of a call that writes, retries included. Default: 3 s.
    pub write_timeout: Duration,
    /// Which nodes answer reads. Default: [`ReadFrom::Primary`].
    pub read_from: ReadFrom,
    /// The age at which a connection is replaced by a new one, without an error to callers. Default: none.
    pub max_connection_age: Option<Duration>,
    /// The name of the connections in the servers' `CLIENT LIST`. Default: none.
    pub client_name: Option<String>,
}

impl ValkeyConfig {
    /// The defaults, for servers at `topology`.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Self {
            topology,
            authentication: Authentication::None,
            password_file: None,
            tls: None,
            sentinel_tls: SentinelTls::AsServers,
            sentinel_password_file: None,
            address_map: AddressMap::default(),
            pool_size: 10,
            max_retries: 3,
            dial_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(3),
            read_from: ReadFrom::Primary,
            max_connection_age: None,
            client_name: None,
        }
    }

    /// How the client authenticates. Default: the server's default user without a password.
    #[must_use]
    pub fn with_authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = authentication;
        // The file belongs to the previous user.
        self.password_file = None;
        self
    }

    /// Logs in as `username` (the server's default user if `None`) with the password in the file at `path`,
    /// which is read again for each connection. Default: no password.
    ///
    /// If the file is unreadable or empty, the last password is kept and a warning is logged. If a server
    /// refuses the newest password, the client also tries the previous one, so that the file may change
    /// before the servers do.
    #[must_use]
    pub fn with_password_file(mut self, username: Option<String>, path: impl Into<PathBuf>) -> Self {
        self.authentication = Authentication::Password {
            username,
            password: Secret::new(String::new()),
        };
        self.password_file = Some(PasswordFile::new(path));
        self
    }

    /// How the client connects to the sentinels. Default: like the data nodes.
    #[must_use]
    pub fn with_sentinel_tls(mut self, tls: SentinelTls) -> Self {
        self.sentinel_tls = tls;
        self
    }

    /// Maps announced addresses to addresses that are reachable from here. Default: none are mapped.
    ///
    /// Configured addresses are mapped too. Certificates are checked against the reachable host, unless
    /// [`TlsConfig::server_name`] is set.
    #[must_use]
    pub fn with_address_map(mut self, map: AddressMap) -> Self {
        self.address_map = map;
        self
    }

    /// Connects by TLS. Default: no TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The most connections per node. Default: 10.
    #[must_use]
    pub const fn with_pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// Retries, on transient failures only. Default: 3.
    #[must_use]
    pub const fn with_max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// The time limit for connecting: TCP, TLS, authentication. Default: 5 s.
    #[must_use]
    pub const fn with_dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// The deadline of a call that reads, retries included. Default: 3 s.
    #[must_use]
    pub const fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// The deadline of a call that writes, retries included. Default: 3 s.
    #[must_use]
    pub const fn with_write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Which nodes answer reads. Default: [`ReadFrom::Primary`].
    #[must_use]
    pub const fn with_read_from(mut self, read_from: ReadFrom) -> Self {
        self.read_from = read_from;
        self
    }

    /// The age at which a connection is replaced by a new one. Default: none, a connection stays as long as
    /// the server allows.
    ///
    /// For servers that end connections after some time (`ElastiCache` with IAM: 12 hours), and for names
    /// that may later resolve to another server. Each connection is replaced between 90 % and 100 % of this
    /// age. The client first opens the new connection; the old one then gets no more calls, and closes when
    /// its last call has ended. If the client cannot open a new connection, the old one stays in use. At most
    /// one connection per second and node is replaced, so an age of less than a second per connection cannot
    /// be kept.
    #[must_use]
    pub const fn with_max_connection_age(mut self, age: Duration) -> Self {
        self.max_connection_age = Some(age);
        self
    }

    /// The name of the connections in the servers' `CLIENT LIST`: at most 128 printable ASCII characters
    /// without spaces. Default: none. Servers without `HELLO` do not receive it.
    #[must_use]
    pub fn with_client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    /// Checks whether a client can be built with this configuration.
    ///
    /// # Errors
    ///
    /// All problems at once, each with the name of the variable that would set it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        check::valkey(self, check::Addresses::Required, &mut problems);
        ConfigError::unless_empty(problems)
    }
}

/// The servers' addresses and how they form a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topology {
    /// One primary, and perhaps replicas of it.
    Single {
        /// The primary first; further addresses are replicas that may answer reads. If there are none and
        /// reads may go to replicas, the client asks the primary for them.
        addresses: Vec<Address>,
        /// The database to select. Default: 0.
        db: u32,
    },
    /// A cluster.
    Cluster {
        /// Where the client asks for the topology; one address is enough (a configuration endpoint).
        seeds: Vec<Address>,
        /// The database to select. A database other than 0 needs servers that have it (Valkey from 9.0 with
        /// `cluster-databases`). Default: 0.
        db: u32,
    },
    /// A primary that sentinels watch.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<Address>,
        /// The primary's name at the sentinels.
        master: String,
        /// The sentinels' ACL user; `None` is their default user.
        username: Option<String>,
        /// The password of the sentinels themselves.
        password: Option<Secret>,
        /// The database to select on the primary. Default: 0.
        db: u32,
    },
}

impl Topology {
    /// One server at `address`, database 0.
    #[must_use]
    pub fn single(address: Address) -> Self {
        Self::Single {
            addresses: vec![address],
            db: 0,
        }
    }

    /// A cluster that the servers at `seeds` belong to.
    pub fn cluster(seeds: impl IntoIterator<Item = Address>) -> Self {
        Self::Cluster {
            seeds: seeds.into_iter().collect(),
            db: 0,
        }
    }

    /// The primary that `sentinels` watch under the name `master`, database 0, without a sentinel password.
    pub fn sentinel(sentinels: impl IntoIterator<Item = Address>, master: impl Into<String>) -> Self {
        Self::Sentinel {
            sentinels: sentinels.into_iter().collect(),
            master: master.into(),
            username: None,
            password: None,
            db: 0,
        }
    }

    /// Replaces the addresses that the client starts with.
    pub fn set_addresses(&mut self, new: Vec<Address>) {
        match self {
            Self::Single { addresses, .. } => *addresses = new,
            Self::Cluster { seeds, .. } => *seeds = new,
            Self::Sentinel { sentinels, .. } => *sentinels = new,
        }
    }

    /// The addresses that the client starts with.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        match self {
            Self::Single { addresses, .. } => addresses,
            Self::Cluster { seeds, .. } => seeds,
            Self::Sentinel { sentinels, .. } => sentinels,
        }
    }

    /// The database to select.
    #[must_use]
    pub const fn db(&self) -> u32 {
        match self {
            Self::Single { db, .. } | Self::Cluster { db, .. } | Self::Sentinel { db, .. } => *db,
        }
    }

    /// Selects the database `db`. Default: 0.
    #[must_use]
    pub const fn with_db(mut self, number: u32) -> Self {
        match &mut self {
            Self::Single { db, .. } | Self::Cluster { db, .. } | Self::Sentinel { db, .. } => *db = number,
        }
        self
    }
}

/// How the client authenticates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authentication {
    /// The server's default user, without a password.
    #[default]
    None,
    /// A password, and an ACL user unless it is the default user.
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
        /// The service that the cache belongs to.
        service: IamService,
    },
}

/// The AWS service that a cache belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IamService {
    /// Amazon ElastiCache.
    #[default]
    ElastiCache,
    /// Amazon MemoryDB.
    MemoryDb,
}

impl fmt::Display for IamService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ElastiCache => "ElastiCache",
            Self::MemoryDb => "MemoryDB",
        })
    }
}

/// How the client connects to sentinels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SentinelTls {
    /// As to the data nodes, with or without TLS.
    #[default]
    AsServers,
    /// Without TLS.
    Off,
    /// With these TLS settings.
    Own(TlsConfig),
}

/// Which nodes answer reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// Primaries only: a read sees every earlier acknowledged write.
    #[default]
    Primary,
    /// Replicas only; a read may miss earlier acknowledged writes.
    Replica,
    /// Replicas if one is available, otherwise the primary.
    PreferReplica,
}
