//! The server is down when the client starts.

use std::time::Duration;

use anyhow::Result;
use cache_core::config::Startup;
use cache_core::{CacheClient as _, CacheError, Ttl, Unavailability};
use cache_valkey::ValkeyClient;
use tests::{Proxy, SentinelOptions, SentinelSet, Server, ServerOptions, Version, until};

use crate::setup::{LIMIT, login, single, watched};

fn is_no_connection(error: &CacheError) -> bool {
    matches!(
        error,
        CacheError::Unavailable {
            reason: Unavailability::Connect,
            ..
        }
    )
}

#[tokio::test]
async fn fail_refuses_to_start_without_the_server() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.kill()?;
    let error = ValkeyClient::connect(&single(&server.address())?)
        .await
        .unwrap_err();
    assert!(is_no_connection(&error), "{error}");
    assert!(error.to_string().contains(&server.address()), "{error}");
    Ok(())
}

#[tokio::test]
async fn degrade_starts_and_uses_the_server_as_soon_as_it_is_there() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    server.kill()?;
    let config = single(&server.address())?;
    let client = ValkeyClient::builder(&config)
        .startup(Startup::Degrade)
        .connect()
        .await?;
    let error = client.get("key").await.unwrap_err();
    assert!(is_no_connection(&error), "{error}");

    server.restart().await?;
    until(
        Duration::from_secs(5),
        "the client to find the server",
        || async { Ok(client.ping().await.ok()) },
    )
    .await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    assert_eq!(client.get("key").await?, "value");
    Ok(())
}

#[tokio::test]
async fn degrade_does_not_start_with_what_waiting_cannot_mend() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8).password("right")).await?;
    let mut config = single(&server.address())?;
    config.authentication = login(None, "wrong");
    let error = ValkeyClient::builder(&config)
        .startup(Startup::Degrade)
        .connect()
        .await
        .unwrap_err();
    assert!(matches!(error, CacheError::Unauthorized { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn sentinels_that_are_down_at_the_start_are_found_when_they_are_there() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    let mut proxies = Vec::new();
    for sentinel in set.addresses() {
        let proxy = Proxy::start(sentinel).await?;
        proxy.refuse().await;
        proxies.push(proxy);
    }
    let addresses: Vec<String> = proxies.iter().map(Proxy::address).collect();
    let config = watched(&addresses)?;
    let error = ValkeyClient::connect(&config).await.unwrap_err();
    assert!(is_no_connection(&error), "{error}");

    let client = ValkeyClient::builder(&config)
        .startup(Startup::Degrade)
        .connect()
        .await?;
    let error = client.get("key").await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    // One of them is enough.
    proxies[2].accept().await?;
    until(LIMIT, "the client to find the primary", || async {
        Ok(client.ping().await.ok())
    })
    .await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    Ok(())
}
