//! Tests that listeners receive every change, after it is visible.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{in_virtual_time, put};
use crate::{Bytes, CacheClient, Invalidation, MemoryCache, Subscription, Ttl};

type Heard = Arc<Mutex<Vec<Invalidation>>>;

fn listen(cache: &MemoryCache) -> (Heard, Subscription) {
    let heard = Heard::default();
    let events = Arc::clone(&heard);
    let listener = move |event: &Invalidation| events.lock().unwrap().push(event.clone());
    let subscription = cache.invalidations().unwrap().subscribe(Arc::new(listener));
    (heard, subscription)
}

fn keys(keys: &[&str]) -> Invalidation {
    Invalidation::Keys(keys.iter().map(|&key| key.to_owned()).collect())
}

#[test]
fn only_changes_are_reported() {
    in_virtual_time(async {
        let cache = MemoryCache::new(u64::MAX, 3);
        put(&cache, "a", "1").await;
        let (heard, _subscription) = listen(&cache);
        let news = || std::mem::take(&mut *heard.lock().unwrap());

        put(&cache, "a", "2").await;
        assert_eq!(news(), [keys(&["a"])]);
        cache
            .set_many(&[("b", Bytes::new()), ("c", Bytes::new())], Ttl::Forever)
            .await
            .unwrap();
        assert_eq!(news(), [keys(&["b", "c"])]);
        cache.incr("a").await.unwrap();
        cache.expire("a", Ttl::secs(9)).await.unwrap();
        assert!(
            cache
                .compare_and_set("a", b"3", "4".into(), Ttl::Forever)
                .await
                .unwrap()
        );
        assert_eq!(news(), [keys(&["a"]), keys(&["a"]), keys(&["a"])]);

        cache.get("a").await.unwrap();
        cache.get("b").await.unwrap();
        cache.exists(&["a", "x"]).await.unwrap();
        assert!(!cache.set_if_absent("a", "5".into(), Ttl::Forever).await.unwrap());
        assert!(
            !cache
                .compare_and_set("a", b"0", "5".into(), Ttl::Forever)
                .await
                .unwrap()
        );
        assert!(!cache.compare_and_delete("a", b"0").await.unwrap());
        assert!(!cache.expire("x", Ttl::secs(1)).await.unwrap());
        assert_eq!(cache.del(&["x"]).await.unwrap(), 0);
        assert!(cache.incr("b").await.is_err());
        assert_eq!(news(), [], "nothing has changed");

        put(&cache, "d", "").await;
        assert_eq!(
            news(),
            [keys(&["d", "c"])],
            "c had to go: a and b were read since they came, c was not"
        );
        assert_eq!(cache.del(&["d", "x", "a"]).await.unwrap(), 2);
        assert_eq!(news(), [keys(&["d", "a"])]);

        cache.set("e", Bytes::new(), Ttl::secs(1)).await.unwrap();
        news();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cache.get("e").await.unwrap_err().is_miss());
        assert_eq!(news(), [keys(&["e"])], "a failed read finds it expired");

        cache.invalidate(&crate::Pattern::new("b*").unwrap());
        assert_eq!(news(), [keys(&["b"])]);
        cache.clear();
        assert_eq!(news(), [Invalidation::Everything]);
        cache.close().await.unwrap();
        cache.close().await.unwrap();
        assert_eq!(news(), [Invalidation::ConnectionLost]);
    });
}

#[tokio::test]
async fn entries_are_tracked_while_a_listener_exists() {
    let cache = MemoryCache::default();
    put(&cache, "a", "1").await;
    assert!(!cache.get_entry("a").await.unwrap().tracked);
    let (heard, subscription) = listen(&cache);
    let (_, other) = listen(&cache);
    assert!(cache.get_entry("a").await.unwrap().tracked);
    drop(other);
    assert!(cache.get_entry("a").await.unwrap().tracked);
    drop(subscription);
    assert!(!cache.get_entry("a").await.unwrap().tracked);
    put(&cache, "a", "2").await;
    assert_eq!(*heard.lock().unwrap(), []);
}

#[tokio::test]
async fn listener_may_end_its_own_subscription() {
    let cache = MemoryCache::default();
    let own: Arc<Mutex<Option<Subscription>>> = Arc::default();
    let inside = Arc::clone(&own);
    let subscription = cache
        .invalidations()
        .unwrap()
        .subscribe(Arc::new(move |_: &Invalidation| {
            drop(inside.lock().unwrap().take());
        }));
    *own.lock().unwrap() = Some(subscription);
    put(&cache, "a", "1").await;
    assert!(!cache.get_entry("a").await.unwrap().tracked);
}

#[test]
fn listener_may_drop_another_subscription() {
    struct Owner(#[expect(dead_code, reason = "is there to be dropped")] Subscription);
    impl crate::InvalidationListener for Owner {
        fn on_invalidation(&self, _: &Invalidation) {}
    }
    // On a separate thread: a failure would otherwise hang the test.
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let source = MemoryCache::default().invalidations().unwrap();
        let inner = source.subscribe(Arc::new(|_: &Invalidation| {}));
        drop(source.subscribe(Arc::new(Owner(inner))));
        done.send(format!("{source:?}")).unwrap();
    });
    let source = ended.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(source.contains("listeners: 0"), "{source}");
}

/// The near cache's protocol: mark, read, keep the copy only if no change was reported in between.
#[derive(Default)]
struct Near {
    /// The value, or the mark of a read in progress.
    entries: Mutex<HashMap<String, (u64, Option<Bytes>)>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn protocol_never_keeps_a_stale_copy() {
    let cache = Arc::new(MemoryCache::default());
    let near = Arc::new(Near::default());
    let copies = Arc::clone(&near);
    let _subscription = cache
        .invalidations()
        .unwrap()
        .subscribe(Arc::new(move |event: &Invalidation| {
            let Invalidation::Keys(keys) = event else { return };
            let mut entries = copies.entries.lock().unwrap();
            keys.iter().for_each(|key| drop(entries.remove(key)));
        }));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4_u64)
        .map(|reader| {
            let (cache, near, done) = (Arc::clone(&cache), Arc::clone(&near), Arc::clone(&done));
            tokio::spawn(async move {
                let mut ticket = reader << 32;
                while !done.load(Ordering::Acquire) {
                    ticket += 1;
                    let key = format!("k{}", ticket % 3);
                    near.entries.lock().unwrap().insert(key.clone(), (ticket, None));
                    let Ok(entry) = cache.get_entry(&key).await else {
                        continue;
                    };
                    let mut entries = near.entries.lock().unwrap();
                    if let Some(mark) = entries.get_mut(&key)
                        && mark.0 == ticket
                    {
                        mark.1 = Some(entry.value);
                    }
                }
            })
        })
        .collect();
    for number in 0..30_000_u64 {
        let (key, value) = (format!("k{}", number % 3), Bytes::from(number.to_string()));
        cache.set(&key, value.clone(), Ttl::Forever).await.unwrap();
        if let Some((_, Some(copy))) = near.entries.lock().unwrap().get(&key) {
            assert_eq!(*copy, value, "a copy that is older than an answered write");
        }
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        reader.await.unwrap();
    }
    let copies = std::mem::take(&mut *near.entries.lock().unwrap());
    for (key, (_, copy)) in copies {
        if let Some(copy) = copy {
            assert_eq!(copy, cache.get(&key).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writes_lose_nothing() {
    let cache = Arc::new(MemoryCache::default());
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move {
                let mut won = 0_u32;
                for round in 0..1_000 {
                    cache.incr("n").await.unwrap();
                    let (key, value) = (format!("r{round}"), Bytes::from(vec![task]));
                    won += u32::from(cache.set_if_absent(&key, value, Ttl::Forever).await.unwrap());
                }
                won
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += task.await.unwrap();
    }
    assert_eq!(cache.get("n").await.unwrap(), "16000");
    assert_eq!(won, 1_000, "one winner of each");
}
