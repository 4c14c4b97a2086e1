//! Configurations of clients for the servers that tests start.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::CacheError;
use cache_core::config::{Address, Authentication, ClientIdentity, TlsConfig, Topology, ValkeyConfig};
use cache_valkey::ValkeyClient;
use tests::sentinel::PRIMARY_NAME;
use tests::{Identity, SentinelSet};

/// How long a test waits for what must come: generous, because only its absence is a failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// `host:port` as an address.
pub(crate) fn address(text: &str) -> Result<Address> {
    let (host, port) = text.rsplit_once(':').context("no port")?;
    Ok(Address::new(host, port.parse()?))
}

/// A single server.
pub(crate) fn single(server: &str) -> Result<ValkeyConfig> {
    Ok(ValkeyConfig::new(Topology::Single {
        addresses: vec![address(server)?],
        db: 0,
    }))
}

/// What sentinels at these addresses watch.
pub(crate) fn watched(sentinels: &[String]) -> Result<ValkeyConfig> {
    Ok(ValkeyConfig::new(Topology::Sentinel {
        sentinels: sentinels
            .iter()
            .map(|text| address(text))
            .collect::<Result<_>>()?,
        master: PRIMARY_NAME.to_owned(),
        username: None,
        password: None,
        db: 0,
    }))
}

/// A client of what `set` watches.
pub(crate) async fn watching(set: &SentinelSet) -> Result<Arc<ValkeyClient>> {
    Ok(Arc::new(
        ValkeyClient::connect(&watched(&set.addresses())?).await?,
    ))
}

/// A user name and a password.
pub(crate) fn login(username: Option<&str>, password: &str) -> Authentication {
    Authentication::Password {
        username: username.map(str::to_owned),
        password: password.to_owned().into(),
    }
}

/// TLS that trusts `ca` and shows `identity`.
pub(crate) fn tls(ca: Option<&str>, identity: Option<&Identity>) -> TlsConfig {
    let mut config = TlsConfig::new();
    if let Some(pem) = ca {
        config = config.with_ca_pem(pem);
    }
    if let Some(identity) = identity {
        config = config.with_identity(ClientIdentity {
            certificate_pem: identity.certificate.as_bytes().to_vec(),
            key_pem: identity.key.as_bytes().to_vec().into(),
        });
    }
    config
}

/// All that an error can show: its text, its debug form, and the same of every cause.
pub(crate) fn everything(error: &CacheError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}
