//! A client of a cluster outlives the runtime that connected it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::slot::slot_of;
use cache_core::{CacheClient, Ttl};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};
use tokio::runtime::{Builder, Runtime};

use crate::{LIMIT, connect};

/// A runtime as `#[tokio::test]` makes one for each test.
fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// A runtime for the servers, which runs all the time.
fn steering() -> Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

/// A key of the first third of the slots, which node 0 serves at first.
fn key() -> String {
    (0..)
        .map(|number| format!("key:{number}"))
        .find(|key| slot_of(key.as_bytes()) < 5_461)
        .unwrap_or_default()
}

#[test]
fn a_failover_is_followed_when_the_runtime_that_connected_is_gone() -> Result<()> {
    let steering = steering()?;
    let cluster = steering.block_on(Cluster::start(ClusterOptions::new(3, 2)))?;
    let client = runtime()?.block_on(connect(cluster.node(1)))?;
    let (key, mut old) = (key(), 0);
    for round in 0..2 {
        let slot = slot_of(key.as_bytes());
        let new = steering.block_on(async {
            cluster.kill(old)?;
            cluster.wait_for_new_primary(slot, old).await
        })?;
        // One runtime per round; the first call in it finds the new primary.
        let value = format!("round {round}");
        runtime()?.block_on(client.set(&key, value.clone().into(), Ttl::Forever))?;
        let found = steering.block_on(cluster.node(new).call(&["GET", &key]))?;
        assert_eq!(found.text(), value);
        old = new;
    }
    Ok(())
}

#[test]
fn a_process_that_sleeps_between_calls_meets_no_dead_connection_of_a_cluster() -> Result<()> {
    let steering = steering()?;
    let options = ClusterOptions::new(3, 0).node(ServerOptions::new(Version::Valkey8).line("timeout 1"));
    let cluster = steering.block_on(Cluster::start(options))?;
    // It runs during calls only.
    let runtime = runtime()?;
    let client: Arc<dyn CacheClient> = runtime.block_on(connect(cluster.node(0)))?;
    let key = key();
    let is_alone = async |server: &Server| {
        until(LIMIT, "the server to close all connections", || async {
            Ok((server.info("connected_clients").await? == "1").then_some(()))
        })
        .await
    };
    for turn in 1..=4 {
        steering.block_on(is_alone(cluster.node(0)))?;
        assert_eq!(runtime.block_on(client.incr(&key))?, turn);
    }
    Ok(())
}

#[test]
fn a_failover_is_followed_by_a_process_that_sleeps_between_calls() -> Result<()> {
    let steering = steering()?;
    let cluster = steering.block_on(Cluster::start(ClusterOptions::new(3, 1)))?;
    let runtime = runtime()?;
    let client = runtime.block_on(connect(cluster.node(1)))?;
    let key = key();
    runtime.block_on(client.set(&key, "before".into(), Ttl::Forever))?;
    steering.block_on(async {
        cluster.kill(0)?;
        cluster.wait_for_new_primary(slot_of(key.as_bytes()), 0).await?;
        // Longer than a task may show no sign of running.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        anyhow::Ok(())
    })?;
    runtime.block_on(client.set(&key, "after".into(), Ttl::Forever))?;
    Ok(())
}
