//! From a configuration to a router that is ready.

use std::sync::Arc;
use std::time::Duration;

use cache_core::config::{Address, PasswordFile, ReadFrom, SentinelTls, Startup, Topology, ValkeyConfig};
use cache_core::credentials::{Credentials, CredentialsSource, FileCredentials, FixedCredentials};
use cache_core::{CacheError, ConfigError, Secret};

use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::dial::{Access, Announced, Dialer, Mode};
use crate::follow::{Guide, follow, look};
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

/// Connects as `config` says; the dialer is for the data nodes.
pub(crate) async fn connect(
    config: &ValkeyConfig,
    credentials: Arc<dyn CredentialsSource>,
    resolve: Arc<dyn Resolve>,
    startup: Startup,
    feed: Arc<Feed>,
    wire: Wire,
) -> Result<(Router, Arc<Dialer>), CacheError> {
    let announced = Arc::new(Announced::default());
    let dialer = Arc::new(Dialer::new(
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
    )?);
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
            let asking = Dialer::new(config, access, resolve, feed, wire)?;
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
    tolerate(
        startup,
        primary
            .connect(Deadline::after(config.dial_timeout + VERDICT))
            .await,
    )?;
    if primary.greeting().cluster {
        return Err(CacheError::Config(ConfigError::one(
            "CACHE_MODE",
            format!("{first} is a node of a cluster; set CACHE_MODE=cluster"),
        )));
    }
    if config.read_from == ReadFrom::Primary {
        return Ok(single);
    }
    if others.is_empty() {
        let found = look(
            &single,
            &Guide::Primary,
            dialer,
            Deadline::after(config.dial_timeout),
        )
        .await;
        tolerate(startup, found)?;
        tokio::spawn(follow(
            Arc::downgrade(&single),
            Guide::Primary,
            Arc::clone(dialer),
        ));
    } else {
        let replicas = others
            .iter()
            .map(|address| Node::new(address.clone(), Mode::Replica, Arc::clone(dialer)));
        single.set_replicas(replicas.collect());
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
    tokio::spawn(follow(Arc::downgrade(&single), guide, Arc::clone(dialer)));
    Ok(single)
}

fn no_address() -> CacheError {
    CacheError::Config(ConfigError::one(
        "CACHE_ADDRS",
        "missing; expected host:port, several separated by commas",
    ))
}
