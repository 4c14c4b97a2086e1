//! Callers that go away in the middle of a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tests::{Server, ServerOptions, Version};
use tokio::task::JoinSet;

use crate::setup::single;

const DROPS: u64 = 100_000;
const CALLERS: u64 = 32;

/// Lets others run that many times.
async fn turns(count: u32) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_hundred_thousand_dropped_calls_no_call_sees_a_reply_of_another() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let client = Arc::new(ValkeyClient::connect(&single(&server.address())?).await?);
    let dropped = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let (client, dropped) = (Arc::clone(&client), Arc::clone(&dropped));
        callers.spawn(async move {
            let mut random = SmallRng::seed_from_u64(number);
            let (key, counter) = (format!("drop:{number}"), format!("drop:{number}:counter"));
            client.set(&key, key.clone().into(), Ttl::Forever).await?;
            client.set(&counter, "0".into(), Ttl::Forever).await?;
            let mut tried = 0;
            let mut calls = 0_u64;
            while dropped.load(Ordering::Relaxed) < DROPS {
                let patience = turns(random.random_range(0..4));
                let kind = random.random_range(0..4);
                tried += i64::from(kind == 1);
                let call = async {
                    match kind {
                        0 => client.get(&key).await.map(|value| assert_eq!(value, key)),
                        1 => client.incr(&counter).await.map(|count| assert!(count <= tried)),
                        2 => client.get_many(&[&key, &key]).await.map(|values| {
                            assert!(
                                values
                                    .iter()
                                    .all(|value| value.as_deref() == Some(key.as_bytes()))
                            );
                        }),
                        _ => client
                            .exists(&[&key, "drop:none"])
                            .await
                            .map(|found| assert_eq!(found, 1)),
                    }
                };
                tokio::select! {
                    biased;
                    result = call => result?,
                    () = patience => {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                calls += 1;
                // The one after a dropped one is the one that would get its reply.
                if random.random_range(0..8) == 0 {
                    assert_eq!(client.get(&key).await?, key);
                }
            }
            let count = client.incr(&counter).await?;
            assert!(count <= tried + 1, "counted to {count} in {} tries", tried + 1);
            Ok::<_, anyhow::Error>(calls)
        });
    }
    let mut calls = 0;
    while let Some(joined) = callers.join_next().await {
        calls += joined??;
    }
    println!("{calls} calls, {} dropped", dropped.load(Ordering::Relaxed));
    client.ping().await?;
    Ok(())
}
