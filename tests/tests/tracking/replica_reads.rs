//! Replicas answer reads, but none that is tracked: a primary does not watch what its replicas read.

use anyhow::Result;
use cache_core::config::ReadFrom;
use cache_core::{CacheClient, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};

use crate::cluster::config;
use crate::listener::{Heard, LIMIT, address, read, single};

#[tokio::test]
async fn what_is_tracked_is_read_from_the_primary() -> Result<()> {
    let primary = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let replica = Server::start(ServerOptions::new(Version::Valkey8).replica_of(&primary)).await?;
    until(LIMIT, "the replica to follow", || async {
        Ok((replica.info("master_link_status").await? == "up").then_some(()))
    })
    .await?;
    for read_from in [ReadFrom::Replica, ReadFrom::PreferReplica] {
        let mut config = single(&primary.address())?;
        if let cache_core::config::Topology::Single { addresses, .. } = &mut config.topology {
            addresses.push(address(&replica.address())?);
        }
        config.read_from = read_from;
        let client = ValkeyClient::connect(&config).await?;
        let heard = Heard::of(&client)?;
        client.set("key", "1".into(), Ttl::Forever).await?;
        read(&client, "key").await?;
        heard.clear();
        primary.call(&["SET", "key", "2"]).await?;
        heard.wait_for_key("key").await?;
        assert_eq!(client.get_entry("key").await?.value, "2");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_primary_is_down_a_replica_answers_untracked() -> Result<()> {
    // With a node timeout that nobody waits for: there is no failover.
    let options = ClusterOptions::new(1, 1).node_timeout(std::time::Duration::from_secs(600));
    let cluster = Cluster::start(options).await?;
    // A replica is not listed before it has copied anything.
    cluster.node(0).call(&["SET", "key", "1"]).await?;
    until(LIMIT, "the replica to be listed", || async {
        let slots = cluster.node(0).call(&["CLUSTER", "SLOTS"]).await?;
        let replicas = slots.items().first().map_or(0, |range| range.items().len());
        Ok((replicas == 4).then_some(()))
    })
    .await?;
    let mut config = config(&cluster)?;
    config.read_from = ReadFrom::Replica;
    let client = ValkeyClient::connect(&config).await?;
    let _heard = Heard::of(&client)?;
    read(&client, "key").await?;
    cluster.kill(0)?;
    let entry = until(LIMIT, "the replica to answer", || async {
        Ok(Some(client.get_entry("key").await?))
    })
    .await?;
    assert_eq!((&entry.value[..], entry.tracked), (&b"1"[..], false));
    Ok(())
}
