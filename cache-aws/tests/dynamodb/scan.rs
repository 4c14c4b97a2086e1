//! Scans the table in segments.

use std::collections::BTreeSet;

use bytes::Bytes;
use cache_aws::dynamodb::{DynamoClient, SegmentScan};
use cache_core::{CacheClient as _, Ttl};

use crate::double::{Act, Double};
use crate::emulator::{Emulator, TABLE, aws};

async fn scan_all(client: &DynamoClient, segments: u32, prefix: &str, limit: u32) -> Vec<String> {
    let mut keys = Vec::new();
    for segment in 0..segments {
        let mut after = None;
        loop {
            let step = SegmentScan {
                segment,
                segments,
                after: after.as_deref(),
                prefix,
                limit,
            };
            let page = client.scan(step).await.unwrap();
            assert!(page.looked_at <= limit.into());
            keys.extend(page.keys);
            after = page.after;
            if after.is_none() {
                break;
            }
        }
    }
    keys
}

#[tokio::test]
async fn scan_visits_every_key_once() {
    let emulator = Emulator::start().await;
    let client = emulator.client().await;
    let all: BTreeSet<String> = (0..300).map(|number| format!("a:{number}")).collect();
    let entries: Vec<(&str, Bytes)> = all.iter().map(|key| (&**key, "x".into())).collect();
    client.set_many(&entries, Ttl::Forever).await.unwrap();
    client.set("b:1", "x".into(), Ttl::Forever).await.unwrap();
    client.set("a:ended", "x".into(), Ttl::millis(1)).await.unwrap();
    while client.exists(&["a:ended"]).await.unwrap() > 0 {}
    for (segments, limit) in [(1, 1_000), (1, 7), (8, 10), (64, 3)] {
        let keys = scan_all(&client, segments, "a:", limit).await;
        assert_eq!(keys.len(), 300, "none twice");
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), all);
    }
    assert_eq!(scan_all(&client, 4, "", 50).await.len(), 301);
}

#[tokio::test]
async fn undeletable_key_is_named() {
    let emulator = Emulator::start().await;
    let double = Double::start(&emulator.url, |call| {
        let batch = call.body.to_string();
        match &*call.operation {
            "BatchWriteItem" if batch.contains("\"key:030\"") => {
                Act::error(400, "AccessDeniedException", "no")
            }
            _ => Act::Forward,
        }
    })
    .await;
    let client = DynamoClient::connect(&aws(&double.url).await, TABLE)
        .await
        .unwrap();
    let keys: Vec<String> = (0..60).map(|number| format!("key:{number:03}")).collect();
    for key in &keys {
        client.set(key, "x".into(), Ttl::Forever).await.unwrap();
    }
    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
    let (failed, error) = client.remove(&keys).await.unwrap_err();
    assert_eq!(failed, keys[25..50], "its batch");
    assert_eq!(error.kind(), "denied");
    assert_eq!(client.exists(&keys).await.unwrap(), 25);
    client.remove(&keys[..30]).await.unwrap();
    assert_eq!(
        client.exists(&keys).await.unwrap(),
        20,
        "removing what is gone is fine"
    );
}
