//! Connections that a peak opened are closed again when nobody uses them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use cache_core::{CacheClient, Ttl};
use cache_valkey::{ValkeyClient, Wire};
use tests::{Server, ServerOptions, Version, until};
use tokio::task::JoinSet;

use crate::setup::{LIMIT, single};

/// The client's connections; the one that asks is another.
async fn connections(server: &Server) -> Result<u64> {
    Ok(server.info("connected_clients").await?.parse::<u64>()? - 1)
}

/// More calls than one connection takes, until there are several.
async fn grow(client: &Arc<ValkeyClient>, server: &Server, wire: Wire) -> Result<u64> {
    let (count, size) = match wire {
        // Big values, each of which wants a connection that has none.
        Wire::Own => (8, 4 * 1024 * 1024),
        _ => (800, 16 * 1024),
    };
    let value = Bytes::from(vec![b'v'; size]);
    until(LIMIT, "further connections", || async {
        let mut calls = JoinSet::new();
        for _ in 0..count {
            let (client, value) = (Arc::clone(client), value.clone());
            calls.spawn(async move { client.set("big", value, Ttl::Forever).await });
        }
        for result in calls.join_all().await {
            result?;
        }
        let open = connections(server).await?;
        Ok((open > 1).then_some(open))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_a_peak_opened_are_closed_when_they_are_idle() -> Result<()> {
    for wire in [Wire::Own, Wire::Redis] {
        let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
        let client = ValkeyClient::builder(&single(&server.address())?)
            .idle_timeout(Duration::from_secs(1))
            .wire(wire)
            .connect()
            .await?;
        let client = Arc::new(client);
        let peak = grow(&client, &server, wire).await?;
        // Some calls go on, on the first connection; none of them fails.
        until(LIMIT, "one connection to be left", || async {
            client.set("key", "value".into(), Ttl::Forever).await?;
            Ok((connections(&server).await? == 1).then_some(()))
        })
        .await?;
        println!("{peak} connections at the peak, {wire:?}");
        assert_eq!(client.get("key").await?, "value");
        assert!(grow(&client, &server, wire).await? > 1, "it grows again");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_stays_while_the_idle_timeout_is_not_over() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = Arc::new(ValkeyClient::connect(&single(&server.address())?).await?);
    let peak = grow(&client, &server, Wire::Own).await?;
    // Longer than the supervisor needs for several checks.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(connections(&server).await?, peak);
    Ok(())
}
