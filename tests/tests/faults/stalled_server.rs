//! The server, or the connection to it, stops answering without being closed.
//!
//! What is promised: no call outlives its deadline; the stall is noticed before the first call has waited
//! for its whole read timeout; from then on calls fail within a millisecond; a connection that is dead
//! while the server lives is replaced; when the server goes on, so does the client.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use cache_core::clock;
use cache_core::{CacheClient, CacheError, Ttl, Unavailability};
use cache_valkey::{Resolve, ValkeyClient};
use tests::{Proxy, Server, ServerOptions, Version, until};
use tokio::task::JoinSet;

use crate::lateness::Lateness;
use crate::load::{Load, Loss};
use crate::setup::{LIMIT, single};

/// Calls that are timed while the server is known to be down.
const TIMED: usize = 5_000;

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("stall:{number}")).collect()
}

/// Waits until calls fail because the server is known to be down; how long that took.
async fn known_to_be_down(client: &dyn CacheClient) -> Result<Duration> {
    let started = clock::now();
    until(LIMIT, "the stall to be noticed", || async {
        // Without waiting for as long as a call that was sent before.
        let asked = tokio::time::timeout(Duration::from_millis(20), client.get("key")).await;
        Ok(matches!(
            asked,
            Ok(Err(CacheError::Unavailable {
                reason: Unavailability::Connect,
                ..
            }))
        )
        .then_some(()))
    })
    .await?;
    Ok(started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_server_costs_no_call_more_than_its_deadline_and_then_a_millisecond() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = single(&server.address())?;
    let client: Arc<dyn CacheClient> = Arc::new(ValkeyClient::connect(&config).await?);
    let load = Load::start(&client, &keys(16), Loss::Nothing)?;
    load.until_succeeded(1_000).await?;

    server.pause()?;
    let noticed = known_to_be_down(&*client).await?;
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let started = clock::now();
        assert!(client.get("key").await.is_err());
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let p99 = times[TIMED * 99 / 100];

    server.resume()?;
    let resumed = clock::now();
    until(LIMIT, "the client to go on", || async {
        Ok(client.ping().await.ok())
    })
    .await?;
    let recovered = resumed.elapsed();
    load.until_succeeded(1_000).await?;
    let mut report = load.stop().await?;
    println!(
        "stall noticed after {noticed:?}; {TIMED} calls while down: p50 {:?}, p99 {p99:?}; \
         recovered after {recovered:?}; {}",
        times[TIMED / 2],
        report.summary()
    );
    report.check(config.read_timeout);
    report.settle(&*client).await;
    assert!(
        noticed < config.read_timeout + report.slack(),
        "noticed only after {noticed:?}, which is no better than a timeout"
    );
    assert!(p99 <= Duration::from_millis(1), "{p99:?}");
    // The longest pause between two tries to connect is a second; the rest is slack.
    assert!(recovered < Duration::from_secs(4), "{recovered:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_under_more_requests_than_one_connection_takes_is_noticed_as_fast() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = single(&server.address())?;
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    let lateness = Lateness::measure()?;
    server.pause()?;
    let started = clock::now();
    // Enough to ask for further connections, which cannot be made.
    let mut calls = JoinSet::new();
    for _ in 0..600 {
        let client = Arc::clone(&client);
        calls.spawn(async move { client.incr("counter").await });
    }
    let noticed = known_to_be_down(&*client).await?;
    let results = calls.join_all().await;
    let ended = started.elapsed();
    println!(
        "noticed after {noticed:?}, all {} calls ended after {ended:?}",
        results.len()
    );
    assert!(results.iter().all(Result::is_err));
    assert!(noticed < config.read_timeout + lateness.slack(), "{noticed:?}");
    // The calls were begun over some time.
    let slack = lateness.slack() + Duration::from_millis(50);
    assert!(ended <= config.write_timeout + slack, "{ended:?}");
    Ok(())
}

/// A name that leads elsewhere from one moment to the next.
#[derive(Debug)]
struct Detour(Mutex<SocketAddr>);

impl Detour {
    fn to(address: &str) -> Result<Arc<Self>> {
        Ok(Arc::new(Self(Mutex::new(address.parse()?))))
    }

    fn lead_to(&self, address: &str) -> Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = address.parse()?;
        Ok(())
    }
}

#[async_trait]
impl Resolve for Detour {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![*self.0.lock().unwrap_or_else(PoisonError::into_inner)])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_connection_to_a_live_server_is_replaced() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let names = Detour::to(&proxy.address())?;
    let config = single("cache.test:6379")?;
    let client = ValkeyClient::builder(&config)
        .resolver(Arc::clone(&names) as Arc<dyn Resolve>)
        .connect()
        .await?;
    let client: Arc<dyn CacheClient> = Arc::new(client);
    let load = Load::start(&client, &keys(16), Loss::Nothing)?;
    load.until_succeeded(1_000).await?;

    // From now on the old connection swallows all, and a new one works.
    names.lead_to(&server.address())?;
    proxy.pause();
    let started = clock::now();
    load.until_succeeded(1_000).await?;
    let replaced = started.elapsed();
    let mut report = load.stop().await?;
    println!(
        "replaced and 1,000 calls later after {replaced:?}; {}",
        report.summary()
    );
    report.check(config.read_timeout);
    report.settle(&*client).await;
    assert!(replaced < config.read_timeout + report.slack(), "{replaced:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_lost_with_a_silent_connection_is_told_so() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let names = Detour::to(&proxy.address())?;
    let client = ValkeyClient::builder(&single("cache.test:6379")?)
        .resolver(Arc::clone(&names) as Arc<dyn Resolve>)
        .connect()
        .await?;
    names.lead_to(&server.address())?;
    proxy.pause();
    // Not repeated, since nobody knows whether it was done.
    let error = client.incr("counter").await.unwrap_err().to_string();
    assert!(
        error.contains("gave no reply") && error.contains("replaced"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_give_up_early_do_not_hide_a_dead_connection() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let names = Detour::to(&proxy.address())?;
    let mut config = single("cache.test:6379")?;
    config.read_timeout = Duration::from_millis(900);
    let client = ValkeyClient::builder(&config)
        .resolver(Arc::clone(&names) as Arc<dyn Resolve>)
        .connect()
        .await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    names.lead_to(&server.address())?;
    proxy.pause();
    let started = clock::now();
    let mut pace = tokio::time::interval(Duration::from_millis(333));
    let found = loop {
        pace.tick().await;
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(5), client.get("key")).await {
            break answer?;
        }
        assert!(started.elapsed() < LIMIT, "the connection is never replaced");
    };
    println!("replaced after {:?}", started.elapsed());
    assert_eq!(found, "value");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_client_ends_calls_that_wait_for_a_stalled_server() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let client = Arc::new(ValkeyClient::connect(&single(&proxy.address())?).await?);
    server.pause()?;
    let sent = proxy.bytes() + 10 * u64::try_from(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n".len())?;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let client = Arc::clone(&client);
        calls.spawn(async move { client.get("key").await });
    }
    until(LIMIT, "all calls to be on their way", || async {
        Ok((proxy.bytes() >= sent).then_some(()))
    })
    .await?;
    let started = clock::now();
    client.close().await?;
    for result in calls.join_all().await {
        assert!(matches!(result, Err(CacheError::Closed)), "{result:?}");
    }
    let ended = started.elapsed();
    assert!(ended < Duration::from_secs(1), "{ended:?}");
    assert!(matches!(client.ping().await, Err(CacheError::Closed)));
    client.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_fails_while_the_server_is_gone() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = ValkeyClient::connect(&single(&server.address())?).await?;
    client.ping().await?;
    server.kill()?;
    let error = client.ping().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    server.restart().await?;
    until(LIMIT, "ping to succeed again", || async {
        Ok(client.ping().await.ok())
    })
    .await
}
