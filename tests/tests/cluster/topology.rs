//! Where the router gets its topology from, and which nodes it reads from.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use cache_core::config::{Address, Authentication, ReadFrom};
use cache_core::slot::slot_of;
use cache_core::{CacheClient, CacheError, Ttl};
use cache_valkey::{Resolve, ValkeyClient};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};

use crate::{LIMIT, address, config, connect, expect_all, keys, store_all};

#[tokio::test]
async fn any_one_address_is_enough_and_lists_keep_their_order_over_all_shards() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let keys = keys(300);
    // A primary, and a replica of another one.
    for node in [0, 4] {
        let client = connect(cluster.node(node)).await?;
        store_all(&*client, &keys).await?;
        expect_all(&*client, &keys).await?;
        let twice = ["key:7", "absent", "key:7", "key:8"];
        let found = client.get_many(&twice).await?;
        assert_eq!(found[0], found[2]);
        assert_eq!(found[1], None);
        assert_eq!(found[3].as_deref(), Some(&b"key:8"[..]));
        assert_eq!(client.exists(&twice).await?, 3);
        client.ping().await?;
        let all: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert_eq!(client.del(&all).await?, 300);
        client.close().await?;
        assert!(matches!(client.get("key:7").await, Err(CacheError::Closed)));
    }
    Ok(())
}

#[tokio::test]
async fn a_name_with_several_addresses_of_which_some_are_dead_leads_to_the_cluster() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut addresses = vec![nobody];
    addresses.extend(
        cluster
            .nodes()
            .iter()
            .map(|node| SocketAddr::new(node.host(), node.port())),
    );
    let config = config(vec![Address::new("endpoint.test", 6379)]);
    let client = ValkeyClient::builder(&config)
        .resolver(Arc::new(Names(addresses)))
        .connect()
        .await?;
    store_all(&client, &keys(30)).await?;
    expect_all(&client, &keys(30)).await
}

#[tokio::test]
async fn nodes_that_go_by_host_names_and_nodes_that_do_not_say_who_they_are_are_found() -> Result<()> {
    let keys = keys(60);
    for preference in ["hostname", "unknown-endpoint"] {
        let node = ServerOptions::new(Version::Valkey8)
            .line(format!("cluster-preferred-endpoint-type {preference}"));
        let mut options = ClusterOptions::new(3, 0).node(node);
        for index in 0..3 {
            options = options.line_for(index, format!("cluster-announce-hostname n{index}.node.test"));
        }
        let cluster = Cluster::start(options).await?;
        let config = config(vec![address(cluster.node(1))]);
        let client = until(LIMIT, "every node to know the others' names", || async {
            let resolver = Arc::new(Names(Vec::new()));
            let client = ValkeyClient::builder(&config)
                .resolver(resolver)
                .connect()
                .await?;
            let view = client.administration().topology().await?;
            let named = view
                .nodes
                .iter()
                .all(|node| node.address.host.ends_with(".node.test"));
            Ok((named == (preference == "hostname")).then_some(client))
        })
        .await?;
        store_all(&client, &keys).await?;
        expect_all(&client, &keys).await?;
        // Redirections carry the same names.
        let slot = slot_of(b"key:1");
        let from = cluster.primary_of(slot).await?;
        cluster.move_slot(slot, from, (from + 1) % 3).await?;
        expect_all(&client, &keys).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_no_cluster_is_a_clear_error() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let error = ValkeyClient::connect(&config(vec![address(&server)]))
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::Config(_)), "{error:?}");
    assert!(error.to_string().contains("CACHE_MODE=single"), "{error}");
    Ok(())
}

#[tokio::test]
async fn reads_go_to_replicas_where_asked_and_fall_back_only_where_allowed() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let with = |read_from| {
        let mut config = config(vec![address(cluster.node(0))]);
        config.read_from = read_from;
        config
    };
    let strict = ValkeyClient::connect(&with(ReadFrom::Replica)).await?;
    let lenient = ValkeyClient::connect(&with(ReadFrom::PreferReplica)).await?;
    let keys = keys(30);
    store_all(&strict, &keys).await?;
    until(LIMIT, "the replicas to have the keys", || async {
        expect_all(&strict, &keys).await?;
        expect_all(&lenient, &keys).await?;
        // A replica is not named before its primary has heard from it; looking anew finds it at once.
        let known = lenient.administration().topology().await?.nodes.len();
        Ok((known == 6).then_some(()))
    })
    .await?;

    let slot = slot_of(b"key:1");
    let primary = cluster.primary_of(slot).await?;
    let replica = cluster.replicas_of(primary).await?[0];
    let before = hits(cluster.node(replica)).await?;
    for _ in 0..10 {
        strict.get("key:1").await?;
        lenient.get("key:1").await?;
    }
    assert_eq!(
        hits(cluster.node(replica)).await? - before,
        20,
        "not every read went to the replica"
    );

    cluster.kill(replica)?;
    expect_all(&lenient, &keys).await?;
    until(LIMIT, "the replica to be known as gone", || async {
        Ok(strict.get("key:1").await.is_err().then_some(()))
    })
    .await?;
    let error = strict.get("key:1").await.unwrap_err();
    assert!(matches!(error, CacheError::Unavailable { .. }), "{error:?}");
    assert!(
        strict
            .set("key:1", "still written".into(), Ttl::Forever)
            .await
            .is_ok()
    );
    Ok(())
}

#[tokio::test]
async fn a_user_who_may_ask_for_the_slots_only_is_served_all_the_same() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey8).user("app on >quiet ~* &* +@all -cluster +cluster|slots");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let mut config = config(vec![address(cluster.node(0))]);
    config.authentication = Authentication::Password {
        username: Some("app".to_owned()),
        password: "quiet".into(),
    };
    let client = ValkeyClient::connect(&config).await?;
    store_all(&client, &keys(60)).await?;
    expect_all(&client, &keys(60)).await?;
    assert_eq!(client.administration().topology().await?.epoch, None);
    Ok(())
}

/// A name service with one entry.
#[derive(Debug)]
struct Names(Vec<SocketAddr>);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        // Names of nodes say which one they mean, the endpoint means all of them.
        match host.strip_suffix(".node.test") {
            Some(_) => Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), port)]),
            None if host == "endpoint.test" => Ok(self.0.clone()),
            None => Err(io::Error::other(format!("no such name: {host}"))),
        }
    }
}

/// How many reads of keys a server has answered.
async fn hits(server: &Server) -> Result<u64> {
    let text = server.call(&["INFO", "stats"]).await?.text();
    let line = text.lines().find_map(|line| line.strip_prefix("keyspace_hits:"));
    Ok(line.context("no such line")?.trim().parse()?)
}
