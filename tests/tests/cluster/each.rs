//! Calls that answer each key on its own: one primary of three fails, and the keys of the other two do not notice.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use cache_core::slot::slot_of;
use cache_core::{CacheClient, CacheError, Ttl, clock};
use cache_layers::{Guarded, GuardedConfig};
use tests::{Cluster, ClusterOptions, ServerOptions, Version, until};

use crate::{DEADLINE, LIMIT, connect, keys};

/// How much later than its deadline a call may be seen to end on a machine that is busy.
const TOLERANCE: Duration = Duration::from_millis(500);

/// The node that fails.
const STRUCK: usize = 1;

/// A cluster that serves the slots that it can serve, and no replica takes over from a primary that is gone.
async fn cluster() -> Result<Cluster> {
    let node = ServerOptions::new(Version::Valkey8).line("cluster-require-full-coverage no");
    Cluster::start(ClusterOptions::new(3, 0).node(node)).await
}

/// The primary of a key, by the share of the slots that it was given.
fn owner(key: &str) -> usize {
    let slot = slot_of(key.as_bytes());
    [5_461, 10_922].iter().filter(|bound| slot >= **bound).count()
}

async fn set_each(client: &dyn CacheClient, keys: &[String]) -> Vec<Result<(), CacheError>> {
    let ttl = |number: usize| Ttl::secs(600 + u64::try_from(number).unwrap_or(0));
    let entries: Vec<(&str, Bytes, Ttl)> = keys
        .iter()
        .enumerate()
        .map(|(number, key)| (key.as_str(), Bytes::from(key.clone()), ttl(number)))
        .collect();
    client.set_each(&entries).await
}

async fn get_each(client: &dyn CacheClient, keys: &[String]) -> Vec<Result<Bytes, CacheError>> {
    let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    client.get_each(&asked).await
}

/// The keys of the struck node have errors and all others have results, within the deadline.
async fn only_the_struck_node_fails(
    client: &dyn CacheClient,
    keys: &[String],
    deadline: Duration,
) -> Result<Vec<CacheError>> {
    let mut errors = Vec::new();
    let began = clock::now();
    let read = get_each(client, keys).await;
    let took_reading = began.elapsed();
    for (key, result) in keys.iter().zip(read) {
        match (owner(key), result) {
            (STRUCK, Err(error)) => errors.push(error),
            (STRUCK, Ok(_)) => anyhow::bail!("{key} was read from a node that is gone"),
            (_, result) => {
                let value = result.with_context(|| format!("get_each of {key}, whose node is well"))?;
                ensure!(value == key.as_bytes(), "{key} has another key's value");
            }
        }
    }
    let began = clock::now();
    let stored = set_each(client, keys).await;
    let took_writing = began.elapsed();
    for (key, result) in keys.iter().zip(stored) {
        match (owner(key), result) {
            (STRUCK, Err(error)) => errors.push(error),
            (STRUCK, Ok(())) => anyhow::bail!("{key} was stored on a node that is gone"),
            (_, result) => result.with_context(|| format!("set_each of {key}, whose node is well"))?,
        }
    }
    for took in [took_reading, took_writing] {
        ensure!(took < deadline + TOLERANCE, "it took {took:?}");
    }
    Ok(errors)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_primary_fails_its_own_keys_only() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(cluster.node(0)).await?;
    let keys = keys(100);
    for result in set_each(&*client, &keys).await {
        result?;
    }
    for (number, key) in keys.iter().enumerate() {
        let left = client.ttl(key).await?.as_duration()?.context("a TTL")?;
        let given = Duration::from_secs(600 + u64::try_from(number)?);
        ensure!(
            left <= given && left > given - Duration::from_secs(60),
            "{key} has {left:?}"
        );
    }
    cluster.kill(STRUCK)?;
    for _ in 0..20 {
        for error in only_the_struck_node_fails(&*client, &keys, DEADLINE).await? {
            ensure!(error.is_transient(), "{error}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_primary_fails_its_own_keys_only() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(cluster.node(0)).await?;
    let keys = keys(100);
    for result in set_each(&*client, &keys).await {
        result?;
    }
    cluster.pause(STRUCK)?;
    for _ in 0..3 {
        for error in only_the_struck_node_fails(&*client, &keys, DEADLINE).await? {
            ensure!(error.is_transient(), "{error}");
        }
    }
    cluster.resume(STRUCK)?;
    until(LIMIT, "all keys to be served again", || async {
        let read = get_each(&*client, &keys).await;
        Ok(read.iter().all(Result::is_ok).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shorter_deadline_of_a_guard_loses_no_answer_of_the_healthy_nodes() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(cluster.node(0)).await?;
    let keys = keys(100);
    for result in set_each(&*client, &keys).await {
        result?;
    }
    let deadline = DEADLINE / 4;
    let config = GuardedConfig::builder().deadline(deadline).build()?;
    let guarded = Guarded::new(Arc::clone(&client), config);
    cluster.pause(STRUCK)?;
    let errors = only_the_struck_node_fails(&guarded, &keys, deadline).await?;
    ensure!(!errors.is_empty(), "no key is on the struck node");
    let stats = guarded.stats();
    ensure!(
        stats.failures == 0 && stats.timeouts == 0,
        "a part of it answered: {stats:?}"
    );
    cluster.resume(STRUCK)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_of_another_type_fails_alone() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(cluster.node(0)).await?;
    let keys = keys(100);
    for result in set_each(&*client, &keys).await {
        result?;
    }
    let list = &keys[7];
    let node = cluster.node(owner(list));
    node.call(&["DEL", list]).await?;
    node.call(&["RPUSH", list, "item"]).await?;
    for (key, result) in keys.iter().zip(get_each(&*client, &keys).await) {
        if key == list {
            ensure!(matches!(result, Err(CacheError::Rejected { .. })), "{result:?}");
        } else {
            ensure!(result? == key.as_bytes(), "{key}");
        }
    }
    for refused in [
        client.get_and_delete(list).await,
        client.get_and_expire(list, Ttl::secs(1)).await,
    ] {
        ensure!(matches!(refused, Err(CacheError::Rejected { .. })), "{refused:?}");
    }
    ensure!(client.ttl(list).await?.is_forever(), "it stays as it was");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_fail_no_key() -> Result<()> {
    let cluster = cluster().await?;
    let client = connect(cluster.node(0)).await?;
    let keys = keys(60);
    for result in set_each(&*client, &keys).await {
        result?;
    }
    let moving = async {
        for key in keys.iter().filter(|key| owner(key) == 0).take(5) {
            cluster.move_slot(slot_of(key.as_bytes()), 0, 2).await?;
        }
        Ok::<(), anyhow::Error>(())
    };
    tokio::pin!(moving);
    loop {
        tokio::select! {
            moved = &mut moving => {
                moved?;
                break;
            }
            read = get_each(&*client, &keys) => {
                for (key, result) in keys.iter().zip(read) {
                    ensure!(result? == key.as_bytes(), "{key}");
                }
                for result in set_each(&*client, &keys).await {
                    result?;
                }
            }
        }
    }
    for (key, result) in keys.iter().zip(get_each(&*client, &keys).await) {
        ensure!(result? == key.as_bytes(), "{key}");
    }
    Ok(())
}
