//! Servers that are down, lag, serve no slots, or are not of one mind.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_admin::Health;
use cache_core::config::{ReadFrom, Topology};
use tests::{Cluster, ClusterOptions, Server, until};

use super::{LIMIT, cluster, examine, found, only, single, sound, state, valkey};

#[tokio::test]
async fn a_primary_that_was_killed_is_named_by_primaries() -> Result<()> {
    // So that the others go on serving: else the cluster's state is bad as well, and is said to be.
    let node = sound().line("cluster-require-full-coverage no");
    let servers = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    servers.kill(1)?;
    let diagnosis = examine(cluster(&servers.addresses()[..1])?).await?;
    let seen = only(&diagnosis, "primaries", Health::Fail);
    assert!(seen.contains(&servers.addresses()[1]), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_slot_without_an_owner_is_named_by_slots() -> Result<()> {
    let node = sound().line("cluster-require-full-coverage no");
    let servers = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    until(LIMIT, "all nodes to forget the owner", || async {
        let mut known = 0;
        for node in servers.nodes() {
            // One that does not know an owner refuses.
            known += usize::from(node.call(&["CLUSTER", "DELSLOTS", "866"]).await.is_ok());
        }
        Ok((known == 0).then_some(()))
    })
    .await?;
    let diagnosis = examine(cluster(&servers.addresses()[..1])?).await?;
    let seen = only(&diagnosis, "slots", Health::Fail);
    assert!(seen.contains("866 (1 of 16384)"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn keys_with_a_ttl_where_nothing_is_evicted_are_named_by_eviction() -> Result<()> {
    let server = Server::start(sound().line("maxmemory-policy noeviction")).await?;
    server.call(&["SET", "mortal", "1", "EX", "100"]).await?;
    let diagnosis = examine(single(&server.address())?).await?;
    let seen = only(&diagnosis, "eviction", Health::Warn);
    assert!(
        seen.contains("noeviction") && seen.contains("1 of its 1 keys have a TTL"),
        "{seen}"
    );
    Ok(())
}

#[tokio::test]
async fn a_replica_that_hangs_is_named_by_replicas_and_hangs_nobody() -> Result<()> {
    let primary = Server::start(sound()).await?;
    let replica = Server::start(sound().replica_of(&primary)).await?;
    until(LIMIT, "the replica to follow", || async {
        Ok((replica.info("master_link_status").await? == "up").then_some(()))
    })
    .await?;
    // A client that reads from the replica knows it by itself.
    let config = || -> Result<_> {
        let addresses = vec![primary.address().parse()?, replica.address().parse()?];
        let config = valkey(Topology::Single { addresses, db: 0 });
        Ok(config.with_read_from(ReadFrom::PreferReplica))
    };
    let before = examine(config()?).await?;
    assert_eq!(found(&before), [], "{before:#?}");
    assert_eq!(state(&before, "replicas")?, Health::Ok);
    replica.pause()?;
    let knowing = examine(config()?).await?;
    // One that does not goes by what the primary says.
    until(LIMIT, "the primary to miss its replica", || async {
        let seen = primary.info("slave0").await?;
        let lag = seen
            .rsplit_once("lag=")
            .and_then(|(_, rest)| rest.split(',').next()?.parse::<u64>().ok());
        Ok(lag.filter(|lag| *lag >= 5))
    })
    .await?;
    let told = examine(single(&primary.address())?).await?;
    replica.resume()?;
    for diagnosis in [knowing, told] {
        let seen = only(&diagnosis, "replicas", Health::Fail);
        assert!(seen.contains(&replica.address()), "{seen}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_holds_itself_for_down_is_told_by_cluster_state_with_the_slots() -> Result<()> {
    // All slots have to be served here, or none is.
    let servers = Cluster::start(ClusterOptions::new(3, 0).node(sound())).await?;
    until(LIMIT, "all nodes to hold the cluster for down", || async {
        let mut down = 0;
        for node in servers.nodes() {
            // One that does not know an owner refuses.
            let _ = node.call(&["CLUSTER", "DELSLOTS", "866"]).await;
            let told = node.call(&["CLUSTER", "INFO"]).await?.text();
            down += usize::from(told.contains("cluster_state:fail"));
        }
        Ok((down == 3).then_some(()))
    })
    .await?;
    let diagnosis = examine(cluster(&servers.addresses()[..1])?).await?;
    let expected = [("cluster-state", Health::Fail), ("slots", Health::Fail)];
    assert_eq!(found(&diagnosis), expected, "{diagnosis:#?}");
    let seen = &diagnosis.of("cluster-state").context("no such check")?.seen;
    assert!(
        seen.contains("1 slots without an owner") && seen.contains(&servers.addresses()[2]),
        "{seen}"
    );
    Ok(())
}

/// A cluster of which no node takes in any more what the others say, long before one is missed.
async fn deaf() -> Result<Cluster> {
    const PING: &str = "0";
    let options = ClusterOptions::new(3, 0).node(sound().line("enable-debug-command yes"));
    let servers = Cluster::start(options.node_timeout(Duration::from_secs(60))).await?;
    for node in servers.nodes() {
        node.call(&["DEBUG", "DROP-CLUSTER-PACKET-FILTER", PING]).await?;
    }
    Ok(servers)
}

#[tokio::test]
async fn a_node_that_holds_another_one_for_the_owner_of_a_slot_is_named_by_epochs() -> Result<()> {
    let servers = deaf().await?;
    // The slot is the first one's.
    servers
        .node(2)
        .call(&["CLUSTER", "SETSLOT", "866", "NODE", servers.id(1)])
        .await?;
    let diagnosis = examine(cluster(&servers.addresses()[..1])?).await?;
    let seen = only(&diagnosis, "epochs", Health::Fail);
    let [first, second, third] = &servers.addresses()[..] else {
        anyhow::bail!("three nodes");
    };
    let (one, other) = seen
        .rsplit_once(": ")
        .and_then(|(_, groups)| groups.split_once(" against "))
        .context("no groups")?;
    let (few, many) = if one.len() < other.len() {
        (one, other)
    } else {
        (other, one)
    };
    assert_eq!(few, third, "{seen}");
    assert!(many.contains(first) && many.contains(second), "{seen}");
    Ok(())
}

#[tokio::test]
async fn an_epoch_that_does_not_go_round_is_named_by_epochs_and_one_that_does_is_no_news() -> Result<()> {
    let servers = Cluster::start(ClusterOptions::new(3, 0).node(sound())).await?;
    servers.node(0).call(&["CLUSTER", "BUMPEPOCH"]).await?;
    assert_eq!(found(&examine(cluster(&servers.addresses()[..1])?).await?), []);

    let servers = deaf().await?;
    servers.node(1).call(&["CLUSTER", "BUMPEPOCH"]).await?;
    let diagnosis = examine(cluster(&servers.addresses()[..1])?).await?;
    let seen = only(&diagnosis, "epochs", Health::Warn);
    let groups: Vec<&str> = seen.split("), ").collect();
    assert!(
        groups.len() == 2 && groups[1].contains(&servers.addresses()[1]),
        "{seen}"
    );
    assert!(!groups[0].contains(&servers.addresses()[1]), "{seen}");
    Ok(())
}
