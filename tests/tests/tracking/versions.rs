//! The other servers that the client speaks to track as well.

use anyhow::Result;
use cache_core::{CacheClient, Invalidation, TrackingStatus, Ttl};
use tests::{Server, ServerOptions, Version};

use crate::listener::{first_answer, listening, read, status_is};

async fn tracks(version: Version) -> Result<()> {
    let server = Server::start(ServerOptions::new(version)).await?;
    let (client, heard) = listening(&server).await?;
    status_is(&client, &TrackingStatus::On).await?;
    client.set("key", "1".into(), Ttl::secs(60)).await?;
    let entry = client.get_entry("key").await?;
    assert!(entry.tracked && entry.remaining != Ttl::Forever);
    server.call(&["SET", "key", "2"]).await?;
    heard.wait_for_key("key").await?;
    read(&client, "key").await?;
    heard.clear();
    server.call(&["CLIENT", "KILL", "TYPE", "normal"]).await?;
    first_answer(&client, "key").await?;
    assert_eq!(heard.events(), [Invalidation::ConnectionLost]);
    Ok(())
}

#[tokio::test]
async fn redis_7_tracks() -> Result<()> {
    tracks(Version::Redis7).await
}

#[tokio::test]
async fn valkey_9_tracks() -> Result<()> {
    tracks(Version::Valkey9).await
}
