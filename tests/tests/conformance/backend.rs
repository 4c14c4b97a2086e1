//! Clients of the shared servers.

#![expect(clippy::expect_used, reason = "servers that are not there end the test")]

use std::sync::Arc;

use cache_core::config::{Address, ClientIdentity, TlsConfig, Topology, ValkeyConfig};
use cache_valkey::{ValkeyClient, Wire};
use tests::{Kind, Shared, shared};

/// Connects to the shared servers of that kind. A cluster is given by ONE address.
pub(crate) async fn connect(kind: Kind) -> Arc<ValkeyClient> {
    connect_over(kind, Wire::default()).await
}

/// As [`connect`], with this implementation of the wire.
pub(crate) async fn connect_over(kind: Kind, wire: Wire) -> Arc<ValkeyClient> {
    let servers = shared(kind).await.expect("the shared servers start");
    let client = ValkeyClient::builder(&config(kind, &servers))
        .wire(wire)
        .connect()
        .await
        .expect("the client connects");
    Arc::new(client)
}

pub(crate) fn config(kind: Kind, servers: &Shared) -> ValkeyConfig {
    let addresses: Vec<_> = servers.addresses.iter().map(|text| address(text)).collect();
    let topology = match kind {
        Kind::Sentinel => Topology::Sentinel {
            sentinels: addresses,
            master: servers
                .sentinel_primary
                .clone()
                .expect("sentinels watch a primary"),
            username: None,
            password: None,
            db: 0,
        },
        Kind::Cluster | Kind::ClusterTls | Kind::Valkey9Cluster => {
            Topology::cluster(addresses.into_iter().take(1))
        }
        Kind::Single | Kind::Tls | Kind::Valkey9 | Kind::Redis6 | Kind::Redis7 => {
            Topology::Single { addresses, db: 0 }
        }
    };
    let mut config = ValkeyConfig::new(topology);
    config.tls = servers.ca.as_ref().map(|ca| {
        let mut tls = TlsConfig::default();
        tls.ca_pem = Some(ca.clone().into_bytes());
        tls.identity = servers.client.as_ref().map(|identity| ClientIdentity {
            certificate_pem: identity.certificate.clone().into_bytes(),
            key_pem: identity.key.clone().into_bytes().into(),
        });
        tls
    });
    config
}

fn address(text: &str) -> Address {
    let (host, port) = text.rsplit_once(':').expect("host:port");
    Address::new(host.trim_matches(['[', ']']), port.parse().expect("a port"))
}
