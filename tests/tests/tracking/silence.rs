//! The network swallows everything, the connection stays open and no caller asks for anything: what is kept
//! near is given up within the stated bound.

use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClient, Invalidation, TrackingStatus, Ttl, clock};
use cache_valkey::ValkeyClient;
use tests::{Proxy, Server, ServerOptions, Version};

use crate::lateness::Lateness;
use crate::listener::{Heard, read, single, status_is, tracked_again};

/// The pace of asking, and five times the silence that a connection is granted: a third of the shorter timeout.
fn bound(timeout: Duration) -> Duration {
    Duration::from_secs(1) + 5 * (timeout / 3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_died_in_silence_is_given_up_without_any_traffic() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let config = single(&proxy.address())?;
    let client = ValkeyClient::connect(&config).await?;
    let heard = Heard::of(&client)?;
    let lateness = Lateness::measure()?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    read(&client, "key").await?;
    heard.clear();
    proxy.pause();
    let paused = clock::now();
    // Nobody will tell us of this one.
    server.call(&["SET", "key", "2"]).await?;
    heard.wait_for(&Invalidation::ConnectionLost).await?;
    let stale = paused.elapsed();
    println!("given up {stale:?} after the connection had died");
    assert!(stale < bound(config.read_timeout) + lateness.slack(), "{stale:?}");
    status_is(&client, &TrackingStatus::Interrupted).await?;
    proxy.resume();
    assert_eq!(tracked_again(&client, "key").await?.value, "2");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_asked_only_while_something_is_kept() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = ValkeyClient::connect(&single(&server.address())?).await?;
    let heard = Heard::of(&client)?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    read(&client, "key").await?;
    let asked = || async {
        let line = server.info("cmdstat_hello").await.unwrap_or_default();
        let calls = line.split(',').next().unwrap_or_default();
        calls.trim_start_matches("calls=").parse::<u64>().unwrap_or(0)
    };
    let before = asked().await;
    tests::until(crate::listener::LIMIT, "the server to be asked", || async {
        Ok((asked().await >= before + 3).then_some(()))
    })
    .await?;
    assert_eq!(heard.events(), []);
    Ok(())
}
