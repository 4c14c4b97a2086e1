//! What sentinels are asked while the primary is dead and calls fail all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use cache_core::{CacheClient as _, clock};
use cache_valkey::ValkeyClient;
use tests::{Answer, FakeServer, Server, ServerOptions, Version, until};
use tokio::task::JoinSet;

use crate::setup::{LIMIT, watched};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_fail_ask_the_sentinels_at_most_once_per_second() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let asked = Arc::new(AtomicUsize::new(0));
    let (port, count) = (server.port().to_string(), Arc::clone(&asked));
    let sentinel = FakeServer::start(move |command| match command.words[0].as_str() {
        "SENTINEL" => {
            count.fetch_add(1, Ordering::Relaxed);
            let length = port.len();
            Answer::Bytes(format!("*2\r\n$9\r\n127.0.0.1\r\n${length}\r\n{port}\r\n").into_bytes())
        }
        "SUBSCRIBE" => {
            let channel = &command.words[1];
            let length = channel.len();
            let reply = format!(">3\r\n$9\r\nsubscribe\r\n${length}\r\n{channel}\r\n:1\r\n");
            Answer::Bytes(reply.into_bytes())
        }
        _ => Answer::ok(),
    })
    .await?;
    let client = Arc::new(ValkeyClient::connect(&watched(&[sentinel.address()])?).await?);
    client.ping().await?;

    server.kill()?;
    until(LIMIT, "calls to fail", || async {
        Ok(client.get("key").await.is_err().then_some(()))
    })
    .await?;
    let before = asked.load(Ordering::Relaxed);
    let began = clock::now();
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let (client, stop) = (Arc::clone(&client), Arc::clone(&stop));
        callers.spawn(async move {
            let mut failed = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                failed += usize::from(client.get("key").await.is_err());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            failed
        });
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    stop.store(true, Ordering::Relaxed);
    let failed: usize = callers.join_all().await.into_iter().sum();
    let asked = asked.load(Ordering::Relaxed) - before;
    let seconds = usize::try_from(began.elapsed().as_secs())?;
    println!("{failed} calls failed; the sentinel was asked {asked} times in {seconds} s");
    assert!(failed > 100);
    assert!(asked <= seconds, "{asked} in {seconds} s");

    // And it is still used as soon as it is back.
    server.restart().await?;
    until(LIMIT, "the client to be back", || async {
        Ok(client.ping().await.ok())
    })
    .await
}
