//! Addresses that lead to another node than before: of the same cluster, of one that was set up again, of none.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use cache_core::config::{Address, Authentication};
use cache_core::slot::slot_of;
use cache_core::{CacheClient, CacheError, Ttl, clock};
use cache_valkey::{Resolve, ValkeyClient};
use tests::{Cluster, ClusterOptions, Proxy, Server, ServerOptions, Version, until};

use crate::{LIMIT, address, config};

/// How soon after a name has changed a write succeeds, and what a busy machine may add.
const SOON: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(500);

/// The port that all nodes announce; the name service knows the real ones.
const PORT: u16 = 7000;

/// A name service that a test steers.
#[derive(Debug, Default)]
struct Names(Mutex<HashMap<String, SocketAddr>>);

impl Names {
    fn lead(&self, name: &str, to: &str) -> Result<()> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned(), to.parse()?);
        Ok(())
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = names.get(host).copied();
        found
            .map(|found| vec![found])
            .ok_or_else(|| io::Error::other(host.to_owned()))
    }
}

/// A key of a slot of the last third, which node 2 serves at first.
fn key() -> String {
    let keys = (0..).map(|number| format!("key:{number}"));
    keys.filter(|key| slot_of(key.as_bytes()) > 11_000)
        .take(1)
        .collect()
}

/// A cluster of three whose nodes go by names and one port, with a fourth one to come under the name of node 2.
async fn named() -> Result<Cluster> {
    let node = ServerOptions::new(Version::Valkey8).line("cluster-preferred-endpoint-type hostname");
    let mut options = ClusterOptions::new(3, 0).node(node);
    for (index, name) in ["n0", "n1", "n2", "n2"].iter().enumerate() {
        options = options
            .line_for(index, format!("cluster-announce-hostname {name}.test"))
            .line_for(index, format!("cluster-announce-port {PORT}"));
    }
    Cluster::start(options).await
}

/// Waits until each node knows that the others have names.
async fn names_are_known(cluster: &Cluster) -> Result<()> {
    until(LIMIT, "every node to know the others' names", || async {
        for node in cluster.nodes() {
            let nodes = node.call(&["CLUSTER", "NODES"]).await?.text();
            let named = nodes.lines().filter(|line| line.contains(".test"));
            if named.count() != cluster.nodes().len() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

async fn client(cluster: &Cluster, names: &Arc<Names>) -> Result<ValkeyClient> {
    names_are_known(cluster).await?;
    let config = config(vec![Address::new("n0.test", PORT)]);
    let client = ValkeyClient::builder(&config).resolver(Arc::clone(names) as Arc<dyn Resolve>);
    Ok(client.connect().await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_replaced_behind_its_name_is_found_again() -> Result<()> {
    let mut cluster = named().await?;
    let names = Arc::new(Names::default());
    for index in 0..2 {
        names.lead(&format!("n{index}.test"), &cluster.addresses()[index])?;
    }
    let old = Proxy::start(cluster.addresses()[2].clone()).await?;
    names.lead("n2.test", &old.address())?;
    let client = client(&cluster, &names).await?;
    let key = key();
    client.set(&key, "1".into(), Ttl::Forever).await?;

    // Another server takes over all slots; the old one stays, and knows its heir by the name that they share.
    let heir = cluster.add_node().await?;
    names_are_known(&cluster).await?;
    let (former, node) = (cluster.node(2), cluster.node(heir));
    former.call(&["FLUSHALL"]).await?;
    node.call(&["CLUSTER", "BUMPEPOCH"]).await?;
    for server in [former, node] {
        server
            .call(&["CLUSTER", "DELSLOTSRANGE", "10922", "16383"])
            .await?;
    }
    node.call(&["CLUSTER", "ADDSLOTSRANGE", "10922", "16383"]).await?;
    cluster.wait_until_ok().await?;
    let (began, dials) = (clock::now(), old.accepted());
    let error = until(LIMIT, "three seconds with the old address", || async {
        let error = client.set(&key, "2".into(), Ttl::Forever).await.err();
        Ok(error.filter(|_| began.elapsed() > Duration::from_secs(3)))
    })
    .await?;
    assert!(error.is_transient(), "{error}");
    let dialled = old.accepted() - dials;
    let took = began.elapsed();
    names.lead("n2.test", &node.address())?;
    let changed = clock::now();
    let served = until(LIMIT, "a write to succeed", || async {
        client.set(&key, "3".into(), Ttl::Forever).await?;
        Ok(Some(changed.elapsed()))
    })
    .await?;
    println!("served {served:?} after the name changed; {dialled} dials to the old server in {took:?}");
    assert!(served < SOON + SLACK, "{served:?}");
    // One per second, for the connection of the calls and for that of the survey.
    assert!(
        u64::try_from(dialled)? <= took.as_secs() + 2,
        "{dialled} dials in {took:?}"
    );
    assert_eq!(node.call(&["GET", &key]).await?.text(), "3");
    Ok(())
}

/// A redirection to the address that was asked, as of a server that has left the cluster and remembers its heir.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_redirects_to_its_own_address_is_given_up() -> Result<()> {
    let cluster = named().await?;
    let names = Arc::new(Names::default());
    for index in 0..2 {
        names.lead(&format!("n{index}.test"), &cluster.addresses()[index])?;
    }
    // At first the name of node 2 leads to node 1, which knows it by that name.
    let wrong = Proxy::start(cluster.addresses()[1].clone()).await?;
    names.lead("n2.test", &wrong.address())?;
    let client = client(&cluster, &names).await?;
    let key = key();
    let error = client.set(&key, "1".into(), Ttl::Forever).await.unwrap_err();
    assert!(
        error.to_string().contains("n2.test:7000 now leads to node"),
        "{error}"
    );
    names.lead("n2.test", &cluster.addresses()[2])?;
    let changed = clock::now();
    until(LIMIT, "a write to succeed", || async {
        client.set(&key, "2".into(), Ttl::Forever).await?;
        Ok(Some(()))
    })
    .await?;
    assert!(changed.elapsed() < SOON + SLACK, "{:?}", changed.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_set_up_again_at_the_same_addresses_is_found_again() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let seeds = cluster.nodes().iter().map(address).collect();
    let client = ValkeyClient::connect(&config(seeds)).await?;
    client.set("before", "1".into(), Ttl::Forever).await?;
    // Every node gets another id and forgets the others; then they meet again.
    for node in cluster.nodes() {
        node.call(&["FLUSHALL"]).await?;
        node.call(&["CLUSTER", "RESET", "HARD"]).await?;
    }
    for (index, node) in cluster.nodes().iter().enumerate() {
        let (first, last) = (index * 5_462, ((index + 1) * 5_462 - 1).min(16_383));
        let range = [first.to_string(), last.to_string()];
        node.call(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]])
            .await?;
    }
    cluster.acquaint().await?;
    // New connections find other nodes than before.
    for node in cluster.nodes() {
        node.call(&["CLIENT", "KILL", "TYPE", "normal"]).await.ok();
    }
    let began = clock::now();
    until(
        LIMIT,
        "the client to take the new cluster for its own",
        || async {
            for number in 0..30 {
                client
                    .set(&format!("after:{number}"), "1".into(), Ttl::Forever)
                    .await?;
            }
            Ok(Some(()))
        },
    )
    .await?;
    println!("found again after {:?}", began.elapsed());
    client.ping().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_ask_for_node_ids_is_kept_from_another_cluster_too() -> Result<()> {
    let node =
        || ServerOptions::new(Version::Valkey8).user("app on >quiet ~* &* +@all -cluster +cluster|slots");
    let ours = Cluster::start(ClusterOptions::new(3, 1).node(node())).await?;
    let theirs = Cluster::start(ClusterOptions::new(3, 0).node(node())).await?;
    let mut config = config(vec![address(ours.node(0))]);
    config.authentication = Authentication::Password {
        username: Some("app".to_owned()),
        password: "quiet".into(),
    };
    let client = ValkeyClient::connect(&config).await?;
    let key = key();
    client.set(&key, "ours".into(), Ttl::Forever).await?;
    let place = SocketAddr::from((ours.node(2).host(), ours.node(2).port()));
    ours.kill(2)?;
    let target = theirs.node(2).address();
    let impostor = until(LIMIT, "the port to be free", || async {
        Ok(Some(Proxy::start_at(place, target.clone()).await?))
    })
    .await?;
    until(LIMIT, "the heir to serve", || async {
        client.set(&key, "ours".into(), Ttl::Forever).await?;
        Ok(Some(()))
    })
    .await?;
    assert!(impostor.accepted() > 0, "nothing was tried");
    assert_eq!(theirs.keys().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_server_of_another_kind_at_a_known_address_is_not_used() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let other = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = ValkeyClient::connect(&config(vec![address(cluster.node(0))])).await?;
    let key = key();
    client.set(&key, "1".into(), Ttl::Forever).await?;
    let place = SocketAddr::from((cluster.node(2).host(), cluster.node(2).port()));
    cluster.kill(2)?;
    let _impostor = until(LIMIT, "the port to be free", || async {
        Ok(Some(Proxy::start_at(place, other.address()).await?))
    })
    .await?;
    let error = until(LIMIT, "the server to be seen", || async {
        let error = client
            .set(&key, "2".into(), Ttl::Forever)
            .await
            .err()
            .context("a write succeeded")?;
        Ok(error.to_string().contains("now leads to").then_some(error))
    })
    .await?;
    assert!(matches!(error, CacheError::Unavailable { .. }), "{error:?}");
    assert_eq!(other.call(&["DBSIZE"]).await?.integer(), Some(0));
    Ok(())
}
