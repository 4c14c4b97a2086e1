//! A primary becomes a replica while its connections stay open.

use anyhow::Result;
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient, Invalidation, TrackingStatus, Ttl};
use cache_valkey::ValkeyClient;
use tests::sentinel::PRIMARY_NAME;
use tests::{SentinelOptions, SentinelSet, Server, ServerOptions, Version, until};

use crate::listener::{Heard, LIMIT, address, listening, read, status_is, tracked_again};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_made_a_replica_is_no_longer_trusted_until_it_is_primary_again() -> Result<()> {
    let other = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    read(&client, "key").await?;
    heard.clear();
    let (host, port) = (other.host().to_string(), other.port().to_string());
    server.call(&["REPLICAOF", &host, &port]).await?;
    heard.wait_for(&Invalidation::Revoked).await?;
    status_is(&client, &TrackingStatus::Interrupted).await?;
    other.call(&["SET", "key", "2"]).await?;
    server.call(&["REPLICAOF", "NO", "ONE"]).await?;
    status_is(&client, &TrackingStatus::On).await?;
    client.set("key", "3".into(), Ttl::Forever).await?;
    assert_eq!(tracked_again(&client, "key").await?.value, "3");
    heard.clear();
    server.call(&["SET", "key", "4"]).await?;
    heard.wait_for_key("key").await
}

async fn watching(set: &SentinelSet) -> Result<ValkeyClient> {
    let sentinels = set.addresses();
    let topology = Topology::Sentinel {
        sentinels: sentinels
            .iter()
            .map(|text| address(text))
            .collect::<Result<_>>()?,
        master: PRIMARY_NAME.to_owned(),
        username: None,
        password: None,
        db: 0,
    };
    Ok(ValkeyClient::connect(&ValkeyConfig::new(topology)).await?)
}

/// Waits until what was read is given up although nothing is asked for, and the new primary tracks.
async fn is_followed(set: &SentinelSet, client: &ValkeyClient, heard: &Heard, new: usize) -> Result<()> {
    until(LIMIT, "what was read to be given up", || async {
        let given_up = heard.has(&Invalidation::ConnectionLost) || heard.has(&Invalidation::Revoked);
        Ok(given_up.then_some(()))
    })
    .await?;
    let server = &set.servers()[new];
    until(LIMIT, "the new primary to be read", || async {
        server.call(&["SET", "key", "after"]).await?;
        let entry = client.get_entry("key").await?;
        Ok((entry.tracked && entry.value == "after").then_some(()))
    })
    .await?;
    heard.clear();
    server.call(&["SET", "key", "later"]).await?;
    heard.wait_for_key("key").await?;
    status_is(client, &TrackingStatus::On).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_sentinels_make_on_request_gives_up_what_was_read() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    let client = watching(&set).await?;
    let heard = Heard::of(&client)?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    read(&client, "key").await?;
    heard.clear();
    let new = set.failover().await?;
    is_followed(&set, &client, &heard, new).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_after_a_crash_gives_up_what_was_read() -> Result<()> {
    let set = SentinelSet::start(SentinelOptions::new()).await?;
    let client = watching(&set).await?;
    let heard = Heard::of(&client)?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    read(&client, "key").await?;
    heard.clear();
    let new = set.kill_primary().await?;
    is_followed(&set, &client, &heard, new).await
}
