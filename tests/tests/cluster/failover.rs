//! Nodes that die, hang and come back.

use std::time::Duration;

use anyhow::Result;
use cache_core::config::Startup;
use cache_core::slot::slot_of;
use cache_core::{CacheClient as _, CacheError, Ttl, clock};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, ServerOptions, Version, until};

use crate::load::{Load, Promise};
use crate::{DEADLINE, LIMIT, address, config, connect};

/// How much later than its deadline a call may be seen to end on a machine that is busy.
const TOLERANCE: Duration = Duration::from_millis(250);

/// Names of which the keys belong to the given third of the slots, which node `third` serves at first.
fn names_of(third: u16, count: usize) -> Vec<String> {
    (0..)
        .map(|number| format!("{{tag-{number}}}"))
        .filter(|name| slot_of(name.as_bytes()) / 5_462 == third)
        .take(count)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced_under_load_and_nobody_else_notices() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let client = connect(cluster.node(0)).await?;
    let struck = Load::start(&client, names_of(0, 16), Promise::MayForget);
    let spared = Load::start(&client, names_of(2, 16), Promise::KeepsAll);
    until(LIMIT, "the load to be under way", || async {
        Ok(cluster
            .node(0)
            .call(&["DBSIZE"])
            .await?
            .text()
            .ne("0")
            .then_some(()))
    })
    .await?;

    let slot = slot_of(names_of(0, 1)[0].as_bytes());
    let killed = clock::now();
    cluster.kill(0)?;
    let heir = cluster.wait_for_new_primary(slot, 0).await?;
    let replaced = clock::now();
    assert_ne!(heir, 0);
    let name = &names_of(0, 1)[0];
    until(LIMIT, "the client to serve the slot again", || async {
        client.set(name, "again".into(), Ttl::Forever).await?;
        Ok(Some(()))
    })
    .await?;
    let served = clock::now();
    let (struck, spared) = (struck.stop().await?, spared.stop().await?);
    println!(
        "killed; replaced after {:?}, served again {:?} later; errors over {:?}, {} of {} calls; slowest {:?}; \
         other shard: {} calls, {} errors, slowest {:?}",
        replaced - killed,
        served.saturating_duration_since(replaced),
        struck.window.map(|(first, last)| last - first),
        struck.errors.len(),
        struck.calls,
        struck.slowest,
        spared.calls,
        spared.errors.len(),
        spared.slowest,
    );
    assert_eq!(struck.wrong, Vec::<String>::new());
    assert_eq!(spared.wrong, Vec::<String>::new());
    assert!(struck.slowest < DEADLINE + TOLERANCE);
    assert!(
        spared.slowest < Duration::from_millis(500),
        "a healthy shard was held up"
    );
    // The cluster itself is down for a moment where it notices the loss; that is not the client's to hide.
    for error in struck.errors.iter().chain(&spared.errors) {
        assert!(error.is_transient(), "{error:?}");
    }
    assert!(served.saturating_duration_since(replaced) < Duration::from_secs(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_primaries_are_replaced_one_after_the_other_without_a_restart() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let client = connect(cluster.node(0)).await?;
    let names = (0..3).flat_map(|third| names_of(third, 8)).collect();
    let load = Load::start(&client, names, Promise::KeepsAll);
    for replica in 3..6 {
        cluster.failover(replica).await?;
    }
    let book = load.stop().await?;
    println!(
        "3 failovers: {} errors of {} calls, slowest {:?}",
        book.errors.len(),
        book.calls,
        book.slowest
    );
    assert_eq!(book.wrong, Vec::<String>::new());
    // A demoted primary closes no connection and a promoted one takes over at once.
    assert!(book.errors.is_empty(), "{:?}", book.errors.first());
    client.ping().await?;
    Ok(())
}

#[tokio::test]
async fn all_nodes_die_and_come_back_without_a_restart_of_the_client() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = connect(cluster.node(1)).await?;
    client.set("before", "1".into(), Ttl::Forever).await?;
    for node in 0..3 {
        cluster.kill(node)?;
    }
    until(LIMIT, "the loss to be noticed", || async {
        Ok(client.get("before").await.is_err().then_some(()))
    })
    .await?;
    for node in 0..3 {
        cluster.restart(node).await?;
    }
    cluster.wait_until_ok().await?;
    until(LIMIT, "the client to be back on all nodes", || async {
        client.ping().await?;
        for third in 0..3 {
            client
                .set(&names_of(third, 1)[0], "2".into(), Ttl::Forever)
                .await?;
        }
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn a_dead_primary_without_a_replica_fails_its_calls_at_once_and_no_others() -> Result<()> {
    let options = ClusterOptions::new(3, 0)
        .node(ServerOptions::new(Version::Valkey8).line("cluster-require-full-coverage no"));
    let cluster = Cluster::start(options).await?;
    let client = connect(cluster.node(1)).await?;
    let (lost, kept) = (&names_of(0, 1)[0], &names_of(1, 1)[0]);
    client.set(lost, "1".into(), Ttl::Forever).await?;
    client.ping().await?;
    cluster.kill(0)?;
    until(LIMIT, "the loss to be known", || async {
        Ok(client.get(lost).await.is_err().then_some(()))
    })
    .await?;
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let began = clock::now();
        let error = client.get(lost).await.unwrap_err();
        slowest = slowest.max(clock::now() - began);
        assert!(matches!(error, CacheError::Unavailable { .. }), "{error:?}");
        let began = clock::now();
        assert!(client.get_many(&[lost, kept]).await.is_err());
        slowest = slowest.max(clock::now() - began);
        client.set(kept, "1".into(), Ttl::Forever).await?;
    }
    println!("slowest refusal {slowest:?}");
    assert!(slowest < Duration::from_millis(20), "{slowest:?}");
    assert!(client.ping().await.is_err());
    cluster.restart(0).await?;
    until(LIMIT, "the client to be back", || async {
        client.ping().await?;
        client.set(lost, "1".into(), Ttl::Forever).await?;
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_holds_up_its_own_calls_to_their_deadline_and_no_others() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let client = connect(cluster.node(0)).await?;
    let name = &names_of(0, 1)[0];
    client.set(name, "1".into(), Ttl::Forever).await?;
    let struck = Load::start(&client, names_of(0, 8), Promise::MayForget);
    let spared = Load::start(&client, names_of(1, 8), Promise::KeepsAll);
    let hung = clock::now();
    cluster.pause(0)?;
    cluster.wait_for_new_primary(slot_of(name.as_bytes()), 0).await?;
    let replaced = clock::now();
    until(LIMIT, "the client to serve the slot again", || async {
        client.set(name, "2".into(), Ttl::Forever).await?;
        Ok(Some(()))
    })
    .await?;
    let served = clock::now();
    let (struck, spared) = (struck.stop().await?, spared.stop().await?);
    println!(
        "hung; replaced after {:?}, served again {:?} later; slowest {:?}; other shard: slowest {:?}",
        replaced - hung,
        served.saturating_duration_since(replaced),
        struck.slowest,
        spared.slowest
    );
    cluster.resume(0)?;
    assert_eq!(struck.wrong, Vec::<String>::new());
    assert_eq!(spared.wrong, Vec::<String>::new());
    assert!(struck.slowest < DEADLINE + TOLERANCE, "{:?}", struck.slowest);
    assert!(
        spared.slowest < Duration::from_millis(500),
        "{:?}",
        spared.slowest
    );
    Ok(())
}

#[tokio::test]
async fn a_client_that_starts_before_its_cluster_connects_when_the_cluster_is_there() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    for node in 0..3 {
        cluster.kill(node)?;
    }
    let config = config(vec![address(cluster.node(0))]);
    let refused = ValkeyClient::connect(&config).await.unwrap_err();
    assert!(matches!(refused, CacheError::Unavailable { .. }), "{refused:?}");
    let client = ValkeyClient::builder(&config)
        .startup(Startup::Degrade)
        .connect()
        .await?;
    let began = clock::now();
    let error = client.get("key").await.unwrap_err();
    assert!(matches!(error, CacheError::Unavailable { .. }), "{error:?}");
    assert!(clock::now() - began < Duration::from_millis(20));
    for node in 0..3 {
        cluster.restart(node).await?;
    }
    until(LIMIT, "the client to connect", || async {
        client.ping().await?;
        client.set("key", "value".into(), Ttl::Forever).await?;
        Ok(Some(()))
    })
    .await
}
