//! What was not read by `get_entry` while somebody listened is not tracked, and costs the server nothing.

use anyhow::Result;
use cache_core::{CacheClient, Ttl};
use cache_valkey::{Tracking, ValkeyClient};
use tests::{Server, ServerOptions, Version};

use crate::listener::{Heard, listening, read, single};

#[tokio::test]
async fn keys_that_were_never_read_by_get_entry_are_not_heard() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    for key in ["a", "b", "c", "read"] {
        client.set(key, "1".into(), Ttl::Forever).await?;
    }
    client.get("a").await?;
    client.get_many(&["a", "b"]).await?;
    client.ttl("c").await?;
    client.exists(&["c"]).await?;
    read(&client, "read").await?;
    // Each right behind a tracked read: what is sent next on the connection is not tracked along with it.
    client.get("b").await?;
    for key in ["a", "b", "c", "read"] {
        server.call(&["SET", key, "2"]).await?;
    }
    heard.wait_for_key("read").await?;
    assert_eq!(heard.keys(), ["read"]);
    Ok(())
}

#[tokio::test]
async fn while_nobody_listens_nothing_is_tracked() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = ValkeyClient::connect(&single(&server.address())?).await?;
    server.call(&["SET", "key", "1"]).await?;
    assert!(!client.get_entry("key").await?.tracked);
    let heard = Heard::of(&client)?;
    read(&client, "key").await?;
    drop(heard);
    server.call(&["SET", "key", "2"]).await?;
    assert!(!client.get_entry("key").await?.tracked);
    assert_eq!(server.info("tracking_total_keys").await?, "0");
    Ok(())
}

#[tokio::test]
async fn tracking_that_is_switched_off_offers_no_invalidations_and_asks_for_none() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = single(&server.address())?;
    let client = ValkeyClient::builder(&config)
        .tracking(Tracking::Off)
        .connect()
        .await?;
    assert!(client.invalidations().is_none());
    server.call(&["SET", "key", "1"]).await?;
    assert!(!client.get_entry("key").await?.tracked);
    assert_eq!(server.info("tracking_clients").await?, "0");
    Ok(())
}
