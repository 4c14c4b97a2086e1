//! What a cache client needs to know, as data.
//!
//! [`CacheConfig`] is made by its builder, or from defaults, an optional file and the environment.
//! Where values come from is the business of the files beside this one; nothing here reads anything.

mod error;
mod valkey;

use std::time::Duration;

pub use error::{ConfigError, Problem};
pub use valkey::{Address, Authentication, ClientIdentity, ReadFrom, TlsConfig, Topology, ValkeyConfig};

/// What a cache client needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheConfig {
    /// The backend and what it needs. Default: [`Backend::Memory`].
    pub backend: Backend,
    /// Put before every key. Default: none.
    pub key_prefix: Option<String>,
    /// What to do when the backend cannot be reached at start. Default: [`Startup::Fail`].
    pub startup: Startup,
    /// What a failing backend means to callers. Default: [`OnError::Fail`].
    pub on_error: OnError,
    /// The whole call's deadline, retries included. Default: none beyond the client's own timeouts.
    pub op_timeout: Option<Duration>,
    /// The near tier. Default: none.
    pub near: Option<NearConfig>,
    /// Encryption of values. Default: none.
    pub encryption: Option<EncryptionConfig>,
}

/// Which backend holds the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The embedded client: in this process, gone with it.
    Memory(MemoryConfig),
    /// Valkey, or any server of the Redis protocol.
    Valkey(ValkeyConfig),
    /// A DynamoDB table.
    DynamoDb(DynamoDbConfig),
}

/// The bounds of the embedded client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// At most this many bytes of keys, values and book-keeping. Default: 64 MiB.
    pub max_bytes: u64,
    /// At most this many entries. Default: 1,000,000.
    pub max_entries: u64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024 * 1024,
            max_entries: 1_000_000,
        }
    }
}

/// The table of the DynamoDB backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamoDbConfig {
    /// The table's name.
    pub table: String,
}

/// What to do when the backend cannot be reached at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Startup {
    /// Refuse to start.
    #[default]
    Fail,
    /// Start, and connect as soon as the backend is there.
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

/// The near tier's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearConfig {
    /// At most this many bytes.
    pub max_bytes: u64,
    /// The longest life of a near entry.
    pub ttl: Duration,
}

/// How values are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncryptionConfig {
    /// A keyset in a file, in clear: for development.
    File {
        /// The file's path.
        path: std::path::PathBuf,
    },
    /// A keyset in a secret store, encrypted under a key of a key-management service.
    Envelope {
        /// Where the encrypted keyset is.
        keyset_uri: String,
        /// The key that opens it.
        kms_key_uri: String,
    },
}
