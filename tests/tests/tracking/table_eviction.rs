//! The server's table of tracked keys is full: what it forgets, it reports as changed.

use std::collections::BTreeSet;

use anyhow::Result;
use cache_core::{CacheClient, Ttl};
use tests::{Server, ServerOptions, Version, until};

use crate::listener::{LIMIT, listening, read};

#[tokio::test]
async fn keys_that_the_server_stops_tracking_are_heard() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8).line("tracking-table-max-keys 10");
    let server = Server::start(options).await?;
    let (client, heard) = listening(&server).await?;
    let keys: Vec<String> = (0..100).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        client.set(key, "1".into(), Ttl::Forever).await?;
        read(&client, key).await?;
    }
    let forgotten = until(LIMIT, "the server to forget keys", || async {
        let heard: BTreeSet<_> = heard.keys().into_iter().collect();
        Ok((heard.len() >= 90).then_some(heard))
    })
    .await?;
    // The others are tracked still: of each key either the end of tracking is heard, or its change.
    for key in &keys {
        server.call(&["SET", key, "2"]).await?;
    }
    until(LIMIT, "every key to be heard", || async {
        let heard: BTreeSet<_> = heard.keys().into_iter().collect();
        anyhow::ensure!(heard.len() == keys.len(), "{} heard", heard.len());
        Ok(Some(()))
    })
    .await?;
    println!(
        "{} of {} were forgotten before they changed",
        forgotten.len(),
        keys.len()
    );
    Ok(())
}
