//! The servers that all tests of a run share: started once, by the runner (`cargo xtask test`), which passes
//! their addresses on in one environment variable.
//!
//! Without the runner the first test of a process that asks for a kind starts it, for that process.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::certificates::{Certificates, Identity};
use crate::cluster::{Cluster, ClusterOptions};
use crate::install::Version;
use crate::sentinel::{PRIMARY_NAME, SentinelOptions, SentinelSet};
use crate::server::{Server, ServerOptions, Tls};

/// The variable: a JSON object from [`Kind`] to [`Shared`].
pub const VARIABLE: &str = "TEST_SERVERS";

/// What can be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// One Valkey 8.
    Single,
    /// One Valkey 8 that speaks only TLS; a client certificate is welcome.
    Tls,
    /// A primary, two replicas and three sentinels, Valkey 8.
    Sentinel,
    /// Three primaries with a replica each, Valkey 8.
    Cluster,
    /// Three primaries, Valkey 8, only TLS.
    ClusterTls,
    /// One Valkey 9.
    Valkey9,
    /// Three primaries, Valkey 9.
    Valkey9Cluster,
    /// One Redis 6.2.
    Redis6,
    /// One Redis 7.0.
    Redis7,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Single,
        Self::Tls,
        Self::Sentinel,
        Self::Cluster,
        Self::ClusterTls,
        Self::Valkey9,
        Self::Valkey9Cluster,
        Self::Redis6,
        Self::Redis7,
    ];
}

/// Where shared servers are and what a client needs to use them. They ask for no password.
///
/// Other tests use them at the same time: take keys of your own, and never flush, kill or reconfigure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shared {
    /// `host:port` of each server; of the sentinels, where there are any.
    pub addresses: Vec<String>,
    /// What runs there.
    pub version: Version,
    /// The authority to trust, PEM, where TLS is spoken.
    pub ca: Option<String>,
    /// A client certificate that is welcome there.
    pub client: Option<Identity>,
    /// The name to ask the sentinels for.
    pub sentinel_primary: Option<String>,
}

/// Servers started for sharing; they run until this is dropped.
#[derive(Debug)]
pub struct Running {
    shared: Shared,
    _servers: Servers,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for the sake of being dropped")]
enum Servers {
    Single(Server),
    Cluster(Cluster),
    Sentinel(SentinelSet),
}

impl Running {
    /// Starts what `kind` says.
    ///
    /// # Errors
    ///
    /// When a server cannot be had or does not come up.
    pub async fn start(kind: Kind) -> Result<Self> {
        let version = match kind {
            Kind::Valkey9 | Kind::Valkey9Cluster => Version::Valkey9,
            Kind::Redis6 => Version::Redis6,
            Kind::Redis7 => Version::Redis7,
            Kind::Single | Kind::Tls | Kind::Sentinel | Kind::Cluster | Kind::ClusterTls => Version::Valkey8,
        };
        let mut node = ServerOptions::new(version);
        let mut certificates = None;
        if matches!(kind, Kind::Tls | Kind::ClusterTls) {
            let made = Certificates::generate()?;
            node = node.tls(Tls::new(&made));
            certificates = Some(made);
        }
        let (servers, addresses) = match kind {
            Kind::Single | Kind::Tls | Kind::Valkey9 | Kind::Redis6 | Kind::Redis7 => {
                let server = Server::start(node).await?;
                let address = server.address();
                (Servers::Single(server), vec![address])
            }
            Kind::Cluster | Kind::ClusterTls | Kind::Valkey9Cluster => {
                let replicas = usize::from(kind == Kind::Cluster);
                let cluster = Cluster::start(ClusterOptions::new(3, replicas).node(node)).await?;
                let addresses = cluster.addresses();
                (Servers::Cluster(cluster), addresses)
            }
            Kind::Sentinel => {
                let set = SentinelSet::start(SentinelOptions::new().node(node)).await?;
                let addresses = set.addresses();
                (Servers::Sentinel(set), addresses)
            }
        };
        let shared = Shared {
            addresses,
            version,
            ca: certificates.as_ref().map(|certificates| certificates.ca.clone()),
            client: certificates.map(|certificates| certificates.client),
            sentinel_primary: (kind == Kind::Sentinel).then(|| PRIMARY_NAME.to_owned()),
        };
        Ok(Self {
            shared,
            _servers: servers,
        })
    }

    /// Where they are.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// The shared servers of that kind: the runner's, else this process's own, started on first use.
///
/// # Errors
///
/// When they have to be started and cannot be, or [`VARIABLE`] is set to something else.
pub async fn shared(kind: Kind) -> Result<Shared> {
    static OWN: [OnceCell<Running>; Kind::ALL.len()] = [const { OnceCell::const_new() }; Kind::ALL.len()];
    #[expect(
        clippy::disallowed_methods,
        reason = "set by the test runner; no setting of the cache"
    )]
    if let Ok(text) = std::env::var(VARIABLE) {
        let mut all: HashMap<Kind, Shared> = serde_json::from_str(&text)
            .with_context(|| format!("{VARIABLE} is not what the runner writes"))?;
        if let Some(found) = all.remove(&kind) {
            return Ok(found);
        }
    }
    Ok(OWN[kind as usize]
        .get_or_try_init(|| Running::start(kind))
        .await?
        .shared()
        .clone())
}
