//! A report that the server sent before a reply is heard before whoever waits for the reply has it.

use std::sync::Arc;

use anyhow::Result;
use cache_core::{CacheClient, CacheError};
use cache_valkey::ValkeyClient;
use tests::{Answer, FakeServer};
use tokio::task::JoinSet;

use crate::listener::{Heard, single};

const READS: usize = 200;

fn push(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_heard_before_the_reply_that_follows_it() -> Result<()> {
    // Before the value, between value and life, and after both.
    let fake = FakeServer::start(|asked| {
        let key = asked.words.get(1).cloned().unwrap_or_default();
        Answer::Bytes(
            match asked.words[0].as_str() {
                "GET" => format!(
                    "{}$1\r\nv\r\n{}",
                    push(&format!("before:{key}")),
                    push(&format!("between:{key}"))
                ),
                _ => format!("{}:5000\r\n", push(&format!("late:{key}"))),
            }
            .into_bytes(),
        )
    })
    .await?;
    let client = ValkeyClient::connect(&single(&fake.address())?).await?;
    let heard = Heard::of(&client)?;
    for read in 0..READS {
        let key = format!("key:{read}");
        let entry = client.get_entry(&key).await?;
        // Whatever this task sees right behind its answer was heard before it.
        let so_far = heard.keys();
        assert!(entry.tracked);
        for place in ["before", "between", "late"] {
            assert!(so_far.contains(&format!("{place}:{key}")), "{place}:{key}");
        }
        heard.clear();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reads_at_once_keep_the_order_of_each() -> Result<()> {
    let fake = FakeServer::start(|asked| {
        let key = asked.words.get(1).cloned().unwrap_or_default();
        Answer::Bytes(match asked.words[0].as_str() {
            "GET" => format!("{}$1\r\nv\r\n", push(&key)).into_bytes(),
            _ => b":5000\r\n".to_vec(),
        })
    })
    .await?;
    let client = Arc::new(ValkeyClient::connect(&single(&fake.address())?).await?);
    let heard = Arc::new(Heard::of(&*client)?);
    let mut reads = JoinSet::new();
    for read in 0..10 * READS {
        let (client, heard) = (Arc::clone(&client), Arc::clone(&heard));
        reads.spawn(async move {
            let key = format!("key:{read}");
            client.get_entry(&key).await?;
            Ok::<_, CacheError>(heard.keys().contains(&key))
        });
    }
    for read in reads.join_all().await {
        assert!(read?);
    }
    Ok(())
}
