//! Replies that are no valid protocol, or cannot be meant for the command: the call fails or is answered
//! right, the connection is given up, the next call works, and nobody gets a reply of somebody else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClient as _, CacheError};
use cache_valkey::ValkeyClient;
use tests::{Answer, FakeServer, until};
use tokio::task::JoinSet;

use crate::lateness::Lateness;
use crate::setup::{LIMIT, single};

/// Replies to GET that no server sends.
fn garbage() -> Vec<(&'static str, Answer)> {
    let bytes = |text: &str| Answer::Bytes(text.as_bytes().to_vec());
    vec![
        ("an unknown mark", bytes("?what\r\n")),
        ("another protocol", bytes("HTTP/1.1 200 OK\r\n\r\n")),
        ("zero bytes", Answer::Bytes(vec![0; 64])),
        ("no number for a length", bytes("$abc\r\nabc\r\n")),
        ("a value that is longer than it says", bytes("$3\r\nabcdef\r\n")),
        ("no number for an integer", bytes(":one\r\n")),
        ("a truth that is none", bytes("#x\r\n")),
        ("arrays within arrays", bytes(&"*1\r\n".repeat(2_000))),
        ("a value cut off", Answer::Last(b"$10\r\nabc".to_vec())),
        ("a line cut off", Answer::Last(b"+O".to_vec())),
        ("an integer", bytes(":1\r\n")),
        ("a status", bytes("+OK\r\n")),
        ("an array", bytes("*1\r\n$1\r\na\r\n")),
        ("a map", bytes("%1\r\n$1\r\na\r\n$1\r\nb\r\n")),
        ("a value of nine exabytes", bytes("$9223372036854775807\r\n")),
        ("a value of a terabyte", bytes("$1099511627776\r\nabc")),
        ("an array of two thousand million", bytes("*2147483647\r\n")),
        ("a map of nine quintillions", bytes("%9223372036854775807\r\n")),
        ("a text of negative length", bytes("=-5\r\n")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_the_connection_and_nothing_else() -> Result<()> {
    for (name, answer) in garbage() {
        // The third command gets the garbage; all others their own key.
        let fake = FakeServer::start(move |asked| match asked.turn {
            2 => answer.clone(),
            _ => Answer::value(&asked.words[1]),
        })
        .await?;
        let mut config = single(&fake.address())?;
        config.read_timeout = Duration::from_millis(600);
        let client = Arc::new(ValkeyClient::connect(&config).await?);
        let lateness = Lateness::measure()?;
        let mut calls = JoinSet::new();
        for number in 0..8 {
            let client = Arc::clone(&client);
            calls.spawn(async move {
                let key = format!("key:{number}");
                let started = cache_core::clock::now();
                (client.get(&key).await, key, started.elapsed())
            });
        }
        let mut errors = Vec::new();
        for (result, key, took) in calls.join_all().await {
            assert!(
                took <= config.read_timeout + lateness.slack(),
                "{name}: a call outlived its deadline: {took:?}"
            );
            match result {
                Ok(value) => assert_eq!(value, key, "{name}"),
                Err(error) => errors.push(error.to_string()),
            }
        }
        until(LIMIT, "calls to work again", || async {
            Ok(client.get("next").await.ok().filter(|value| value == "next"))
        })
        .await?;
        println!("{name}: {} connections, errors: {errors:?}", fake.accepted());
        assert!(fake.accepted() >= 2, "{name}: the connection was kept");
        if name.ends_with("cut off") {
            // The end of a connection, which may come at any byte, is no garbage: reads are tried again.
            assert!(errors.is_empty(), "{name}: {errors:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_swallows_all_that_follow_it_does_not_do_so_for_long() -> Result<()> {
    let fake = FakeServer::start(move |asked| match asked.turn {
        100 => Answer::Bytes(b"$536870912\r\n".to_vec()),
        _ => Answer::value(&asked.words[1]),
    })
    .await?;
    let fake = Arc::new(fake);
    let mut config = single(&fake.address())?;
    config.read_timeout = Duration::from_millis(600);
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    let mut callers = JoinSet::new();
    for number in 0..4 {
        let (client, fake) = (Arc::clone(&client), Arc::clone(&fake));
        // Until the connection was replaced and calls work again: bytes never stop coming in.
        callers.spawn(async move {
            let key = format!("key:{number}");
            let mut failed = 0;
            let mut since = 0;
            while since < 50 {
                match tokio::time::timeout(Duration::from_millis(100), client.get(&key)).await {
                    Ok(Ok(value)) => {
                        assert_eq!(value, key);
                        since += usize::from(fake.accepted() >= 2);
                    }
                    Ok(Err(_)) | Err(_) => failed += 1,
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            failed
        });
    }
    let failed = tokio::time::timeout(LIMIT, callers.join_all()).await?;
    println!(
        "failed calls by caller: {failed:?}, connections: {}",
        fake.accepted()
    );
    assert!(fake.accepted() >= 2);
    Ok(())
}

#[tokio::test]
async fn a_reply_of_another_type_is_told_as_corrupt_and_shows_no_bytes() -> Result<()> {
    let fake = FakeServer::start(|asked| match asked.words[0].as_str() {
        "GET" => Answer::Bytes(b":42\r\n".to_vec()),
        "INCR" => Answer::value("hunter2"),
        _ => Answer::value("hunter2"),
    })
    .await?;
    let client = ValkeyClient::connect(&single(&fake.address())?).await?;
    let keys = ["a", "b"];
    let errors = [
        client.get("key").await.err(),
        client.incr("key").await.err(),
        client
            .set("key", "v".into(), cache_core::Ttl::Forever)
            .await
            .err(),
        client
            .set_if_absent("key", "v".into(), cache_core::Ttl::Forever)
            .await
            .err(),
        client.get_many(&keys).await.err(),
        client.del(&keys).await.err(),
        client.exists(&keys).await.err(),
        client.ttl("key").await.err(),
    ];
    for (index, error) in errors.into_iter().enumerate() {
        assert!(
            matches!(error, Some(CacheError::Corrupt { .. })),
            "{index}: {error:?}"
        );
        assert!(!format!("{error:?}").contains("hunter2"));
    }
    Ok(())
}
