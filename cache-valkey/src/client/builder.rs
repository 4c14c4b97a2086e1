//! Makes a client: what may be chosen beside the configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cache_core::config::{Authentication, Startup, ValkeyConfig};
use cache_core::credentials::{CredentialsSource, FixedCredentials};
use cache_core::{CacheError, ConfigError};

use super::ValkeyClient;
use crate::admin::Administration;
use crate::connect::{connect, from_password};
use crate::dial::Dialer;
use crate::refusals::Refusals;
use crate::resolve::{Resolve, SystemResolver};
use crate::router::Router;
use crate::tracking::{Feed, Tracking};
use crate::wire::Wire;

/// Chooses more than a [`ValkeyConfig`] says.
#[derive(Debug)]
pub struct Builder<'a> {
    config: &'a ValkeyConfig,
    startup: Startup,
    credentials: Option<Arc<dyn CredentialsSource>>,
    resolve: Arc<dyn Resolve>,
    tracking: Tracking,
    wire: Wire,
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
        }
    }

    /// What to do when the server cannot be reached at start. Default: [`Startup::Fail`].
    #[must_use]
    pub fn startup(mut self, startup: Startup) -> Self {
        self.startup = startup;
        self
    }

    /// Where user names and passwords come from. Default: what the configuration holds.
    #[must_use]
    pub fn credentials(mut self, source: Arc<dyn CredentialsSource>) -> Self {
        self.credentials = Some(source);
        self
    }

    /// Who turns host names into addresses. Default: the system.
    #[must_use]
    pub fn resolver(mut self, resolve: Arc<dyn Resolve>) -> Self {
        self.resolve = resolve;
        self
    }

    /// Whether, and how, servers report changes of keys. A server that refuses is found out at the first
    /// connection, and the client works without. Default: [`Tracking::OptIn`].
    #[must_use]
    pub fn tracking(mut self, tracking: Tracking) -> Self {
        self.tracking = tracking;
        self
    }

    /// Which implementation of the protocol to use. Default: [`Wire::Own`].
    #[must_use]
    pub const fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] for a [`Tracking::Broadcast`] whose prefixes do not limit it; else as [`ValkeyClient::connect`]; with [`Startup::Degrade`] a server that cannot be reached is none.
    pub async fn connect(self) -> Result<ValkeyClient, CacheError> {
        self.tracking.check()?;
        let feed = Feed::new(self.tracking);
        let credentials = match self.credentials {
            Some(source) => source,
            None => from_config(self.config)?,
        };
        let (config, startup) = (self.config, self.startup);
        let (router, dialer) = connect(config, credentials, self.resolve, startup, feed, self.wire).await?;
        Ok(ValkeyClient::new(config, router, &dialer))
    }
}

impl ValkeyClient {
    fn new(config: &ValkeyConfig, router: Router, dialer: &Arc<Dialer>) -> Self {
        Self {
            administration: Administration::new(router.clone(), Arc::clone(dialer), config.read_timeout),
            router,
            feed: Arc::clone(dialer.feed()),
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
