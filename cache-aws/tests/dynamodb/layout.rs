//! The stored items, and expired entries that still exist.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use cache_aws::dynamodb::DynamoClient;
use cache_core::{CacheClient as _, CacheError, Ttl};

use crate::emulator::{Emulator, TABLE};

async fn attribute(emulator: &Emulator, key: &str, name: &str) -> Option<AttributeValue> {
    let key = AttributeValue::S(key.to_owned());
    let item = emulator
        .raw()
        .get_item()
        .table_name(TABLE)
        .key("key", key)
        .send()
        .await;
    item.unwrap().item.unwrap_or_default().remove(name)
}

fn number(attribute: Option<AttributeValue>) -> u64 {
    attribute.unwrap().as_n().unwrap().parse().unwrap()
}

#[tokio::test]
async fn entry_stores_expiry_in_milliseconds_and_seconds() {
    let emulator = Emulator::start().await;
    let client = emulator.client().await;
    client
        .set("key", "value".into(), Ttl::millis(1_234))
        .await
        .unwrap();
    let millis = number(attribute(&emulator, "key", "expires_ms").await);
    let seconds = number(attribute(&emulator, "key", "ttl").await);
    assert_eq!(seconds, millis.div_ceil(1_000));
    client.expire("key", Ttl::Forever).await.unwrap();
    assert_eq!(attribute(&emulator, "key", "expires_ms").await, None);
    assert_eq!(attribute(&emulator, "key", "ttl").await, None);
    assert!(attribute(&emulator, "key", "value").await.unwrap().is_b());
}

#[tokio::test]
async fn integers_are_stored_as_numbers_and_round_trip() {
    let emulator = Emulator::start().await;
    let client = emulator.client().await;
    for text in [
        "0",
        "-1",
        "5",
        "100",
        "9223372036854775807",
        "-9223372036854775808",
        "1000000000000000000",
    ] {
        client.set("key", text.into(), Ttl::Forever).await.unwrap();
        assert!(
            attribute(&emulator, "key", "value").await.unwrap().is_n(),
            "{text}"
        );
        assert_eq!(client.get("key").await.unwrap(), text);
    }
    for text in ["00", "-0", "+1", "1.0", "1e3", "9223372036854775808", " 1"] {
        client.set("key", text.into(), Ttl::Forever).await.unwrap();
        assert!(
            attribute(&emulator, "key", "value").await.unwrap().is_b(),
            "{text}"
        );
        assert_eq!(client.get("key").await.unwrap(), text);
    }
}

/// A client whose clock the test moves.
async fn later(emulator: &Emulator) -> (Arc<AtomicU64>, DynamoClient) {
    let moved = Arc::new(AtomicU64::new(0));
    let ahead = Arc::clone(&moved);
    let epoch = std::time::UNIX_EPOCH;
    let clock = move || epoch.elapsed().unwrap() + Duration::from_millis(ahead.load(Ordering::Relaxed));
    let client = emulator
        .builder()
        .await
        .wall_clock(clock)
        .connect()
        .await
        .unwrap();
    (moved, client)
}

/// DynamoDB deletes late: here never.
#[tokio::test]
async fn expired_entry_is_absent_before_its_removal() {
    let emulator = Emulator::start().await;
    let (clock, client) = later(&emulator).await;
    // Less than what the client would find out to be wrong.
    let life = Ttl::millis(500);
    let keys = ["a", "b", "c", "d", "e", "f", "g"];
    for key in keys {
        client.set(key, "7".into(), life).await.unwrap();
    }
    clock.store(600, Ordering::Relaxed);
    assert!(matches!(client.get("a").await, Err(CacheError::Miss)));
    assert!(matches!(client.ttl("a").await, Err(CacheError::Miss)));
    assert_eq!(client.get_many(&keys).await.unwrap(), vec![None; keys.len()]);
    assert_eq!(client.exists(&keys).await.unwrap(), 0);
    assert_eq!(client.del(&["a"]).await.unwrap(), 0);
    assert!(!client.expire("a", Ttl::secs(60)).await.unwrap());
    assert!(
        !client
            .compare_and_set("b", b"7", "8".into(), Ttl::secs(60))
            .await
            .unwrap()
    );
    assert!(!client.compare_and_delete("c", b"7").await.unwrap());
    assert!(client.set_if_absent("d", "8".into(), Ttl::Forever).await.unwrap());
    assert_eq!(client.incr("e").await.unwrap(), 1);
    assert!(client.ttl("e").await.unwrap().is_forever());
    assert_eq!(client.incr_by("f", 5, Ttl::secs(60)).await.unwrap(), 5);
    assert!(!client.ttl("f").await.unwrap().is_forever());
    assert!(
        attribute(&emulator, "g", "value").await.is_some(),
        "nothing deleted it"
    );
}

#[tokio::test]
async fn expired_counter_restarts_once_under_many_tasks() {
    let emulator = Emulator::start().await;
    let (clock, client) = later(&emulator).await;
    let client = Arc::new(client);
    client.set("count", "100".into(), Ttl::millis(500)).await.unwrap();
    clock.store(600, Ordering::Relaxed);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = Arc::clone(&client);
        tasks.spawn(async move { client.incr("count").await.unwrap() });
    }
    let mut counts = tasks.join_all().await;
    counts.sort_unstable();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
}
