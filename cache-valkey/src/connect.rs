//! From a configuration to a router that is ready.

use std::sync::Arc;
use std::time::Duration;

use cache_core::config::{Address, ReadFrom, Startup, Topology, ValkeyConfig};
use cache_core::credentials::{Credentials, CredentialsSource, FixedCredentials};
use cache_core::{CacheError, ConfigError};

use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::dial::{Dialer, Mode};
use crate::follow::{Configured, Guide, follow, look};
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
    let db = match &config.topology {
        Topology::Single { db, .. } | Topology::Sentinel { db, .. } => *db,
        _ => 0,
    };
    let dialer = Arc::new(Dialer::new(
        config,
        db,
        credentials,
        Arc::clone(&resolve),
        Arc::clone(&feed),
        wire,
    )?);
    let router = match &config.topology {
        Topology::Single { addresses, .. } => {
            Router::Single(single(config, addresses, &dialer, startup).await?)
        }
        Topology::Cluster { seeds } => {
            if seeds.is_empty() {
                return Err(no_address());
            }
            Router::Cluster(Cluster::connect(config, seeds.clone(), Arc::clone(&dialer), startup).await?)
        }
        Topology::Sentinel {
            sentinels,
            master,
            password,
            ..
        } => {
            if sentinels.is_empty() {
                return Err(no_address());
            }
            let known = password
                .as_ref()
                .map(|password| Credentials::fixed(None, password.clone()));
            let asking = Dialer::new(
                config,
                0,
                Arc::new(FixedCredentials::new(known)),
                resolve,
                feed,
                wire,
            )?
            .for_sentinels();
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
        tokio::spawn(follow(
            Arc::downgrade(&single),
            Guide::Primary,
            Arc::clone(dialer),
        ));
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
        tokio::spawn(follow(Arc::downgrade(&single), guide, Arc::clone(dialer)));
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
