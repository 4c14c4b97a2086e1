//! Builds a [`CacheConfig`] in code.

use std::time::Duration;

use super::{
    Backend, CacheConfig, ConfigError, DynamoDbConfig, EncryptionConfig, MemoryConfig, NearConfig, OnError,
    SecretConfig, Startup, ValkeyConfig,
};

/// Builds a [`CacheConfig`]; created by [`CacheConfig::builder`].
///
/// A setter never fails; [`build`](Self::build) reports everything that is wrong.
///
/// ```
/// use std::time::Duration;
/// use cache_core::CacheConfig;
/// use cache_core::config::{Topology, ValkeyConfig};
///
/// let config = CacheConfig::builder()
///     .valkey(
///         ValkeyConfig::new(Topology::cluster(["cache-1:6379".parse()?, "cache-2:6379".parse()?]))
///             .with_read_timeout(Duration::from_millis(250)),
///     )
///     .op_timeout(Duration::from_millis(500))
///     .build()?;
/// assert_eq!(config.backend.to_string(), "Valkey(cluster, 2 seeds)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CacheConfigBuilder {
    config: CacheConfig,
}

impl CacheConfigBuilder {
    /// The embedded client with these limits. Default: this backend, 64 MiB and 1,000,000 entries.
    pub fn memory(self, memory: MemoryConfig) -> Self {
        self.backend(Backend::Memory(memory))
    }

    /// Valkey, or any server of the Redis protocol. Default: the embedded client.
    pub fn valkey(self, valkey: ValkeyConfig) -> Self {
        self.backend(Backend::Valkey(valkey))
    }

    /// A DynamoDB table. Default: the embedded client.
    pub fn dynamodb(self, dynamodb: DynamoDbConfig) -> Self {
        self.backend(Backend::DynamoDb(dynamodb))
    }

    /// The backend and its settings. Default: the embedded client.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.config.backend = backend;
        self
    }

    /// The prefix of every key. Default: none.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.config.key_prefix = Some(prefix.into());
        self
    }

    /// What to do if the backend is unreachable at start. Default: [`Startup::Fail`].
    pub const fn startup(mut self, startup: Startup) -> Self {
        self.config.startup = startup;
        self
    }

    /// What a failing backend means to callers. Default: [`OnError::Fail`].
    pub const fn on_error(mut self, on_error: OnError) -> Self {
        self.config.on_error = on_error;
        self
    }

    /// The whole call's deadline, retries included. Default: none beyond the client's own timeouts.
    pub const fn op_timeout(mut self, timeout: Duration) -> Self {
        self.config.op_timeout = Some(timeout);
        self
    }

    /// The near cache's limits. Default: no near cache.
    pub fn near(mut self, near: NearConfig) -> Self {
        self.config.near = Some(near);
        self
    }

    /// How values are encrypted. Default: they are not.
    pub fn encryption(mut self, encryption: EncryptionConfig) -> Self {
        self.config.encryption = Some(encryption);
        self
    }

    /// The secret that supplies what the Valkey backend's configuration omits: addresses, user, password, key
    /// prefix, TLS. Default: none.
    pub fn secret(mut self, secret: SecretConfig) -> Self {
        self.config.secret = Some(secret);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// All problems at once, each with the name of the variable that would set the value.
    pub fn build(self) -> Result<CacheConfig, ConfigError> {
        self.config.validate()?;
        Ok(self.config)
    }
}
