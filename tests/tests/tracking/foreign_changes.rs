//! Somebody changes a key that was read: whatever the change is, it is heard, and once per read.

use anyhow::{Result, ensure};
use cache_core::{CacheClient, CacheError, Invalidation, Lookup, Ttl};
use tests::{Server, ServerOptions, Version, until};

use crate::listener::{LIMIT, listening, read};

#[tokio::test]
async fn a_foreign_write_of_any_kind_is_heard() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    let changes: [&[&str]; 9] = [
        &["SET", "key", "2"],
        &["DEL", "key"],
        &["UNLINK", "key"],
        &["PEXPIRE", "key", "60000"],
        &["PERSIST", "key"],
        &["INCR", "key"],
        &["APPEND", "key", "1"],
        &["RENAME", "key", "other"],
        &["EVAL", "return redis.call('SET', KEYS[1], '3')", "1", "key"],
    ];
    for change in changes {
        server.call(&["SET", "key", "1", "PX", "90000"]).await?;
        read(&client, "key").await?;
        heard.clear();
        server.call(change).await?;
        heard.wait_for_key("key").await?;
        let events = heard.events();
        assert_eq!(events, [Invalidation::Keys(vec!["key".into()])], "{change:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_expires_is_heard() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    server.call(&["SET", "key", "1", "PX", "50"]).await?;
    read(&client, "key").await?;
    heard.wait_for_key("key").await
}

#[tokio::test]
async fn a_key_that_the_server_evicts_is_heard() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8)
        .line("maxmemory 8mb")
        .line("maxmemory-policy allkeys-random");
    let server = Server::start(options).await?;
    let (client, heard) = listening(&server).await?;
    let keys: Vec<String> = (0..20).map(|number| format!("small:{number}")).collect();
    for key in &keys {
        client.set(key, "1".into(), Ttl::Forever).await?;
        read(&client, key).await?;
    }
    heard.clear();
    let large = "x".repeat(100_000);
    let mut writes = 0;
    until(LIMIT, "a key to be evicted", || {
        writes += 1;
        let write = ["SET".to_owned(), format!("large:{writes}"), large.clone()];
        let (server, heard) = (&server, &heard);
        async move {
            server.call(&write).await?;
            Ok((!heard.keys().is_empty()).then_some(()))
        }
    })
    .await?;
    for key in heard.keys() {
        let gone = client.get(&key).await;
        assert!(matches!(gone, Err(CacheError::Miss)), "{key} was not evicted");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_made_after_a_miss_is_heard() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    let missed = client.get_entry("key").await;
    assert!(matches!(missed, Err(CacheError::Miss)));
    server.call(&["SET", "key", "1"]).await?;
    heard.wait_for_key("key").await
}

#[tokio::test]
async fn keys_of_a_batch_are_heard_each_on_its_own_those_that_are_missing_too() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    let keys: Vec<String> = (0..200).map(|number| format!("batch:{number}")).collect();
    // Every third key does not exist.
    for key in keys
        .iter()
        .enumerate()
        .filter(|(place, _)| place % 3 != 0)
        .map(|(_, key)| key)
    {
        client.set(key, "1".into(), Ttl::secs(600)).await?;
    }
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    for lookup in client.get_entries(&all).await {
        let tracked = match lookup? {
            Lookup::Found(entry) => entry.tracked && matches!(entry.remaining, Ttl::After(_)),
            Lookup::Absent(absence) => absence.tracked,
        };
        ensure!(tracked);
    }
    heard.clear();
    for key in &all {
        server.call(&["SET", key, "2"]).await?;
    }
    for key in &all {
        heard.wait_for_key(key).await?;
    }
    ensure!(
        heard.keys().len() == all.len(),
        "each once: {}",
        heard.keys().len()
    );
    Ok(())
}

#[tokio::test]
async fn an_own_write_is_heard_as_any_other() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let (client, heard) = listening(&server).await?;
    client.set("key", "1".into(), Ttl::Forever).await?;
    read(&client, "key").await?;
    // Over the very connection that read it, and by another client of this process.
    client.set("key", "2".into(), Ttl::Forever).await?;
    heard.wait_for_key("key").await?;
    heard.clear();
    read(&client, "key").await?;
    let (other, _other_heard) = listening(&server).await?;
    other.set("key", "3".into(), Ttl::Forever).await?;
    heard.wait_for_key("key").await
}
