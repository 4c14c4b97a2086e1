//! A batch that is lost on its way, or sent elsewhere, is repeated as a batch.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use cache_core::slot::slot_of;
use cache_core::{CacheClient, Ttl};
use tests::{Cluster, ClusterOptions, Server, until};

use crate::{LIMIT, connect, expect_all, keys, store_all};

const KEYS: usize = 30_000;

async fn stat(server: &Server, field: &str) -> Result<u64> {
    server.info(field).await?.trim().parse().context("no number")
}

/// How many of the keys node 0 serves.
fn of_first(keys: &[String]) -> u64 {
    let first = keys.iter().filter(|key| slot_of(key.as_bytes()) < 5_461);
    u64::try_from(first.count()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_lost_on_its_way_is_repeated_as_a_batch() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let client = connect(cluster.node(0)).await?;
    let keys = keys(KEYS);
    store_all(&*client, &keys).await?;
    let node = cluster.node(0);
    let mut steering = node.connect().await?;
    let reads = stat(node, "total_reads_processed").await?;
    let entries: Vec<_> = keys
        .iter()
        .map(|key| (key.as_str(), Bytes::from(key.clone())))
        .collect();
    client.set_many(&entries, Ttl::Forever).await?;
    let usual = stat(node, "total_reads_processed").await? - reads;

    // Node 0 takes the batch, answers nothing, and hangs up.
    steering.call(&["CLIENT", "PAUSE", "60000", "WRITE"]).await?;
    let reads = stat_over(&mut steering, "total_reads_processed").await?;
    let (batch, keys_of_batch) = (Arc::clone(&client), keys.clone());
    let call = tokio::spawn(async move {
        let entries: Vec<_> = keys_of_batch
            .iter()
            .map(|key| (key.as_str(), Bytes::from(key.clone())))
            .collect();
        batch.set_many(&entries, Ttl::Forever).await
    });
    until(LIMIT, "the batch to arrive", || async {
        let mut other = cluster.node(0).connect().await?;
        Ok((stat_over(&mut other, "total_reads_processed").await? > reads + 2).then_some(()))
    })
    .await?;
    steering
        .call(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"])
        .await?;
    steering.call(&["CLIENT", "UNPAUSE"]).await?;
    call.await??;
    let reads = stat_over(&mut steering, "total_reads_processed").await? - reads;
    println!(
        "{} keys on node 0: {usual} reads of the server for a batch, {reads} for one that was lost",
        of_first(&keys)
    );
    assert!(
        reads < 4 * usual + 200,
        "{reads} reads, {usual} for a batch that is not lost"
    );
    expect_all(&*client, &keys[..300]).await
}

/// As [`stat`], on a connection that is there.
async fn stat_over(connection: &mut tests::Connection, field: &str) -> Result<u64> {
    let text = connection.call(&["INFO", "stats"]).await?.text();
    let value = text
        .lines()
        .find_map(|line| line.trim_end().strip_prefix(field)?.strip_prefix(':'));
    value.context("no such field")?.parse().context("no number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writes_of_one_key_in_a_batch_that_is_repeated_the_last_one_stays() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let client = connect(cluster.node(0)).await?;
    let names = keys(200);
    let rounds = 5;
    for replica in 3..6 {
        // Each name several times, in one batch, while its primary changes.
        let entries: Vec<_> = (0..rounds)
            .flat_map(|round| names.iter().map(move |name| (name.as_str(), round)))
            .map(|(name, round)| (name, Bytes::from(format!("{name} in round {round}"))))
            .collect();
        let (failover, written) = tokio::join!(cluster.failover(replica), async {
            for _ in 0..20 {
                client.set_many(&entries, Ttl::Forever).await?;
                for name in names.iter().step_by(10) {
                    let last = format!("{name} in round {}", rounds - 1);
                    anyhow::ensure!(client.get(name).await? == last, "{name}");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        });
        failover?;
        written?;
    }
    Ok(())
}
