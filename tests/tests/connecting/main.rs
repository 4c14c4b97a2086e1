//! How clients get at servers: files of secrets that change, sentinels with users and TLS of their own, addresses that
//! are reachable elsewhere, certificates that people make, databases of clusters. Against real servers.

mod announced;
mod certificate_files;
mod databases;
mod denied;
mod files;
mod load;
mod password_file;
mod sentinels;
mod words;

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::{Address, ClientIdentity, TlsConfig, Topology, ValkeyConfig};
use tests::{Identity, Server, until};

/// How long a test waits for what must come: generous, because only its absence is a failure.
const LIMIT: Duration = Duration::from_secs(60);

fn address(text: &str) -> Result<Address> {
    text.parse().with_context(|| format!("{text} is no address"))
}

fn single(server: &Server) -> Result<ValkeyConfig> {
    Ok(ValkeyConfig::new(Topology::single(address(&server.address())?)))
}

/// TLS that trusts `ca` and shows `identity`.
fn tls(ca: &str, identity: Option<&Identity>) -> TlsConfig {
    let mut config = TlsConfig::new().with_ca_pem(ca);
    if let Some(identity) = identity {
        config = config.with_identity(ClientIdentity {
            certificate_pem: identity.certificate.as_bytes().to_vec(),
            key_pem: identity.key.as_bytes().to_vec().into(),
        });
    }
    config
}

/// The connections over the network, by their numbers, which rise.
async fn connections(server: &Server) -> Result<Vec<u64>> {
    let list = server.call(&["CLIENT", "LIST"]).await?.text();
    let clients = list.lines().filter(|line| line.contains(" addr=127."));
    clients
        .map(|line| {
            let id = line.split(' ').find_map(|word| word.strip_prefix("id="));
            Ok(id.context("no id")?.parse()?)
        })
        .collect()
}

/// Waits until every connection that is open now has been replaced by one that was opened after this call.
async fn until_replaced(server: &Server, why: &str) -> Result<()> {
    let newest = connections(server).await?.into_iter().max().unwrap_or(0);
    until(LIMIT, why, || async {
        let open = connections(server).await?;
        Ok((!open.is_empty() && open.iter().all(|id| *id > newest)).then_some(()))
    })
    .await
}
