//! The configuration of a cache client, as data.
//!
//! A [`CacheConfig`] comes from its builder, or from defaults, an optional file and the environment.
//! `sources` gathers what is written and where, `values` parses it, `resolve` combines it, and `check`
//! validates the result. Only `env` reads the environment. [`VARIABLES`] lists every setting.
//!
//! Not in here: any connection.

mod address;
mod address_map;
mod alias;
mod builder;
mod check;
mod describe;
mod encryption;
mod env;
mod error;
mod file;
mod loaded;
mod parse;
mod password_file;
mod pem;
mod reference;
mod resolve;
mod sources;
mod tls;
mod url;
mod valkey;
mod values;

use std::time::Duration;

pub use address::{Address, AddressError};
pub use address_map::{AddressMap, AddressMapError};
pub use builder::CacheConfigBuilder;
pub use encryption::{EncryptionConfig, KeysetLocation, PlaintextEntries, StoredForm};
pub use error::{ConfigError, Problem};
pub use loaded::{Loaded, Origin, Setting, Warning};
pub use password_file::PasswordFile;
pub use reference::{VARIABLES, Variable, markdown, markdown_of_aliases, variable};
pub use tls::{ClientIdentity, TlsConfig, TlsFiles};
pub use valkey::{Authentication, IamService, ReadFrom, SentinelTls, Topology, ValkeyConfig};

/// The configuration of a cache client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheConfig {
    /// The backend and its settings. Default: [`Backend::Memory`].
    pub backend: Backend,
    /// The prefix of every key. Default: none.
    pub key_prefix: Option<String>,
    /// What to do if the backend is unreachable at start. Default: [`Startup::Fail`].
    pub startup: Startup,
    /// What a failing backend means to callers. Default: [`OnError::Fail`].
    pub on_error: OnError,
    /// The whole call's deadline, retries included. Default: none beyond the client's own timeouts.
    pub op_timeout: Option<Duration>,
    /// The near cache (L1). Default: none.
    pub near: Option<NearConfig>,
    /// Encryption of values. Default: none.
    pub encryption: Option<EncryptionConfig>,
    /// The secret that supplies what the Valkey backend's configuration omits. Default: none.
    pub secret: Option<SecretConfig>,
}

impl CacheConfig {
    /// Starts from the defaults.
    pub fn builder() -> CacheConfigBuilder {
        CacheConfigBuilder::default()
    }

    /// Checks whether a client can be built with this configuration.
    ///
    /// # Errors
    ///
    /// All problems at once, each with the name of the variable that would set the value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        match (&self.backend, &self.secret) {
            (Backend::Memory(memory), None) => check::memory(memory, &mut problems),
            (Backend::DynamoDb(dynamodb), None) => check::dynamodb(dynamodb, &mut problems),
            (Backend::Valkey(valkey), None) => {
                check::valkey(valkey, check::Addresses::Required, &mut problems);
            }
            (Backend::Valkey(valkey), Some(_)) => {
                check::valkey(valkey, check::Addresses::SuppliedLater, &mut problems);
            }
            (_, Some(_)) => {
                let message = "is for CACHE_TYPE=valkey only".to_owned();
                problems.push(Problem {
                    variable: reference::SECRET_ARN.name.to_owned(),
                    message,
                });
            }
        }
        check::around(self, &mut problems);
        ConfigError::unless_empty(problems)
    }
}

/// The backend that stores the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one in a process, and no box in the public type is worth more"
)]
pub enum Backend {
    /// The embedded client: entries are kept in this process and end with it.
    Memory(MemoryConfig),
    /// Valkey, or any server of the Redis protocol.
    Valkey(ValkeyConfig),
    /// A DynamoDB table.
    DynamoDb(DynamoDbConfig),
}

impl Default for Backend {
    fn default() -> Self {
        Self::Memory(MemoryConfig::default())
    }
}

/// The limits of the embedded client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// The most bytes of keys, values and overhead. Default: 64 MiB.
    pub max_bytes: u64,
    /// The most entries. Default: 1,000,000.
    pub max_entries: u64,
}

impl MemoryConfig {
    /// At most `max_bytes` bytes and `max_entries` entries.
    #[must_use]
    pub const fn new(max_bytes: u64, max_entries: u64) -> Self {
        Self {
            max_bytes,
            max_entries,
        }
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024 * 1024,
            max_entries: 1_000_000,
        }
    }
}

/// A secret that says where the servers are and how to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretConfig {
    /// Its ARN.
    pub arn: String,
    /// The TLS settings if the secret asks for TLS; `None` if the configuration itself decides whether there
    /// is TLS. Default: the system's roots.
    pub tls: Option<TlsConfig>,
    /// The user name to use instead of the secret's. Default: the secret's.
    pub username: Option<String>,
}

impl SecretConfig {
    /// The secret `arn`, which also decides whether there is TLS.
    pub fn new(arn: impl Into<String>) -> Self {
        Self {
            arn: arn.into(),
            username: None,
            tls: Some(TlsConfig::new()),
        }
    }

    /// The TLS settings if the secret asks for TLS; `None` if the configuration itself decides whether there
    /// is TLS. Default: the system's roots.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<TlsConfig>) -> Self {
        self.tls = tls;
        self
    }

    /// The user name to use instead of the secret's. Default: the secret's.
    #[must_use]
    pub fn with_username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }
}

/// The table of the DynamoDB backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamoDbConfig {
    /// The table's name.
    pub table: String,
}

impl DynamoDbConfig {
    /// The table `table`.
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into() }
    }
}

/// What to do if the backend is unreachable at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Startup {
    /// Refuse to start.
    #[default]
    Fail,
    /// Start, and connect as soon as the backend is reachable.
    Degrade,
}

/// What a failing backend means to callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The call fails.
    #[default]
    Fail,
    /// A failing read is a miss, a failing write a warning.
    Bypass,
}

/// The near cache's limits, and how it learns of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearConfig {
    /// The most bytes of keys, values and overhead.
    pub max_bytes: u64,
    /// The most entries.
    pub max_entries: u64,
    /// The longest TTL of a near entry.
    pub ttl: Duration,
    /// How the near cache learns of changes made elsewhere.
    pub tracking: NearTracking,
}

impl NearConfig {
    /// At most `max_bytes` bytes, no entry older than `ttl`; 1,000,000 entries,
    /// [`NearTracking::OptIn`].
    #[must_use]
    pub const fn new(max_bytes: u64, ttl: Duration) -> Self {
        Self {
            max_bytes,
            max_entries: 1_000_000,
            ttl,
            tracking: NearTracking::OptIn,
        }
    }

    /// At most `max_entries` entries. Default: 1,000,000.
    #[must_use]
    pub const fn with_max_entries(mut self, max_entries: u64) -> Self {
        self.max_entries = max_entries;
        self
    }

    /// How the near cache learns of changes made elsewhere. Default: [`NearTracking::OptIn`].
    #[must_use]
    pub const fn with_tracking(mut self, tracking: NearTracking) -> Self {
        self.tracking = tracking;
        self
    }
}

/// How a near cache learns of changes made elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NearTracking {
    /// The server remembers each key that was read for the near cache, and reports its changes.
    #[default]
    OptIn,
    /// The server reports every change under the key prefix, read or not. It remembers no keys, and every
    /// client receives a report of every write.
    Broadcast,
    /// The server reports nothing: near entries have a short TTL.
    Off,
}
