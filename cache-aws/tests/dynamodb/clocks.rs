//! Machines whose clocks are wrong.

use std::time::{Duration, UNIX_EPOCH};

use cache_core::{CacheClient as _, CacheError, Ttl};

use crate::emulator::Emulator;

#[tokio::test]
async fn clients_with_wrong_clocks_agree_about_ttls() {
    let emulator = Emulator::start().await;
    let right = emulator.client().await;
    let hour = Duration::from_secs(3_600);
    let ahead = move || UNIX_EPOCH.elapsed().unwrap() + hour;
    let behind = move || UNIX_EPOCH.elapsed().unwrap() - hour;
    let ahead = emulator
        .builder()
        .await
        .wall_clock(ahead)
        .connect()
        .await
        .unwrap();
    let behind = emulator
        .builder()
        .await
        .wall_clock(behind)
        .connect()
        .await
        .unwrap();
    // Each has an answer of the service, which tells the time.
    for client in [&ahead, &behind] {
        client.ping().await.unwrap();
        assert!(client.stats().clock_offset_ms.abs() > 3_000_000);
    }
    assert_eq!(right.stats().clock_offset_ms, 0);
    for (writer, name) in [(&ahead, "ahead"), (&behind, "behind"), (&right, "right")] {
        let key = format!("of {name}");
        writer.set(&key, "value".into(), Ttl::secs(10)).await.unwrap();
        for reader in [&ahead, &behind, &right] {
            assert_eq!(reader.get(&key).await.unwrap(), "value");
            let left = reader.ttl(&key).await.unwrap().as_millis().unwrap().unwrap();
            assert!((7_000..=13_000).contains(&left), "{name}: {left}");
        }
        writer.expire(&key, Ttl::millis(1)).await.unwrap();
    }
    assert!(matches!(right.get("of right").await, Err(CacheError::Miss)));
}
