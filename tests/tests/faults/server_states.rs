//! The server is there and cannot do it now: what each of its refusals becomes, which ones are tried again,
//! and that the same client goes on when the state has passed.

use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClient as _, CacheError, Outcome, Ttl, Unavailability};
use cache_valkey::ValkeyClient;
use tests::{Answer, FakeServer, Server, ServerOptions, Version, until};

use crate::setup::{LIMIT, single};

/// Refusals that pass by themselves.
const PASSING: [&str; 6] = [
    "LOADING",
    "BUSY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "READONLY",
];

fn is_not_ready(error: &CacheError, code: &str) -> bool {
    matches!(
        error,
        CacheError::Unavailable {
            reason: Unavailability::NotReady,
            outcome: Outcome::NotApplied,
            ..
        }
    ) && error.to_string().contains(code)
}

/// Waits until a call fails with `code`.
async fn refused_with(client: &ValkeyClient, code: &str) -> Result<CacheError> {
    until(LIMIT, code, || async {
        Ok(match client.set("key", "value".into(), Ttl::Forever).await {
            Err(error) if error.to_string().contains(code) => Some(error),
            _ => None,
        })
    })
    .await
}

async fn works_again(client: &ValkeyClient) -> Result<()> {
    until(LIMIT, "the client to work again", || async {
        Ok(client.set("key", "value".into(), Ttl::Forever).await.ok())
    })
    .await?;
    assert_eq!(client.get("key").await?, "value");
    Ok(())
}

#[tokio::test]
async fn a_refusal_that_passes_is_tried_again_whatever_the_call() -> Result<()> {
    for code in PASSING {
        let fake = FakeServer::start(move |asked| match (asked.turn % 3, asked.words[0].as_str()) {
            (0 | 1, _) => Answer::refusal(&format!("{code} not now")),
            (_, "GET") => Answer::value("value"),
            (_, "INCR") => Answer::Bytes(b":7\r\n".to_vec()),
            _ => Answer::ok(),
        })
        .await?;
        let client = ValkeyClient::connect(&single(&fake.address())?).await?;
        assert_eq!(client.get("key").await?, "value", "{code}");
        client.set("key", "value".into(), Ttl::Forever).await?;
        // It was certainly not done, so even this may be sent again.
        assert_eq!(client.incr("key").await?, 7, "{code}");
        assert_eq!((fake.asked(), fake.accepted()), (9, 1), "{code}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_that_does_not_pass_ends_after_the_retries_and_names_the_state() -> Result<()> {
    for code in PASSING {
        let fake = FakeServer::start(move |_| Answer::refusal(&format!("{code} not now"))).await?;
        let client = ValkeyClient::connect(&single(&fake.address())?).await?;
        let error = client.get("key").await.unwrap_err();
        assert!(is_not_ready(&error, code), "{error}");
        assert_eq!(fake.asked(), 4, "{code}: one try and CACHE_MAX_RETRIES more");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_that_is_final_is_not_tried_again() -> Result<()> {
    for line in [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "ERR no",
        "NOPERM no",
    ] {
        let fake = FakeServer::start(move |_| Answer::refusal(line)).await?;
        let client = ValkeyClient::connect(&single(&fake.address())?).await?;
        let error = client.get("key").await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
        assert_eq!(fake.asked(), 1, "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn what_must_not_be_done_twice_is_not_sent_twice_when_its_reply_is_lost() -> Result<()> {
    let fake = FakeServer::start(|asked| match (asked.turn, asked.words[0].as_str()) {
        (_, "INCR") => Answer::Last(Vec::new()),
        (turn, _) if turn % 2 == 1 => Answer::Last(Vec::new()),
        (_, "GET") => Answer::value("value"),
        _ => Answer::ok(),
    })
    .await?;
    let client = ValkeyClient::connect(&single(&fake.address())?).await?;
    let error = client.incr("counter").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(fake.asked(), 1, "sent again, and so perhaps counted twice");

    // Reads, and writes that may be repeated, are: the first try of each loses its connection.
    assert_eq!(client.get("key").await?, "value");
    client.set("key", "value".into(), Ttl::Forever).await?;
    assert_eq!(fake.asked(), 5);
    Ok(())
}

#[tokio::test]
async fn a_server_without_memory_rejects_writes_and_answers_reads() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = ValkeyClient::connect(&single(&server.address())?).await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    server.call(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    let error = client
        .set("key", "another".into(), Ttl::Forever)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CacheError::Rejected { code, .. } if code == "OOM"),
        "{error}"
    );
    assert_eq!(client.get("key").await?, "value");
    server.call(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    works_again(&client).await
}

#[tokio::test]
async fn a_replica_takes_no_writes_until_it_is_promoted() -> Result<()> {
    let primary = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let options = ServerOptions::new(Version::Valkey8).replica_of(&primary);
    let replica = Server::start(options.line("replica-serve-stale-data no")).await?;
    until(LIMIT, "the replica to follow", || async {
        Ok((replica.info("master_link_status").await? == "up").then_some(()))
    })
    .await?;
    let client = ValkeyClient::connect(&single(&replica.address())?).await?;
    let error = refused_with(&client, "READONLY").await?;
    assert!(is_not_ready(&error, "READONLY"), "{error}");

    // Without its primary it does not even answer reads.
    primary.kill()?;
    let error = until(LIMIT, "MASTERDOWN", || async {
        Ok(match client.get("key").await {
            Err(CacheError::Miss) => None,
            Err(error) => Some(error),
            Ok(_) => None,
        })
    })
    .await?;
    assert!(is_not_ready(&error, "MASTERDOWN"), "{error}");
    replica.call(&["REPLICAOF", "NO", "ONE"]).await?;
    works_again(&client).await
}

#[tokio::test]
async fn a_server_that_runs_a_long_script_is_busy_until_it_is_killed() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8).line("busy-reply-threshold 20");
    let server = Server::start(options).await?;
    let client = ValkeyClient::connect(&single(&server.address())?).await?;
    let mut other = server.connect().await?;
    let mut killer = server.connect().await?;
    let script = tokio::spawn(async move { other.ask(&["EVAL", "while true do end", "0"]).await });
    let error = refused_with(&client, "BUSY").await?;
    assert!(is_not_ready(&error, "BUSY"), "{error}");
    killer.call(&["SCRIPT", "KILL"]).await?;
    script.await??;
    works_again(&client).await
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_not_ready_until_it_has() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8)
        .line("key-load-delay 500")
        .line("loading-process-events-interval-bytes 1024");
    let server = Server::start(options).await?;
    let client = ValkeyClient::connect(&single(&server.address())?).await?;
    server
        .call(&["DEBUG", "POPULATE", "5000", "filler", "100"])
        .await?;
    // Writes its data to disk and loads them again, half a millisecond for each key.
    let mut other = server.connect().await?;
    let reload = tokio::spawn(async move { other.ask(&["DEBUG", "RELOAD"]).await });
    let error = refused_with(&client, "LOADING").await?;
    assert!(is_not_ready(&error, "LOADING"), "{error}");
    // A client that starts meanwhile connects, and is told the same.
    let late = ValkeyClient::connect(&single(&server.address())?).await?;
    assert!(
        tokio::time::timeout(Duration::from_secs(3), late.get("key"))
            .await
            .is_ok()
    );
    reload.await??;
    works_again(&client).await?;
    works_again(&late).await
}

/// Redis before 7.0 wraps what a command inside a script was refused with.
#[tokio::test]
async fn a_refusal_inside_a_script_is_the_same_on_every_version() -> Result<()> {
    let life = Ttl::secs(600);
    for version in [Version::Valkey8, Version::Redis7, Version::Redis6] {
        let server = Server::start(ServerOptions::new(version)).await?;
        let client = ValkeyClient::connect(&single(&server.address())?).await?;
        server.call(&["RPUSH", "list", "item"]).await?;
        for error in [
            client.incr_by("list", 1, life).await.unwrap_err(),
            client.incr("list").await.unwrap_err(),
        ] {
            assert!(
                matches!(&error, CacheError::Rejected { code, .. } if code == "WRONGTYPE"),
                "{version:?}: {error}"
            );
        }

        // What passes is tried again, and counted once.
        server
            .call(&["CONFIG", "SET", "min-replicas-to-write", "1"])
            .await?;
        let error = client.incr_by("counter", 1, life).await.unwrap_err();
        assert!(is_not_ready(&error, "NOREPLICAS"), "{version:?}: {error}");
        server
            .call(&["CONFIG", "SET", "min-replicas-to-write", "0"])
            .await?;
        assert_eq!(client.incr_by("counter", 1, life).await?, 1, "{version:?}");

        // As a primary that lost a failover does it.
        server.call(&["REPLICAOF", "127.0.0.1", "1"]).await?;
        let error = client.incr_by("counter", 1, life).await.unwrap_err();
        assert!(error.is_transient(), "{version:?}: {error}");
        server.call(&["REPLICAOF", "NO", "ONE"]).await?;
        until(LIMIT, "the counter to be counted again", || async {
            Ok(client.incr_by("counter", 1, life).await.ok())
        })
        .await?;
    }
    Ok(())
}
