//! Servers that are down, hang, lag, or serve no slots; names that lead nowhere.

use anyhow::Result;
use cache_admin::Health;
use cache_core::clock;
use cache_core::config::{ReadFrom, Topology};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};

use super::{LIMIT, cluster, doctor, examine, found, only, single, sound, state, valkey};

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
async fn a_server_that_hangs_is_named_within_the_deadline() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.pause()?;
    let started = clock::now();
    let diagnosis = examine(single(&server.address())?).await;
    let elapsed = clock::now() - started;
    server.resume()?;
    // It accepts connections, so that nothing before has a name for it.
    only(&diagnosis?, "primaries", Health::Fail);
    assert!(elapsed < LIMIT, "{elapsed:?}");
    Ok(())
}

#[tokio::test]
async fn a_name_without_an_address_is_named_by_names() -> Result<()> {
    let diagnosis = examine(single("no-such-host.invalid:6379")?).await?;
    let seen = only(&diagnosis, "names", Health::Fail);
    assert!(seen.contains("no-such-host.invalid"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn nobody_at_the_address_is_named_by_tcp() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.kill()?;
    let diagnosis = doctor(single(&server.address())?)?.examine().await;
    let seen = only(&diagnosis, "tcp", Health::Fail);
    assert!(seen.contains(&server.address()), "{seen}");
    Ok(())
}
