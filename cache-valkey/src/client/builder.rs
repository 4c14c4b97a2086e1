//! Builds a client with options beyond the configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use cache_core::config::{Authentication, Startup, ValkeyConfig};
use cache_core::credentials::{CredentialsSource, FixedCredentials};
use cache_core::{CacheError, ConfigError};

use super::ValkeyClient;
use crate::admin::Administration;
use crate::connect::{DialOptions, connect, from_password};
use crate::dial::{Dialer, IDLE};
use crate::refusals::Refusals;
use crate::resolve::{Resolve, SystemResolver};
use crate::router::Router;
use crate::tracking::{Feed, Tracking};
use crate::wire::Wire;

/// Builds a [`ValkeyClient`] with options beyond a [`ValkeyConfig`].
#[derive(Debug)]
pub struct Builder<'a> {
    config: &'a ValkeyConfig,
    startup: Startup,
    credentials: Option<Arc<dyn CredentialsSource>>,
    resolve: Arc<dyn Resolve>,
    tracking: Tracking,
    wire: Wire,
    idle_timeout: Duration,
}

impl<'a> Builder<'a> {
    pub(super) fn new(config: &'a ValkeyConfig) -> Self {
        Self {
            config,
            startup: Startup::Fail,
            credentials: None,
            resolve: Arc::new(SystemResolver),
            tracking: Tracking::OptIn,
            wire: Wire::default(),
            idle_timeout: IDLE,
        }
    }

    /// What to do if the server cannot be reached at start. Default: [`Startup::Fail`].
    #[must_use]
    pub fn startup(mut self, startup: Startup) -> Self {
        self.startup = startup;
        self
    }

    /// Where user names and passwords come from. Default: the configuration.
    #[must_use]
    pub fn credentials(mut self, source: Arc<dyn CredentialsSource>) -> Self {
        self.credentials = Some(source);
        self
    }

    /// Resolves host names. Default: the system's resolver.
    #[must_use]
    pub fn resolver(mut self, resolve: Arc<dyn Resolve>) -> Self {
        self.resolve = resolve;
        self
    }

    /// Whether, and how, servers report changes of keys. If a server refuses, the client notices at the first
    /// connection and works without tracking. Default: [`Tracking::OptIn`].
    #[must_use]
    pub fn tracking(mut self, tracking: Tracking) -> Self {
        self.tracking = tracking;
        self
    }

    /// Which protocol implementation to use. Default: [`Wire::Own`].
    #[must_use]
    pub const fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// How long a connection that a load peak opened may be idle before it is closed. Each node keeps one
    /// connection. A connection that serves tracked reads for a near cache stays ten times as long, because
    /// closing it drops those entries. Default: one minute.
    #[must_use]
    pub const fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a [`Tracking::Broadcast`] with missing or overlapping prefixes;
    /// otherwise as [`ValkeyClient::connect`]. With [`Startup::Degrade`] a server that cannot be reached is
    /// not an error.
    pub async fn connect(self) -> Result<ValkeyClient, CacheError> {
        // Its fields are public, so it may not have been validated yet.
        self.config.validate()?;
        self.tracking.check()?;
        let feed = Feed::new(self.tracking);
        let credentials = match self.credentials {
            Some(source) => source,
            None => from_config(self.config)?,
        };
        let (config, startup) = (self.config, self.startup);
        let options = DialOptions {
            credentials,
            resolve: self.resolve,
            feed,
            wire: self.wire,
            idle: self.idle_timeout,
        };
        let (router, dialer) = connect(config, options, startup).await?;
        Ok(ValkeyClient::new(config, router, &dialer))
    }
}

impl ValkeyClient {
    fn new(config: &ValkeyConfig, router: Router, dialer: &Arc<Dialer>) -> Self {
        Self {
            administration: Administration::new(router.clone(), Arc::clone(dialer), config.read_timeout),
            router,
            feed: Arc::clone(dialer.feed()),
            counts: Arc::clone(dialer.counts()),
            refusals: Refusals::default(),
            read_timeout: config.read_timeout,
            write_timeout: config.write_timeout,
            closed: AtomicBool::new(false),
        }
    }
}

fn from_config(config: &ValkeyConfig) -> Result<Arc<dyn CredentialsSource>, CacheError> {
    let (username, password) = match &config.authentication {
        Authentication::None => return Ok(Arc::new(FixedCredentials::new(None))),
        Authentication::Password { username, password } => (username.clone(), password),
        _ => {
            return Err(CacheError::Config(ConfigError::one(
                "CACHE_IAM_ENABLED",
                "tokens need a credentials source; pass one to the client's builder",
            )));
        }
    };
    Ok(from_password(
        username,
        Some(password),
        config.password_file.as_ref(),
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::config::{Address, Topology};

    use super::*;

    type Change = fn(&mut ValkeyConfig);

    #[tokio::test]
    async fn handmade_config_is_validated_before_connecting() {
        let cases: [(&str, Change); 15] = [
            ("CACHE_READ_TIMEOUT", |config| config.read_timeout = Duration::MAX),
            ("CACHE_READ_TIMEOUT", |config| {
                config.read_timeout = Duration::ZERO;
            }),
            ("CACHE_WRITE_TIMEOUT", |config| {
                config.write_timeout = Duration::MAX;
            }),
            ("CACHE_WRITE_TIMEOUT", |config| {
                config.write_timeout = Duration::ZERO;
            }),
            ("CACHE_DIAL_TIMEOUT", |config| config.dial_timeout = Duration::MAX),
            ("CACHE_DIAL_TIMEOUT", |config| {
                config.dial_timeout = Duration::ZERO;
            }),
            ("CACHE_MAX_CONNECTION_AGE", |config| {
                config.max_connection_age = Some(Duration::MAX);
            }),
            ("CACHE_MAX_CONNECTION_AGE", |config| {
                config.max_connection_age = Some(Duration::ZERO);
            }),
            ("CACHE_POOL_SIZE", |config| config.pool_size = 0),
            ("CACHE_POOL_SIZE", |config| config.pool_size = u32::MAX),
            ("CACHE_MAX_RETRIES", |config| config.max_retries = u32::MAX),
            ("CACHE_ADDRS", |config| config.topology.set_addresses(Vec::new())),
            ("CACHE_ADDRS", |config| {
                config.topology.set_addresses(vec![Address::new("", 0)]);
            }),
            ("CACHE_CLIENT_NAME", |config| {
                config.client_name = Some("two words".to_owned());
            }),
            ("CACHE_PASSWORD", |config| {
                config.authentication = Authentication::Password {
                    username: None,
                    password: String::new().into(),
                };
            }),
        ];
        for (variable, change) in cases {
            // Nothing listens there, and `Degrade` would hide it.
            let mut config = ValkeyConfig::new(Topology::single(Address::new("127.0.0.1", 1)));
            change(&mut config);
            let result = ValkeyClient::builder(&config)
                .startup(Startup::Degrade)
                .connect()
                .await;
            match result {
                Err(CacheError::Config(error)) => {
                    let named: Vec<_> = error
                        .problems()
                        .iter()
                        .map(|problem| problem.variable.as_str())
                        .collect();
                    assert_eq!(named, [variable], "{error}");
                }
                other => panic!("{variable}: {other:?}"),
            }
        }
    }
}
