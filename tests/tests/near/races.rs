//! A million foreign writes against cold reads through the near tier, over a single server and a cluster,
//! while nothing fails and while everything does.

use std::time::Duration;

use anyhow::Result;
use cache_core::slot::slot_of;
use rand::Rng as _;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};

use crate::race::{Outcome, Race};
use crate::setup::{Pair, aging, cluster, single};

/// What 999 of 1,000 reads stay within while nothing fails.
const GOAL: Duration = Duration::from_millis(50);

/// How long servers may take to agree.
const LIMIT: Duration = Duration::from_secs(30);

/// Foreign writes of each of four of the races: a million in all.
const WRITES: u64 = 250_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_single_server_a_quarter_of_a_million_writes_leave_nothing_stale() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let Pair { near, far, .. } = single(&server.address()).await?;
    let race = Race::start(&near, &far, "single");
    race.until_written(WRITES).await?;
    let outcome = race.stop().await?;
    println!("{outcome}");
    in_time(&outcome);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_a_quarter_of_a_million_writes_leave_nothing_stale() -> Result<()> {
    let servers = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let Pair { near, far, .. } = cluster(&servers).await?;
    let race = Race::start(&near, &far, "cluster");
    race.until_written(WRITES).await?;
    let outcome = race.stop().await?;
    println!("{outcome}");
    in_time(&outcome);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_leave_nothing_stale() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let Pair { near, far, tier } = single(&server.address()).await?;
    let race = Race::start(&near, &far, "kills");
    let mut kills = 0;
    let mut steering = server.connect().await?;
    while race.writes() < WRITES || kills <= 20 {
        let gone = steering
            .call(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"])
            .await?;
        kills += gone.integer().unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(5..400))).await;
        race.until_written(race.writes() + 1).await?;
    }
    let outcome = race.stop().await?;
    println!("{kills} connections killed: {outcome}; {:?}", tier.stats());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_replaced_at_their_maximum_age_leave_nothing_stale() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let Pair { near, far, tier } = aging(&server.address(), Duration::from_secs(1)).await?;
    let accepted = async || -> Result<u64> { Ok(server.info("total_connections_received").await?.parse()?) };
    let race = Race::start(&near, &far, "ages");
    let (before, mut looks) = (accepted().await?, 0);
    // Reader and writer are both replaced about once per second.
    while accepted().await? - before - looks < 20 {
        looks += 1;
        race.until_written(race.writes() + 5_000).await?;
    }
    let outcome = race.stop().await?;
    println!("{outcome}; {:?}", tier.stats());
    assert_eq!(outcome.errors, 0, "{outcome}");
    in_time(&outcome);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_and_killed_connections_of_a_cluster_leave_nothing_stale() -> Result<()> {
    // Voters vote once per primary in twice this time.
    let options = ClusterOptions::new(3, 1).node_timeout(Duration::from_secs(2));
    let servers = Cluster::start(options).await?;
    let Pair { near, far, tier } = cluster(&servers).await?;
    let race = Race::start(&near, &far, "failovers");
    let (mut kills, mut failovers) = (0, 0);
    while failovers < 4 {
        let primary = servers.primary_of(some_slot("failovers")).await?;
        kills += kill_connections(&servers, primary).await?;
        race.until_written(race.writes() + 5_000).await?;
        let replica = until(LIMIT, "the primary to have a replica", || async {
            Ok(servers.replicas_of(primary).await?.first().copied())
        });
        servers.failover(replica.await?).await?;
        servers.wait_until_ok().await?;
        failovers += 1;
        race.until_written(race.writes() + 5_000).await?;
    }
    let outcome = race.stop().await?;
    println!(
        "{failovers} failovers, {kills} connections killed: {outcome}; {:?}",
        tier.stats()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_slots_and_killed_connections_of_a_cluster_leave_nothing_stale() -> Result<()> {
    let servers = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let Pair { near, far, tier } = cluster(&servers).await?;
    let race = Race::start(&near, &far, "moves");
    let (mut kills, mut moves) = (0, 0);
    while race.writes() < WRITES || moves < 8 {
        let slot = some_slot("moves");
        let (from, to) = (
            servers.primary_of(slot).await?,
            rand::rng().random_range(0..3_usize),
        );
        if from != to {
            servers.move_slot(slot, from, to).await?;
            moves += 1;
        }
        kills += kill_connections(&servers, to).await?;
        race.until_written(race.writes() + 2_000).await?;
    }
    let outcome = race.stop().await?;
    println!(
        "{moves} slots moved, {kills} connections killed: {outcome}; {:?}",
        tier.stats()
    );
    Ok(())
}

/// The slot of a key of the race, by chance.
fn some_slot(race: &str) -> u16 {
    slot_of(format!("race:{race}:{}", rand::rng().random_range(0..256)).as_bytes())
}

async fn kill_connections(servers: &Cluster, node: usize) -> Result<i64> {
    let kill = ["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"];
    Ok(servers.node(node).call(&kill).await?.integer().unwrap_or(0))
}

/// Slots that Valkey 9 moves at once, many at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_atomically_leave_nothing_stale() -> Result<()> {
    let options = ClusterOptions::new(3, 0).node(ServerOptions::new(Version::Valkey9));
    let servers = Cluster::start(options).await?;
    let Pair { near, far, tier } = cluster(&servers).await?;
    let race = Race::start(&near, &far, "atomic");
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        servers.move_slots_atomically(0, 2_999, from, to).await?;
        race.until_written(race.writes() + 5_000).await?;
    }
    let outcome = race.stop().await?;
    println!("12,000 slots moved: {outcome}; {:?}", tier.stats());
    Ok(())
}

fn in_time(outcome: &Outcome) {
    assert!(
        outcome.reads > outcome.writes / 4,
        "hardly anybody read: {outcome}"
    );
    let p999 = outcome.within(0.999);
    assert!(p999 <= GOAL, "p99.9 is {p999:?}: {outcome}");
}
