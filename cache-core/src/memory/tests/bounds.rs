//! Tests that the limits are never exceeded, and that the right entries are evicted.

use std::time::Duration;

use proptest::prelude::*;

use super::{in_virtual_time, put};
use crate::{Bytes, CacheClient, CacheError, MemoryCache, Ttl};

/// The weight of an entry whose key and value have `len` bytes together.
const fn weight(len: u64) -> u64 {
    192 + len
}

async fn is_there(cache: &MemoryCache, key: &str) -> bool {
    cache.exists(&[key]).await.unwrap() == 1
}

#[tokio::test]
async fn bytes_count_keys_values_and_overhead() {
    let cache = MemoryCache::default();
    put(&cache, "abc", "defgh").await;
    assert_eq!(cache.bytes(), weight(8));
    put(&cache, "abc", "d").await;
    assert_eq!(cache.bytes(), weight(4));
    put(&cache, "x", "").await;
    assert_eq!((cache.bytes(), cache.len()), (weight(4) + weight(1), 2));
    cache.del(&["abc"]).await.unwrap();
    assert_eq!((cache.bytes(), cache.len()), (weight(1), 1));
    for _ in 0..10 {
        cache.incr("n").await.unwrap();
    }
    assert_eq!(cache.bytes(), weight(1) + weight(3));
}

#[tokio::test]
async fn oversized_entry_is_refused_and_old_one_kept() {
    let cache = MemoryCache::new(weight(100), 10);
    let value = |len: usize| Bytes::from(vec![b'x'; len]);
    cache.set("k", value(99), Ttl::Forever).await.unwrap();
    let refused = |error: CacheError| {
        matches!(
            error,
            CacheError::InvalidInput {
                argument: "value",
                ..
            }
        )
    };
    assert!(refused(
        cache.set("k", value(100), Ttl::Forever).await.unwrap_err()
    ));
    assert!(refused(
        cache
            .set_if_absent("k", value(100), Ttl::Forever)
            .await
            .unwrap_err()
    ));
    assert!(refused(
        cache
            .compare_and_set("k", b"", value(100), Ttl::Forever)
            .await
            .unwrap_err()
    ));
    let entries = [("a", value(1)), ("b", value(100))];
    assert!(refused(cache.set_many(&entries, Ttl::Forever).await.unwrap_err()));
    assert_eq!(
        cache.get("k").await.unwrap(),
        value(99),
        "nothing was stored and nothing had to go"
    );

    let error = MemoryCache::new(1_000, 0)
        .set("k", value(1), Ttl::Forever)
        .await
        .unwrap_err();
    assert!(refused(error));
}

#[tokio::test]
async fn value_larger_than_a_shards_share_is_stored() {
    let cache = MemoryCache::with_shards(1_000_000, 100_000, 8);
    for number in 0..1_000 {
        cache
            .set(&format!("k{number}"), Bytes::from(vec![0; 500]), Ttl::Forever)
            .await
            .unwrap();
    }
    let large = Bytes::from(vec![1; 900_000]);
    cache.set("large", large.clone(), Ttl::Forever).await.unwrap();
    assert_eq!(cache.get("large").await.unwrap(), large);
    assert!(cache.bytes() <= 1_000_000);
    assert!(cache.len() > 50, "no more than needed had to go: {}", cache.len());
}

#[tokio::test]
async fn reread_entries_outlast_entries_read_once() {
    let cache = MemoryCache::new(u64::MAX, 100);
    for number in 0..50 {
        put(&cache, &format!("hot{number}"), "").await;
    }
    for round in 0..20 {
        for number in 0..50 {
            assert_eq!(
                cache.get(&format!("hot{number}")).await.unwrap(),
                "",
                "round {round}"
            );
        }
        for number in 0..40 {
            put(&cache, &format!("once{round}:{number}"), "").await;
        }
    }
    assert_eq!(cache.len(), 100);
    assert_eq!(cache.evictions(), 50 + 20 * 40 - 100);
}

#[test]
fn expired_entries_are_evicted_first() {
    in_virtual_time(async {
        let cache = MemoryCache::new(u64::MAX, 20);
        for number in 0..10 {
            put(&cache, &format!("old{number}"), "").await;
        }
        for number in 0..10 {
            cache
                .set(&format!("brief{number}"), Bytes::new(), Ttl::secs(1))
                .await
                .unwrap();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        for number in 0..10 {
            put(&cache, &format!("new{number}"), "").await;
        }
        assert_eq!((cache.len(), cache.evictions()), (20, 0));
        assert!(is_there(&cache, "old0").await);
    });
}

#[test]
fn expired_entries_are_freed_without_a_read() {
    in_virtual_time(async {
        let cache = MemoryCache::default();
        for number in 0..10_000 {
            cache
                .set(&format!("brief{number}"), Bytes::new(), Ttl::secs(1))
                .await
                .unwrap();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cache.len(), 10_000, "nobody has looked yet");
        for number in 0..2_000 {
            put(&cache, &format!("other{number}"), "").await;
        }
        assert_eq!(cache.len(), 2_000);

        cache.set("brief", Bytes::new(), Ttl::secs(1)).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cache.get("brief").await.unwrap_err().is_miss());
        assert_eq!(cache.len(), 2_000, "the failed read took it away");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bounds_hold_under_many_writers() {
    let cache = std::sync::Arc::new(MemoryCache::with_shards(200_000, 300, 4));
    let tasks: Vec<_> = (0..8_usize)
        .map(|task| {
            let cache = std::sync::Arc::clone(&cache);
            tokio::spawn(async move {
                for number in 0..5_000 {
                    let key = format!("k{}", (number * 7 + task * 13) % 1_000);
                    cache
                        .set(&key, Bytes::from(vec![0; number % 2_000]), Ttl::Forever)
                        .await
                        .unwrap();
                    if number % 5 == 0 {
                        cache.del(&[&key]).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(cache.bytes() <= 200_000 && cache.len() <= 300, "{cache:?}");
    assert!(cache.len() > 50, "{cache:?}");
    let held = cache.len();
    assert_eq!(cache.clear(), held);
    assert_eq!(
        (cache.len(), cache.bytes()),
        (0, 0),
        "nothing was counted twice or forgotten"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bounds_hold_after_every_write(
        shards in prop_oneof![Just(1_usize), Just(2), Just(8)],
        max_entries in 1..20_u64,
        writes in proptest::collection::vec((0..40_u8, 0..800_usize, 0..4_u64), 1..200),
    ) {
        in_virtual_time(async {
            let max_bytes = 4_000;
            let cache = MemoryCache::with_shards(max_bytes, max_entries, shards);
            for (key, len, ttl) in writes {
                let (key, value) = (format!("k{key}"), Bytes::from(vec![key; len]));
                cache.set(&key, value.clone(), Ttl::secs(ttl)).await.unwrap();
                prop_assert_eq!(cache.get(&key).await.unwrap(), value);
                prop_assert!(cache.bytes() <= max_bytes && cache.len() <= max_entries, "{:?}", cache);
                tokio::time::advance(Duration::from_millis(100)).await;
            }
            let _ = cache.clear();
            prop_assert_eq!((cache.len(), cache.bytes()), (0, 0));
            Ok(())
        })?;
    }
}
