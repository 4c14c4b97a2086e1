//! Connections to a cluster: slots that move, nodes that are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Result;
use cache_core::slot::slot_of;
use cache_core::{CacheClient, CacheError, Outcome, Ttl};
use cache_redis::RedisCache;
use redis::cluster::ClusterClientBuilder;
use tests::{Cluster, ClusterOptions, until};
use tokio::task::JoinSet;

use crate::LIMIT;

async fn connect(cluster: &Cluster, retries: Option<u32>) -> Result<RedisCache> {
    let mut builder = ClusterClientBuilder::new([format!("redis://{}", cluster.node(0).address())]);
    builder = builder.response_timeout(LIMIT);
    if let Some(retries) = retries {
        builder = builder.retries(retries);
    }
    let connection = builder.build()?.get_async_connection().await?;
    Ok(RedisCache::from_cluster(connection).with_deadline(LIMIT)?)
}

#[tokio::test]
async fn slot_that_is_half_way_is_read_and_written_on_both_sides() -> Result<()> {
    for retries in [None, Some(0)] {
        let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
        let cache = connect(&cluster, retries).await?;
        let keys: Vec<String> = (0..40).map(|number| format!("{{half}}:{number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let entries: Vec<_> = keys.iter().map(|key| (*key, (*key).to_owned().into())).collect();
        cache.set_many(&entries, Ttl::secs(600)).await?;
        let slot = slot_of(b"half");
        let from = cluster.primary_of(slot).await?;
        let to = (from + 1) % 3;
        cluster.begin_move(slot, from, to).await?;
        cluster.migrate_keys(slot, from, to, 20).await?;

        let values = cache.get_many(&keys).await?;
        for (key, value) in keys.iter().zip(values) {
            assert_eq!(
                value.as_deref(),
                Some(key.as_bytes()),
                "{key} with {retries:?} retries"
            );
        }
        for (key, value) in keys.iter().zip(cache.get_each(&keys).await) {
            assert_eq!(value?, key.as_bytes());
        }
        assert_eq!(cache.exists(&keys).await?, 40);
        assert_eq!(cache.incr("{half}:new").await?, 1);
        assert_eq!(cache.incr_by("{half}:new", 1, Ttl::secs(600)).await?, 2);
        assert!(
            cache
                .compare_and_set(keys[0], keys[0].as_bytes(), "new".into(), Ttl::secs(600))
                .await?
        );
        assert_eq!(cache.get_entry(keys[39]).await?.value, keys[39]);
        assert_eq!(cache.del(&[keys[0], keys[39], "{half}:absent"]).await?, 2);
        while cluster.migrate_keys(slot, from, to, 100).await? > 0 {}
        cluster.end_move(slot, from, to).await?;
        assert_eq!(cache.exists(&keys).await?, 38);
        assert_eq!(cache.incr("{half}:new").await?, 3);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counter_is_not_counted_twice_over_a_connection_without_retries() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let cache = Arc::new(connect(&cluster, Some(0)).await?);
    let (counted, unknown) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (cache, stop) = (Arc::clone(&cache), Arc::clone(&stop));
        let (counted, unknown) = (Arc::clone(&counted), Arc::clone(&unknown));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                match cache.incr("count").await {
                    Ok(_) => counted.fetch_add(1, Ordering::Relaxed),
                    Err(error) if error.outcome() == Outcome::Unknown => {
                        unknown.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(_) => 0,
                };
                tokio::task::yield_now().await;
            }
        });
    }
    let owner = cluster.node(cluster.primary_of(slot_of(b"count")).await?);
    for round in 1..=20 {
        owner
            .call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await?;
        until(LIMIT, "calls to be answered after the kill", || async {
            Ok((counted.load(Ordering::Relaxed) > round * 100).then_some(()))
        })
        .await?;
    }
    stop.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    let count: i64 = std::str::from_utf8(&cache.get("count").await?)?.parse()?;
    let (counted, unknown) = (counted.load(Ordering::Relaxed), unknown.load(Ordering::Relaxed));
    assert!(
        (counted..=counted + unknown).contains(&count),
        "{counted} calls succeeded, {unknown} may have, and the counter says {count}"
    );
    assert!(unknown > 0, "no call was in flight when connections were killed");
    Ok(())
}

#[tokio::test]
async fn dead_primary_fails_its_own_keys_only_and_ping() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let cache = connect(&cluster, Some(0))
        .await?
        .with_deadline(Duration::from_secs(2))?;
    let keys: Vec<String> = (0..100).map(|number| format!("key:{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let entries: Vec<_> = keys
        .iter()
        .map(|key| (*key, "value".into(), Ttl::secs(600)))
        .collect();
    assert!(cache.set_each(&entries).await.iter().all(Result::is_ok));
    cache.ping().await?;
    let dead = cluster.primary_of(slot_of(keys[0].as_bytes())).await?;
    cluster.kill(dead)?;

    for _ in 0..3 {
        let ping = cache.ping().await;
        assert!(ping.as_ref().is_err_and(CacheError::is_transient), "{ping:?}");
    }
    let mut of_the_dead = 0;
    let began = cache_core::clock::now();
    for (key, result) in keys.iter().zip(cache.get_each(&keys).await) {
        if cluster.primary_of(slot_of(key.as_bytes())).await? == dead {
            of_the_dead += 1;
            assert!(
                result.as_ref().is_err_and(CacheError::is_transient),
                "{key}: {result:?}"
            );
        } else {
            assert!(
                result.as_ref().is_ok_and(|value| value == "value"),
                "{key}: {result:?} of {:?}",
                began.elapsed()
            );
        }
    }
    assert!(of_the_dead > 0);
    cluster.restart(dead).await?;
    until(LIMIT, "the node to be used again", || async {
        Ok(cache.ping().await.ok())
    })
    .await?;
    until(LIMIT, "all keys to be written again", || async {
        Ok(cache
            .set_each(&entries)
            .await
            .iter()
            .all(Result::is_ok)
            .then_some(()))
    })
    .await
}
