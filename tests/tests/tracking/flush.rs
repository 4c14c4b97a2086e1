//! Everything is removed at once: one event says so.

use anyhow::Result;
use cache_core::{CacheClient, Invalidation, Ttl};
use tests::{Server, ServerOptions, Version};

use crate::listener::{listening, read};

#[tokio::test]
async fn a_flush_is_heard_as_everything() -> Result<()> {
    for version in [Version::Valkey8, Version::Redis7] {
        let server = Server::start(ServerOptions::new(version)).await?;
        let (client, heard) = listening(&server).await?;
        for flush in [&["FLUSHALL"][..], &["FLUSHDB"], &["FLUSHALL", "ASYNC"]] {
            client.set("key", "1".into(), Ttl::Forever).await?;
            read(&client, "key").await?;
            heard.clear();
            server.call(flush).await?;
            heard.wait_for(&Invalidation::Everything).await?;
        }
    }
    Ok(())
}
