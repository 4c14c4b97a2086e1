//! Tests the embedded client against a model, at its limits, and with listeners and threads.
//!
//! Not in here: the contract of every client; the conformance suite tests that.

mod bounds;
mod listeners;
mod model;

use bytes::Bytes;

use crate::{CacheClient, MemoryCache, Ttl};

/// Runs a future on a runtime whose clock is paused until it is advanced.
pub(super) fn in_virtual_time<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

async fn put(cache: &MemoryCache, key: &str, value: &'static str) {
    cache
        .set(key, Bytes::from_static(value.as_bytes()), Ttl::Forever)
        .await
        .unwrap();
}

mod owner {
    use super::*;
    use crate::{CacheError, Pattern, TrackingStatus};

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    /// All matching keys, sorted, and the number of pages.
    fn scan(cache: &MemoryCache, text: &str, count: usize) -> (Vec<String>, usize) {
        let (pattern, mut cursor, mut keys, mut pages) = (pattern(text), 0, Vec::new(), 0);
        loop {
            let page = cache.scan(&pattern, cursor, count);
            keys.extend(page.keys);
            pages += 1;
            cursor = page.cursor;
            if cursor == 0 {
                keys.sort();
                return (keys, pages);
            }
        }
    }

    #[tokio::test]
    async fn scan_returns_each_key_once_at_any_page_size() {
        for shards in [1, 8] {
            let cache = MemoryCache::with_shards(1 << 30, 1 << 30, shards);
            for number in 0..500 {
                put(
                    &cache,
                    &format!("{}:{number:03}", if number % 2 == 0 { "even" } else { "odd" }),
                    "",
                )
                .await;
            }
            let expected: Vec<_> = (0..500)
                .step_by(2)
                .map(|number| format!("even:{number:03}"))
                .collect();
            for count in [0, 1, 7, 100, usize::MAX] {
                let (keys, pages) = scan(&cache, "even:*", count);
                assert_eq!(keys, expected, "{shards} shards, {count} a page");
                assert!(pages >= 500 / count.clamp(1, 500), "a page is bounded");
            }
        }
    }

    #[tokio::test]
    async fn scan_sees_stable_keys_once_during_changes() {
        let cache = MemoryCache::with_shards(1 << 30, 1 << 30, 4);
        for number in 0..200 {
            put(&cache, &format!("stay:{number:03}"), "").await;
            put(&cache, &format!("go:{number}"), "").await;
        }
        let (pattern, mut cursor, mut seen, mut round) = (pattern("stay:*"), 0, Vec::new(), 0);
        loop {
            let page = cache.scan(&pattern, cursor, 10);
            seen.extend(page.keys);
            cursor = page.cursor;
            if cursor == 0 {
                break;
            }
            let (gone, changed) = (format!("go:{round}"), format!("stay:{round:03}"));
            cache.del(&[&gone]).await.unwrap();
            put(&cache, &format!("come:{round}"), "").await;
            put(&cache, &changed, "another value").await;
            round += 1;
        }
        seen.sort();
        assert_eq!(
            seen,
            (0..200)
                .map(|number| format!("stay:{number:03}"))
                .collect::<Vec<_>>()
        );
    }

    #[tokio::test]
    async fn forged_cursor_does_no_harm() {
        let cache = MemoryCache::with_shards(1 << 30, 1 << 30, 4);
        put(&cache, "a", "").await;
        for cursor in [5, 1 << 16, u64::MAX, u64::MAX << 16, 0x7fff_0001] {
            let page = cache.scan(&pattern("*"), cursor, 10);
            assert!(page.cursor == 0 || page.cursor != cursor);
        }
    }

    #[tokio::test]
    async fn invalidate_removes_only_matching_keys() {
        let cache = MemoryCache::default();
        for number in 0..5_000 {
            put(&cache, &format!("t{}:{number}", number % 10), "").await;
        }
        put(&cache, "t*:1", "").await;
        assert_eq!(cache.invalidate(&pattern(r"t\*:*")), 1);
        assert_eq!(cache.invalidate(&pattern("t[3-5]:*")), 1_500);
        assert_eq!(cache.len(), 3_500);
        assert_eq!(cache.invalidate(&Pattern::all()), 3_500);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn expired_entries_are_not_scanned_or_counted() {
        in_virtual_time(async {
            let cache = MemoryCache::default();
            cache.set("a", Bytes::new(), Ttl::secs(1)).await.unwrap();
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            assert_eq!(scan(&cache, "*", 10).0, [] as [&str; 0]);
            assert_eq!(cache.invalidate(&Pattern::all()), 0);
            assert!(cache.is_empty());
        });
    }

    #[tokio::test]
    async fn clear_empties_a_usable_cache() {
        let cache = MemoryCache::default();
        for number in 0..100 {
            put(&cache, &format!("{number}"), "x").await;
        }
        assert_eq!(cache.clear(), 100);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
        put(&cache, "a", "x").await;
        assert_eq!(cache.get("a").await.unwrap(), "x");
    }

    #[tokio::test]
    async fn closed_cache_fails_closed_and_is_empty() {
        let cache = MemoryCache::default();
        put(&cache, "a", "x").await;
        cache.close().await.unwrap();
        cache.close().await.unwrap();
        assert!(cache.is_empty());
        let closed = |error: CacheError| matches!(error, CacheError::Closed);
        assert!(closed(cache.get("a").await.unwrap_err()));
        assert!(closed(
            cache.set("a", Bytes::new(), Ttl::Forever).await.unwrap_err()
        ));
        assert!(closed(cache.del(&[]).await.unwrap_err()));
        assert!(closed(cache.get_many(&[]).await.unwrap_err()));
        assert!(closed(cache.incr("a").await.unwrap_err()));
        assert!(closed(cache.ping().await.unwrap_err()));
        assert!(cache.is_empty());
        assert!(matches!(
            cache.invalidations().unwrap().status(),
            TrackingStatus::Off(_)
        ));
    }

    #[tokio::test]
    async fn illegal_argument_is_refused_before_closed() {
        let cache = MemoryCache::new(1_000, 10);
        cache.close().await.unwrap();
        let refused = |error: CacheError| assert_eq!(error.kind(), "invalid_input", "{error}");
        refused(cache.get("").await.unwrap_err());
        refused(cache.get_many(&[""]).await.unwrap_err());
        refused(cache.exists(&["a", ""]).await.unwrap_err());
        refused(cache.del(&["a", ""]).await.unwrap_err());
        let large = Bytes::from(vec![0; 2_000]);
        for (key, value, ttl) in [
            ("", Bytes::new(), Ttl::Forever),
            ("a", large, Ttl::Forever),
            ("a", Bytes::new(), Ttl::After(std::time::Duration::MAX)),
        ] {
            refused(cache.set(key, value.clone(), ttl).await.unwrap_err());
            refused(cache.set_many(&[(key, value.clone())], ttl).await.unwrap_err());
            refused(cache.set_if_absent(key, value, ttl).await.unwrap_err());
        }
    }

    #[tokio::test]
    async fn debug_shows_counts_and_no_keys() {
        let cache = MemoryCache::new(1_000, 10);
        put(&cache, "secret-key", "secret-value").await;
        let text = format!("{cache:?}");
        assert!(text == "MemoryCache(1 entries, 214 bytes)", "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    /// A loop of hits never waits; only its budget lets other tasks run.
    #[tokio::test]
    async fn loop_of_hits_yields_to_other_tasks() {
        let cache = std::sync::Arc::new(MemoryCache::default());
        put(&cache, "a", "x").await;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (reader, stopped) = (std::sync::Arc::clone(&cache), std::sync::Arc::clone(&stop));
        let hits = tokio::spawn(async move {
            let mut hits = 0_u32;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) && hits < 1_000_000 {
                reader.get("a").await.unwrap();
                hits += 1;
            }
            hits
        });
        tokio::task::yield_now().await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(
            hits.await.unwrap() < 1_000_000,
            "the loop ran to its end before anybody else could"
        );
    }
}
