//! Decoded values near: on real servers they are as true as the server's reports make them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient, clock};
use cache_layers::read_through::{Json, NearConfig, NearStatus, TypedReadThrough};
use cache_layers::{Loaded, ReadThroughConfig};
use cache_valkey::ValkeyClient;
use tests::{Kind, Proxy, shared, until};

use crate::worker::{LIMIT, key};

type Numbers = TypedReadThrough<u64>;

/// A process, which keeps what it read for a minute.
async fn numbers(topology: &Topology) -> Result<Numbers> {
    let client = ValkeyClient::connect(&ValkeyConfig::new(topology.clone())).await?;
    Ok(over(Arc::new(client)))
}

fn over(client: Arc<dyn CacheClient>) -> Numbers {
    TypedReadThrough::new(client, Json, ReadThroughConfig::default(), NearConfig::default())
}

async fn topology(kind: Kind) -> Result<Topology> {
    let address = shared(kind).await?.addresses.remove(0).parse()?;
    Ok(match kind {
        Kind::Cluster => Topology::cluster([address]),
        _ => Topology::single(address),
    })
}

/// What is read, where nothing has to be loaded.
async fn read(numbers: &Numbers, key: &str) -> Result<u64> {
    let load = || async { anyhow::bail!("there is nothing to load") as Result<Loaded<u64>> };
    let answer = numbers.get_or_load(key, load).await?;
    Ok(*answer.value.context("no value")?)
}

async fn until_tracked(numbers: &Numbers) -> Result<()> {
    until(LIMIT, "changes to be reported", async || {
        Ok((numbers.near_status() == NearStatus::Tracked).then_some(()))
    })
    .await
}

async fn foreign_change(kind: Kind) -> Result<()> {
    let topology = topology(kind).await?;
    let (here, there) = (numbers(&topology).await?, numbers(&topology).await?);
    until_tracked(&here).await?;
    let key = key();
    let mut delays = Vec::new();
    for number in 0..20 {
        there.put(&key, Loaded::of(number)).await?;
        let put = clock::now();
        until(LIMIT, "the change to be seen", async || {
            Ok((read(&here, &key).await? == number).then_some(()))
        })
        .await?;
        delays.push(put.elapsed());
        let before = here.near_stats();
        read(&here, &key).await?;
        let after = here.near_stats();
        assert_eq!(
            (after.hits, after.misses),
            (before.hits + 1, before.misses),
            "it is near"
        );
    }
    delays.sort_unstable();
    println!(
        "{kind:?}: a change by another process is seen after {:?} (median)",
        delays[10]
    );
    Ok(())
}

#[tokio::test]
async fn a_change_by_another_process_takes_the_copy_away() -> Result<()> {
    foreign_change(Kind::Single).await?;
    foreign_change(Kind::Cluster).await
}

#[tokio::test]
async fn a_lost_connection_takes_all_copies_away() -> Result<()> {
    let server = shared(Kind::Single).await?.addresses.remove(0);
    let proxy = Proxy::start(&*server).await?;
    let here = numbers(&Topology::single(proxy.address().parse()?)).await?;
    let there = numbers(&Topology::single(server.parse()?)).await?;
    until_tracked(&here).await?;
    let key = key();
    there.put(&key, Loaded::of(1)).await?;
    assert_eq!((read(&here, &key).await?, read(&here, &key).await?), (1, 1));
    proxy.refuse().await;
    until(LIMIT, "the loss to be noticed", async || {
        Ok((here.near_status() != NearStatus::Tracked).then_some(()))
    })
    .await?;
    // Nobody can tell it of this change.
    there.put(&key, Loaded::of(2)).await?;
    assert!(read(&here, &key).await.is_err(), "neither a copy nor a cache");
    proxy.accept().await?;
    let back = until(LIMIT, "the cache to be back", async || {
        Ok(read(&here, &key).await.ok())
    })
    .await?;
    assert_eq!(back, 2);
    Ok(())
}

/// Readers of few keys, and foreign writers; afterwards everything agrees.
async fn race(kind: Kind) -> Result<()> {
    const KEYS: usize = 32;
    const SPAN: Duration = Duration::from_secs(3);
    let topology = topology(kind).await?;
    let (here, there) = (numbers(&topology).await?, numbers(&topology).await?);
    until_tracked(&here).await?;
    let keys: Arc<Vec<String>> = Arc::new((0..KEYS).map(|_| key()).collect());
    for key in &*keys {
        there.put(key, Loaded::of(0)).await?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let readers = (0..16_usize).map(|reader| {
        let (here, keys, stop) = (here.clone(), Arc::clone(&keys), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut last = [0; KEYS];
            for turn in reader.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let number = read(&here, &keys[turn % KEYS]).await?;
                anyhow::ensure!(
                    number >= last[turn % KEYS],
                    "{number} after {}",
                    last[turn % KEYS]
                );
                last[turn % KEYS] = number;
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    });
    let readers: Vec<_> = readers.collect();
    // One writer per key, so that the last number is known.
    let writers = (0..KEYS).map(|place| {
        let (there, keys) = (there.clone(), Arc::clone(&keys));
        tokio::spawn(async move {
            let begun = clock::now();
            let mut number = 0;
            while begun.elapsed() < SPAN {
                number += 1;
                there.put(&keys[place], Loaded::of(number)).await?;
            }
            anyhow::Ok(number)
        })
    });
    let mut written = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        written.push(writer.await??);
    }
    until(Duration::from_secs(1), "everything to agree", async || {
        for (key, written) in keys.iter().zip(&written) {
            if read(&here, key).await? != *written {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await??;
    }
    let near = here.near_stats();
    println!(
        "{kind:?}: {} writes, {} reads near, {} far, {} overtaken: none is stale",
        written.iter().sum::<u64>(),
        near.hits,
        near.misses,
        near.poisoned
    );
    assert!(near.hits > 0 && near.invalidations > 0, "{near:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_race_of_reads_and_foreign_writes_no_copy_is_stale() -> Result<()> {
    race(Kind::Single).await?;
    race(Kind::Cluster).await
}
