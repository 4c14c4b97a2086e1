//! Connects as a configuration says and returns a ready router.

use std::sync::Arc;
use std::time::Duration;

use cache_core::config::{Address, PasswordFile, ReadFrom, SentinelTls, Startup, Topology, ValkeyConfig};
use cache_core::credentials::{Credentials, CredentialsSource, FileCredentials, FixedCredentials};
use cache_core::{CacheError, ConfigError, Secret};

use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::dial::{Access, Announced, Dialer, Mode};
use crate::node::Node;
use crate::primary_discovery::{ConfiguredAddresses, Discovery, RoleSource, discover};
use crate::resolve::Resolve;
use crate::router::Router;
use crate::sentinel::Sentinels;
use crate::single::Single;
use crate::startup::tolerate;
use crate::tracking::Feed;
use crate::wire::Wire;

/// How much longer startup waits than one connection attempt may take, so that startup ends with the
/// attempt's own error instead of a timeout at the same moment.
const STARTUP_MARGIN: Duration = Duration::from_millis(250);

/// Connection options that are not part of the configuration.
pub(crate) struct DialOptions {
    pub(crate) credentials: Arc<dyn CredentialsSource>,
    pub(crate) resolve: Arc<dyn Resolve>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) wire: Wire,
    /// How long a connection beyond a node's first one may be unused.
    pub(crate) idle: Duration,
}

/// Connects as `config` says. The returned dialer connects to data nodes.
pub(crate) async fn connect(
    config: &ValkeyConfig,
    options: DialOptions,
    startup: Startup,
) -> Result<(Router, Arc<Dialer>), CacheError> {
    let DialOptions {
        credentials,
        resolve,
        feed,
        wire,
        idle,
    } = options;
    let announced = Arc::new(Announced::default());
    let dialer = Dialer::new(
        config,
        Access {
            tls: config.tls.as_ref(),
            db: config.topology.db(),
            credentials,
            announced: Arc::clone(&announced),
        },
        Arc::clone(&resolve),
        Arc::clone(&feed),
        wire,
    )?;
    let dialer = Arc::new(dialer.close_idle_after(idle));
    let router = match &config.topology {
        Topology::Single { addresses, .. } => {
            Router::Single(connect_single(config, addresses, &dialer, startup).await?)
        }
        Topology::Cluster { seeds, .. } => {
            if seeds.is_empty() {
                return Err(no_address());
            }
            Router::Cluster(Cluster::connect(config, seeds.clone(), Arc::clone(&dialer), startup).await?)
        }
        Topology::Sentinel {
            sentinels,
            master,
            username,
            password,
            ..
        } => {
            if sentinels.is_empty() {
                return Err(no_address());
            }
            let tls = match &config.sentinel_tls {
                SentinelTls::AsServers => config.tls.as_ref(),
                SentinelTls::Own(tls) => Some(tls),
                _ => None,
            };
            let file = config.sentinel_password_file.as_ref();
            let access = Access {
                tls,
                db: 0,
                credentials: from_password(username.clone(), password.as_ref(), file),
                announced,
            };
            let sentinel_dialer = Dialer::new(config, access, resolve, feed, wire)?.for_sentinels();
            let sentinels = Sentinels::new(sentinels.clone(), master.clone(), sentinel_dialer);
            Router::Single(connect_through_sentinels(config, sentinels, &dialer, startup).await?)
        }
        _ => {
            return Err(CacheError::Unsupported {
                detail: "this topology is not known to the Valkey client".into(),
            });
        }
    };
    Ok((router, dialer))
}

/// The credentials of a configuration: none, a password, or a password file.
pub(crate) fn from_password(
    username: Option<String>,
    password: Option<&Secret>,
    file: Option<&PasswordFile>,
) -> Arc<dyn CredentialsSource> {
    let password = password.cloned();
    match file {
        Some(file) => {
            let password = password.unwrap_or_else(|| Secret::new(String::new()));
            Arc::new(FileCredentials::new(username, password, file.clone()))
        }
        None => {
            let fixed = password.map(|password| Credentials::fixed(username, password));
            Arc::new(FixedCredentials::new(fixed))
        }
    }
}

async fn connect_single(
    config: &ValkeyConfig,
    addresses: &[Address],
    dialer: &Arc<Dialer>,
    startup: Startup,
) -> Result<Arc<Single>, CacheError> {
    let (first, others) = addresses.split_first().ok_or_else(no_address)?;
    let primary = Node::new(first.clone(), Mode::Primary, Arc::clone(dialer));
    let single = Arc::new(Single::new(
        Some(Arc::clone(&primary)),
        config.read_from,
        config.max_retries,
        Arc::clone(dialer.feed()),
    ));
    let connected = primary
        .connect(Deadline::after(config.dial_timeout + STARTUP_MARGIN))
        .await;
    if others.is_empty() {
        tolerate(startup, connected)?;
        if config.read_from == ReadFrom::Primary {
            return Ok(single);
        }
        let found = discover(
            &single,
            &RoleSource::Primary,
            dialer,
            Deadline::after(config.dial_timeout),
        )
        .await;
        tolerate(startup, found)?;
        single.start_discovery(Discovery::new(RoleSource::Primary, dialer));
    } else {
        // An error that needs a correction would be the same at the other addresses.
        if let Err(error) = &connected
            && !error.is_transient()
        {
            return connected.map(|()| single);
        }
        let source = RoleSource::Addresses(ConfiguredAddresses::new(addresses.to_vec()));
        let found = discover(&single, &source, dialer, Deadline::after(config.dial_timeout)).await;
        let is_elsewhere = found.is_ok() && !Arc::ptr_eq(&single.primary()?, &primary);
        tolerate(startup, if is_elsewhere { Ok(()) } else { connected })?;
        single.start_discovery(Discovery::new(source, dialer));
    }
    Ok(single)
}

async fn connect_through_sentinels(
    config: &ValkeyConfig,
    sentinels: Sentinels,
    dialer: &Arc<Dialer>,
    startup: Startup,
) -> Result<Arc<Single>, CacheError> {
    let single = Arc::new(Single::new(
        None,
        config.read_from,
        config.max_retries,
        Arc::clone(dialer.feed()),
    ));
    let source = RoleSource::Sentinels(Box::new(sentinels));
    tolerate(
        startup,
        discover(&single, &source, dialer, Deadline::after(config.dial_timeout)).await,
    )?;
    single.start_discovery(Discovery::new(source, dialer));
    Ok(single)
}

fn no_address() -> CacheError {
    CacheError::Config(ConfigError::one(
        "CACHE_ADDRS",
        "missing; expected host:port, several separated by commas",
    ))
}
