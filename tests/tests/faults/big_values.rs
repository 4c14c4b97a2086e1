//! Slow is not dead, and big is not in the way: long uploads and downloads, a server that pauses, and what waiting costs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Proxy, Server, ServerOptions, Version, until};
use tokio::task::JoinSet;

use crate::lateness::Lateness;
use crate::setup::{LIMIT, single};

const MIB: usize = 1024 * 1024;

/// What the proxy holds back each chunk of 64 KiB: about 10 MiB per second on each connection.
const SLOW: Duration = Duration::from_millis(6);

/// What a small call may take beside a big value: the way through the proxy, and a connection that is opened for it.
const SMALL: Duration = Duration::from_millis(50).saturating_add(Duration::from_millis(4 * 6));

struct Line {
    server: Server,
    proxy: Proxy,
    client: Arc<ValkeyClient>,
}

/// A client behind a proxy, with patience for writes only.
async fn line() -> Result<Line> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let mut config = single(&proxy.address())?;
    config.read_timeout = Duration::from_secs(3);
    config.write_timeout = Duration::from_secs(60);
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    client.set("small", "s".into(), Ttl::Forever).await?;
    Ok(Line {
        server,
        proxy,
        client,
    })
}

/// Reads a small value again and again while `big` runs; its outcome and the longest that one of these calls took.
async fn small_calls_beside<T: Send + 'static>(
    client: &Arc<ValkeyClient>,
    big: impl Future<Output = T> + Send + 'static,
) -> Result<(T, Duration)> {
    let big = tokio::spawn(big);
    let mut longest = Duration::ZERO;
    while !big.is_finished() {
        let started = clock::now();
        client.get("small").await.context("a small call")?;
        longest = longest.max(started.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((big.await?, longest))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_upload_succeeds_and_small_calls_go_round_it() -> Result<()> {
    let Line {
        server,
        proxy,
        client,
    } = line().await?;
    let lateness = Lateness::measure()?;
    proxy.delay(SLOW);
    let uploading = Arc::clone(&client);
    let value = Bytes::from(vec![b'v'; 100 * MIB]);
    let started = clock::now();
    let upload = async move { uploading.set("big", value, Ttl::Forever).await };
    let (uploaded, longest) = small_calls_beside(&client, upload).await?;
    uploaded?;
    let (took, late) = (started.elapsed(), lateness.slack());
    println!(
        "100 MiB in {took:?}; the longest small call beside it took {longest:?}, the machine was {late:?} late"
    );
    assert!(took > Duration::from_secs(6), "the line is not slow: {took:?}");
    assert!(longest <= SMALL + late, "{longest:?}");
    let length = server.call(&["STRLEN", "big"]).await?.integer();
    assert_eq!(length, Some(100 * 1024 * 1024));
    let sets = server.call(&["INFO", "commandstats"]).await?.text();
    assert!(
        sets.contains("cmdstat_set:calls=2,"),
        "the upload was repeated: {sets}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_calls_go_round_a_big_reply() -> Result<()> {
    let Line {
        server: _server,
        proxy,
        client,
    } = line().await?;
    client
        .set("big", Bytes::from(vec![b'v'; 10 * MIB]), Ttl::Forever)
        .await?;
    let lateness = Lateness::measure()?;
    proxy.delay(SLOW);
    let reading = Arc::clone(&client);
    let before = proxy.bytes();
    let big = tokio::spawn(async move { reading.get("big").await });
    // What is asked for before the reply begins has to wait for it.
    until(LIMIT, "the reply to begin", || async {
        Ok((proxy.bytes() > before + 256 * 1024).then_some(()))
    })
    .await?;
    let (read, longest) = small_calls_beside(&client, big).await?;
    assert_eq!(read??.len(), 10 * MIB);
    let late = lateness.slack();
    println!("the longest small call beside 10 MiB took {longest:?}, the machine was {late:?} late");
    assert!(longest <= SMALL + late, "{longest:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_keep_their_deadline_while_a_server_pauses() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = Arc::new(ValkeyClient::connect(&single(&server.address())?).await?);
    client.ping().await?;
    server.pause()?;
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let client = Arc::clone(&client);
        calls.spawn(async move { client.incr("counter").await });
    }
    let paused = clock::now();
    // Meanwhile new calls fail at once.
    until(LIMIT, "new calls to fail fast", || async {
        let started = clock::now();
        let asked = tokio::time::timeout(Duration::from_millis(20), client.get("key")).await;
        let failed = asked.is_ok_and(|answer| answer.is_err());
        Ok((failed && started.elapsed() < Duration::from_millis(20)).then_some(()))
    })
    .await?;
    tokio::time::sleep_until(paused + Duration::from_millis(2_400)).await;
    server.resume()?;
    for answer in calls.join_all().await {
        if let Err(error) = answer {
            anyhow::bail!("a call that was under way: {error:?}");
        }
    }
    assert_eq!(server.call(&["GET", "counter"]).await?.text(), "100");
    until(LIMIT, "the client to go on", || async {
        Ok(client.ping().await.ok())
    })
    .await?;
    Ok(())
}

/// The memory of this process that is in use, in bytes.
fn resident() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("VmRSS")?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_for_a_stalled_server_cost_little_memory() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = Arc::new(ValkeyClient::connect(&single(&server.address())?).await?);
    client.ping().await?;
    server.pause()?;
    // Below the length from which on values are never copied, and above it.
    for size in [256 * 1024, 60 * 1024] {
        let value = Bytes::from(vec![b'v'; size]);
        let (before, until): (usize, Instant) = (resident()?, clock::now() + Duration::from_millis(800));
        let mut calls = JoinSet::new();
        for number in 0..4_000 {
            let (client, value) = (Arc::clone(&client), value.clone());
            calls.spawn(async move {
                let key = format!("key:{number}");
                let set = client.set(&key, value, Ttl::Forever);
                tokio::time::timeout_at(until, set)
                    .await
                    .unwrap_or(Err(CacheError::Closed))
            });
        }
        let mut most = before;
        while clock::now() < until {
            most = most.max(resident()?);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(calls.join_all().await.iter().all(Result::is_err));
        let grown = (most - before) / MIB;
        println!("4,000 waiting calls with one value of {size} bytes: {grown} MiB more");
        assert!(grown <= 64, "{grown} MiB");
    }
    server.resume()?;
    Ok(())
}
