//! The server lets no further connection in while one is not enough: the client makes do, and does not knock
//! without end.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use cache_core::{CacheClient, Ttl, clock};
use cache_valkey::ValkeyClient;
use tests::{Server, ServerOptions, Version};
use tokio::task::JoinSet;

use crate::setup::single;

/// How often there are more calls than one connection takes.
const CROWDS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_refused_under_load_are_tried_less_and_less_often() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = Arc::new(ValkeyClient::connect(&single(&server.address())?).await?);
    client.ping().await?;
    let mut steering = server.connect().await?;
    // The two that are there, and no more.
    steering.call(&["CONFIG", "SET", "maxclients", "2"]).await?;
    let value = Bytes::from(vec![b'v'; 256 * 1024]);
    let started = clock::now();
    for _ in 0..CROWDS {
        let mut calls = JoinSet::new();
        for _ in 0..16 {
            // Big values, each of which wants a connection that has none.
            let (client, value) = (Arc::clone(&client), value.clone());
            calls.spawn(async move { client.set("key", value, Ttl::Forever).await });
        }
        for answer in calls.join_all().await {
            answer?;
        }
    }
    let stats = steering.call(&["INFO", "stats"]).await?.text();
    let rejected = stats
        .lines()
        .find_map(|line| line.strip_prefix("rejected_connections:"));
    let rejected: u64 = rejected.unwrap_or("0").trim().parse()?;
    let took = started.elapsed();
    println!("{rejected} connections refused over {CROWDS} crowds in {took:?}");
    // A few at first, then at most two a second.
    let most = 10 + 2 * took.as_secs();
    assert!((1..most).contains(&rejected), "{rejected}");
    Ok(())
}
