//! From a configuration to a router that is ready.

use std::sync::Arc;
use std::time::Duration;

use cache_core::config::{Address, PasswordFile, ReadFrom, SentinelTls, Startup, Topology, ValkeyConfig};
use cache_core::credentials::{Credentials, CredentialsSource, FileCredentials, FixedCredentials};
use cache_core::{CacheError, ConfigError, Secret};

use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::dial::{Access, Announced, Dialer, Mode};
use crate::follow::{Configured, Following, Guide, look};
use crate::node::Node;
use crate::resolve::Resolve;
use crate::router::Router;
use crate::sentinel::Sentinels;
use crate::single::Single;
use crate::startup::tolerate;
use crate::tracking::Feed;
use crate::wire::Wire;

/// How much longer a start waits than a try to connect may take: so that it ends with what the try found
/// out, and not at the same moment with less to say.
const VERDICT: Duration = Duration::from_millis(250);

/// What connections are made with, besides the configuration.
pub(crate) struct Dialing {
    pub(crate) credentials: Arc<dyn CredentialsSource>,
    pub(crate) resolve: Arc<dyn Resolve>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) wire: Wire,
    /// How long a connection beyond a node's first one may be unused.
    pub(crate) idle: Duration,
}

/// Connects as `config` says; the dialer is for the data nodes.
pub(crate) async fn connect(
    config: &ValkeyConfig,
    dialing: Dialing,
    startup: Startup,
) -> Result<(Router, Arc<Dialer>), CacheError> {
    let Dialing {
        credentials,
        resolve,
        feed,
        wire,
        idle,
    } = dialing;
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
            Router::Single(single(config, addresses, &dialer, startup).await?)
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
            let asking = Dialer::new(config, access, resolve, feed, wire)?.for_sentinels();
            let sentinels = Sentinels::new(sentinels.clone(), master.clone(), asking);
            Router::Single(watched(config, sentinels, &dialer, startup).await?)
        }
        _ => {
            return Err(CacheError::Unsupported {
                detail: "this topology is not known to the Valkey client".into(),
            });
        }
    };
    Ok((router, dialer))
}

/// The credentials that a configuration holds: a password, which may come from a file, or none.
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

async fn single(
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
        .connect(Deadline::after(config.dial_timeout + VERDICT))
        .await;
    if others.is_empty() {
        tolerate(startup, connected)?;
        if config.read_from == ReadFrom::Primary {
            return Ok(single);
        }
        let found = look(
            &single,
            &Guide::Primary,
            dialer,
            Deadline::after(config.dial_timeout),
        )
        .await;
        tolerate(startup, found)?;
        single.follow(Following::new(Guide::Primary, dialer));
    } else {
        // What has to be corrected does not get better at the other addresses.
        if let Err(error) = &connected
            && !error.is_transient()
        {
            return connected.map(|()| single);
        }
        let guide = Guide::Addresses(Configured::new(addresses.to_vec()));
        let found = look(&single, &guide, dialer, Deadline::after(config.dial_timeout)).await;
        let is_elsewhere = found.is_ok() && !Arc::ptr_eq(&single.primary()?, &primary);
        tolerate(startup, if is_elsewhere { Ok(()) } else { connected })?;
        single.follow(Following::new(guide, dialer));
    }
    Ok(single)
}

async fn watched(
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
    let guide = Guide::Sentinels(Box::new(sentinels));
    tolerate(
        startup,
        look(&single, &guide, dialer, Deadline::after(config.dial_timeout)).await,
    )?;
    single.follow(Following::new(guide, dialer));
    Ok(single)
}

fn no_address() -> CacheError {
    CacheError::Config(ConfigError::one(
        "CACHE_ADDRS",
        "missing; expected host:port, several separated by commas",
    ))
}
