//! A client outlives the runtime that connected it: one runtime per test, one per thread, one that only runs during a
//! call. What it does in the background goes on wherever its calls run.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::clock;
use cache_core::config::{ReadFrom, Topology, ValkeyConfig};
use cache_core::{CacheClient, Ttl};
use cache_valkey::{ValkeyClient, Wire};
use tests::{Proxy, SentinelOptions, SentinelSet, Server, ServerOptions, Version, until};
use tokio::runtime::{Builder, Runtime};

use crate::setup::{LIMIT, address, single, watched};

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

const WIRES: [Wire; 2] = [Wire::Own, Wire::Redis];

async fn connect(config: &ValkeyConfig, wire: Wire) -> Result<Arc<ValkeyClient>> {
    Ok(Arc::new(
        ValkeyClient::builder(config).wire(wire).connect().await?,
    ))
}

#[test]
fn a_failover_behind_sentinels_is_followed_when_the_runtime_that_connected_is_gone() -> Result<()> {
    let steering = steering()?;
    let set = steering.block_on(SentinelSet::start(SentinelOptions::new()))?;
    let config = watched(&set.addresses())?;
    let client = runtime()?.block_on(connect(&config, Wire::Own))?;
    for round in 0..2 {
        let new = if round == 0 {
            steering.block_on(set.kill_primary())?
        } else {
            steering.block_on(async {
                let old = set.primary().await?;
                let new = set.failover().await?;
                // The old one takes writes until it is told.
                until(LIMIT, "the old primary to follow", || async {
                    let role = set.servers()[old].call(&["ROLE"]).await?;
                    let role = role.items().first().map(tests::Reply::text);
                    Ok((role.as_deref() == Some("slave")).then_some(()))
                })
                .await?;
                anyhow::Ok(new)
            })?
        };
        let value = format!("round {round}");
        // One runtime per round; the first call in it finds the new primary.
        runtime()?.block_on(client.set("where", value.clone().into(), Ttl::Forever))?;
        let found = steering.block_on(set.servers()[new].call(&["GET", "where"]))?;
        assert_eq!(found.text(), value);
    }
    Ok(())
}

#[test]
fn replicas_that_join_are_found_when_the_runtime_that_connected_is_gone() -> Result<()> {
    let steering = steering()?;
    let primary = steering.block_on(Server::start(ServerOptions::new(Version::Valkey8)))?;
    let mut config = single(&primary.address())?;
    config.read_from = ReadFrom::Replica;
    let client = runtime()?.block_on(connect(&config, Wire::Own))?;
    let joined = ServerOptions::new(Version::Valkey8).replica_of(&primary);
    let _replica = steering.block_on(async {
        let replica = Server::start(joined).await?;
        until(LIMIT, "the replica to follow", || async {
            Ok((replica.info("master_link_status").await? == "up").then_some(()))
        })
        .await?;
        primary.call(&["SET", "key", "value"]).await?;
        anyhow::Ok(replica)
    })?;
    runtime()?.block_on(until(LIMIT, "a read from the replica", || async {
        Ok(Some(client.get("key").await?))
    }))?;
    Ok(())
}

#[test]
fn each_runtime_in_turn_uses_the_same_client_without_an_error() -> Result<()> {
    let steering = steering()?;
    let server = steering.block_on(Server::start(ServerOptions::new(Version::Valkey8)))?;
    for wire in WIRES {
        let client = runtime()?.block_on(connect(&single(&server.address())?, wire))?;
        steering.block_on(server.call(&["DEL", "counter"]))?;
        for turn in 1..=20 {
            let count = runtime()?.block_on(client.incr("counter"))?;
            assert_eq!(count, turn, "{wire:?}");
        }
    }
    Ok(())
}

#[test]
fn a_runtime_that_ends_under_load_costs_no_call_that_may_be_repeated() -> Result<()> {
    let steering = steering()?;
    let server = steering.block_on(Server::start(ServerOptions::new(Version::Valkey8)))?;
    for wire in WIRES {
        let first = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut config = single(&server.address())?;
        config.max_retries = 0;
        let client = first.block_on(connect(&config, wire))?;
        let load = {
            let client = Arc::clone(&client);
            steering.spawn(async move {
                let until = clock::now() + Duration::from_secs(1);
                let mut calls = 0_u32;
                while clock::now() < until {
                    client.set("key", "value".into(), Ttl::Forever).await?;
                    client.get("key").await?;
                    calls += 2;
                }
                anyhow::Ok(calls)
            })
        };
        steering.block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
        drop(first);
        let calls = steering.block_on(load)??;
        println!("{calls} calls, {wire:?}");
    }
    Ok(())
}

#[test]
fn a_runtime_that_exists_but_does_not_run_holds_up_nobody_elses_calls() -> Result<()> {
    let steering = steering()?;
    let server = steering.block_on(Server::start(ServerOptions::new(Version::Valkey8)))?;
    let mut config = single(&server.address())?;
    config.read_timeout = Duration::from_secs(10);
    // It stays, and after it has connected nobody runs it.
    let idle = runtime()?;
    let client = idle.block_on(connect(&config, Wire::Own))?;
    let (first, later) = steering.block_on(async {
        let began = clock::now();
        client.set("key", "value".into(), Ttl::Forever).await?;
        let first = began.elapsed();
        let began = clock::now();
        for _ in 0..100 {
            client.get("key").await?;
        }
        anyhow::Ok((first, began.elapsed()))
    })?;
    println!("first call {first:?}, then 100 in {later:?}");
    assert!(first < Duration::from_secs(6), "{first:?}");
    assert!(later < Duration::from_secs(2), "{later:?}");
    Ok(())
}

/// Calls with pauses in which the runtime does not run, each longer than the server keeps an idle connection.
fn call_now_and_then(
    steering: &Runtime,
    client: &ValkeyClient,
    server: &Server,
    runtime: &Runtime,
) -> Result<()> {
    for turn in 1..=4 {
        steering.block_on(until(LIMIT, "the server to close all connections", || async {
            // The one that asks is there.
            Ok((server.info("connected_clients").await? == "1").then_some(()))
        }))?;
        match turn % 2 {
            // Not to be repeated, so it must not meet the dead connection at all.
            0 => assert_eq!(runtime.block_on(client.incr("counter"))?, turn / 2),
            _ => runtime.block_on(client.set("key", "value".into(), Ttl::Forever))?,
        }
    }
    Ok(())
}

#[test]
fn a_process_that_sleeps_between_calls_meets_no_dead_connection() -> Result<()> {
    let steering = steering()?;
    for wire in WIRES {
        let server = steering.block_on(Server::start(
            ServerOptions::new(Version::Valkey8).line("timeout 1"),
        ))?;
        // It runs during calls only.
        let runtime = runtime()?;
        let mut config = single(&server.address())?;
        config.max_retries = 0;
        let client = runtime.block_on(connect(&config, wire))?;
        call_now_and_then(&steering, &client, &server, &runtime)?;
    }
    Ok(())
}

#[test]
fn a_process_that_sleeps_between_calls_does_not_count_the_sleep_as_connecting() -> Result<()> {
    let steering = steering()?;
    let (server, proxy) = steering.block_on(async {
        let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
        let proxy = Proxy::start(server.address()).await?;
        anyhow::Ok((server, proxy))
    })?;
    let runtime = runtime()?;
    let mut config = single(&proxy.address())?;
    config.read_timeout = Duration::from_millis(200);
    let client = runtime.block_on(connect(&config, Wire::Own))?;
    runtime.block_on(client.ping())?;
    // A call ends while the supervisor is about to connect, and the process sleeps.
    proxy.pause();
    proxy.cut();
    assert!(runtime.block_on(client.get("key")).is_err());
    steering.block_on(async { tokio::time::sleep(Duration::from_millis(2_600)).await });
    proxy.resume();
    steering.block_on(server.call(&["SET", "key", "value"]))?;
    assert_eq!(runtime.block_on(client.get("key"))?, "value");
    Ok(())
}

#[test]
fn a_server_that_came_back_while_the_process_slept_is_used_by_the_next_call() -> Result<()> {
    let steering = steering()?;
    let server = steering.block_on(Server::start(ServerOptions::new(Version::Valkey8)))?;
    let runtime = runtime()?;
    let client = runtime.block_on(connect(&single(&server.address())?, Wire::Own))?;
    server.kill()?;
    assert!(runtime.block_on(client.get("key")).is_err());
    assert!(runtime.block_on(client.get("key")).is_err());
    steering.block_on(async {
        server.restart().await?;
        server.call(&["SET", "key", "value"]).await?;
        // Longer than a task may show no sign of running.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        anyhow::Ok(())
    })?;
    assert_eq!(runtime.block_on(client.get("key"))?, "value");
    Ok(())
}

/// The address of a replica beside that of its primary.
pub(crate) fn with_replica(primary: &Server, replica: &Server) -> Result<ValkeyConfig> {
    let mut config = ValkeyConfig::new(Topology::Single {
        addresses: vec![address(&primary.address())?, address(&replica.address())?],
        db: 0,
    });
    config.read_from = ReadFrom::PreferReplica;
    Ok(config)
}
