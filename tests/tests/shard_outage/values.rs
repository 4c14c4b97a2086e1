//! Read-throughs: spared values are loaded once for all processes, stored, and invalidated.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::Bytes;
use cache_layers::read_through::{Json, RefreshAhead};
use cache_layers::{Loaded, NearConfig, Prefixed, ReadThrough, ReadThroughConfig, TypedReadThrough};
use futures::future::join_all;

use crate::outage::{Blow, Outage, Shard, names, shard_of};

/// What is loaded from, and how often.
#[derive(Clone, Debug, Default)]
struct Upstream(Arc<AtomicUsize>);

impl Upstream {
    async fn load<T>(self, value: T) -> Result<Loaded<T>, io::Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Loaded::of(value))
    }

    fn loads(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn config() -> Result<ReadThroughConfig> {
    Ok(ReadThroughConfig::builder()
        .refresh_ahead(RefreshAhead::Never)
        .cache_deadline(Duration::from_secs(5))
        .build()?)
}

async fn ask(values: &ReadThrough, upstream: &Upstream, keys: &[String]) -> Result<()> {
    let calls = keys.iter().map(|key| {
        let upstream = upstream.clone();
        values.get_or_load(key, move || upstream.load(Bytes::from_static(b"value")))
    });
    for answer in join_all(calls).await {
        assert_eq!(answer?.value.as_deref(), Some(&b"value"[..]));
    }
    Ok(())
}

async fn spared_values_are_loaded_once(blow: Blow) -> Result<()> {
    let outage = Outage::prepare(blow).await?;
    let (one, other) = (outage.connect().await?, outage.connect().await?);
    let (first, second) = (
        ReadThrough::new(Arc::clone(&one), config()?),
        ReadThrough::new(Arc::clone(&other), config()?),
    );
    let (upstream, away) = (Upstream::default(), Upstream::default());
    let warm = names("warm", Shard::Spared, 100);
    ask(&first, &upstream, &warm).await?;
    first.settled().await;
    assert_eq!(upstream.loads(), 100);

    outage.strike(&*one).await?;
    let cold = names("cold", Shard::Spared, 100);
    let lost = names("cold", Shard::Lost, 10);
    // Callers of lost keys load without the cache, and hold up nobody.
    let elsewhere = ask(&second, &away, &lost);
    let here = async {
        ask(&first, &upstream, &warm).await?;
        let (one, two) = tokio::join!(ask(&first, &upstream, &cold), ask(&second, &upstream, &cold));
        one.and(two)
    };
    let (elsewhere, here) = tokio::join!(elsewhere, here);
    here?;
    elsewhere?;
    first.settled().await;
    second.settled().await;
    assert_eq!(upstream.loads(), 200, "one load per key, for both processes");
    assert_eq!(first.stats().without_lease, 0);
    // All of it is stored, and what is invalidated is gone.
    let third = ReadThrough::new(other, config()?);
    ask(&third, &upstream, &cold).await?;
    assert_eq!(upstream.loads(), 200);
    for key in &cold {
        first.invalidate(&[key]).await.with_context(|| key.clone())?;
    }
    ask(&third, &upstream, &cold).await?;
    assert_eq!(upstream.loads(), 300);

    // Also under a key prefix.
    let prefixed = ReadThrough::new(Arc::new(Prefixed::new(Arc::clone(&one), "shop:")?), config()?);
    let spared = (0..200).map(|number| format!("user:{number}"));
    let spared: Vec<_> = spared
        .filter(|key| shard_of(&format!("shop:{key}")) == Shard::Spared)
        .collect();
    ask(&prefixed, &upstream, &spared).await?;
    prefixed.settled().await;
    let stats = prefixed.stats();
    assert_eq!((stats.cache_failures, stats.without_lease), (0, 0));
    assert_eq!(upstream.loads(), 300 + spared.len());
    ask(&prefixed, &upstream, &spared).await?;
    assert_eq!(upstream.loads(), 300 + spared.len());
    Ok(())
}

async fn decoded_values_stay_near(blow: Blow) -> Result<()> {
    let outage = Outage::prepare(blow).await?;
    let client = outage.connect().await?;
    let typed: TypedReadThrough<u64> =
        TypedReadThrough::new(Arc::clone(&client), Json, config()?, NearConfig::default());
    let upstream = Upstream::default();
    let ask = async |keys: &[String]| {
        for key in keys {
            let upstream = upstream.clone();
            let answer = typed.get_or_load(key, move || upstream.load(7_u64)).await?;
            assert_eq!(answer.value.as_deref(), Some(&7));
        }
        typed.settled().await;
        anyhow::Ok(())
    };
    let spared = names("typed", Shard::Spared, 100);
    ask(&spared).await?;
    // Reads them once more, and keeps them near.
    ask(&spared).await?;
    outage.strike(&*client).await?;
    let before = typed.near_stats().hits;
    for _ in 0..20 {
        ask(&spared).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let hits = typed.near_stats().hits - before;
    assert!(hits >= 1_900, "{blow:?}: {hits} of 2000 were near");
    assert_eq!(upstream.loads(), 100);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_other_shards_are_loaded_once_while_a_primary_is_killed() -> Result<()> {
    spared_values_are_loaded_once(Blow::Killed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_other_shards_are_loaded_once_while_a_primary_is_paused() -> Result<()> {
    spared_values_are_loaded_once(Blow::Paused).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decoded_values_of_other_shards_stay_near_while_a_primary_is_killed() -> Result<()> {
    decoded_values_stay_near(Blow::Killed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decoded_values_of_other_shards_stay_near_while_a_primary_is_paused() -> Result<()> {
    decoded_values_stay_near(Blow::Paused).await
}
