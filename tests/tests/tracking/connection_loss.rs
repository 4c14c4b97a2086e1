//! The connection over which keys were read ends: all that was read is given up before the next answer.

use anyhow::Result;
use cache_core::{CacheClient, Invalidation, TrackingStatus, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Proxy, Server, ServerOptions, Version, until};

use crate::listener::{Heard, LIMIT, first_answer, listening, read, single, status_is, tracked_again};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_is_told_before_the_next_answer_and_tracking_comes_back() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    for round in 1..=50 {
        tracked_again(&client, "key").await?;
        heard.clear();
        server.call(&["CLIENT", "KILL", "TYPE", "normal"]).await?;
        first_answer(&client, "key").await?;
        // Two who notice the end at once may both tell.
        assert!(
            heard.has(&Invalidation::ConnectionLost),
            "round {round}: {:?}",
            heard.events()
        );
    }
    tracked_again(&client, "key").await?;
    status_is(&client, &TrackingStatus::On).await?;
    server.call(&["SET", "key", "2"]).await?;
    heard.wait_for_key("key").await
}

#[tokio::test]
async fn the_end_of_a_connection_that_read_nothing_is_not_told() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    client.get("key").await?;
    server.call(&["CLIENT", "KILL", "TYPE", "normal"]).await?;
    until(LIMIT, "an answer", || async { Ok(client.get("key").await.ok()) }).await?;
    read(&client, "key").await?;
    assert_eq!(heard.events(), []);
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_closed_tells_the_end_of_its_connections() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    read(&client, "key").await?;
    client.close().await?;
    assert_eq!(heard.events(), [Invalidation::ConnectionLost]);

    let (client, heard) = listening(&server).await?;
    read(&client, "key").await?;
    drop(client);
    heard.wait_for(&Invalidation::ConnectionLost).await
}

#[tokio::test]
async fn the_status_says_when_tracking_is_interrupted() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let proxy = Proxy::start(server.address()).await?;
    let client = ValkeyClient::connect(&single(&proxy.address())?).await?;
    let heard = Heard::of(&client)?;
    status_is(&client, &TrackingStatus::On).await?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    read(&client, "key").await?;
    proxy.refuse().await;
    status_is(&client, &TrackingStatus::Interrupted).await?;
    heard.wait_for(&Invalidation::ConnectionLost).await?;
    proxy.accept().await?;
    status_is(&client, &TrackingStatus::On).await?;
    read(&client, "key").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_connections_each_hears_of_what_was_read_over_it() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let mut config = single(&server.address())?;
    config.pool_size = 4;
    let client = std::sync::Arc::new(ValkeyClient::connect(&config).await?);
    let heard = Heard::of(&*client)?;
    let keys: Vec<String> = (0..5_000).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        client.set(key, "1".into(), Ttl::Forever).await?;
    }
    // A crowd, which makes the client open further connections and read over all of them.
    let crowd = || async {
        let reads = keys.iter().map(|key| {
            let (client, key) = (std::sync::Arc::clone(&client), key.clone());
            async move { read(&*client, &key).await }
        });
        futures::future::try_join_all(reads).await.map(drop)
    };
    until(LIMIT, "several connections", || async {
        crowd().await?;
        let clients: usize = server.info("tracking_clients").await?.parse()?;
        Ok((clients > 1).then_some(()))
    })
    .await?;
    crowd().await?;
    heard.clear();
    let mut write = vec!["MSET"];
    write.extend(keys.iter().flat_map(|key| [key.as_str(), "2"]));
    server.call(&write).await?;
    until(LIMIT, "all keys to be heard", || async {
        let mut so_far = heard.keys();
        so_far.sort_unstable();
        so_far.dedup();
        anyhow::ensure!(so_far.len() == keys.len(), "{} heard", so_far.len());
        Ok(Some(()))
    })
    .await
}
