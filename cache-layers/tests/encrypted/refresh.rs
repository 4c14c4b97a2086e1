//! Refreshes of the keyset: when they happen, what a failure does, and what stops them. Scenarios 83 and 84.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, CacheError, MemoryCache, clock};
use cache_layers::encrypted::{Migration, StoredForm};
use cache_layers::{Encrypted, Keyring, KeyringConfig};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::filter::LevelFilter;

use crate::log::Log;
use crate::rig::{HOUR, Rig, config, found, keyring};
use crate::store::{Answer, LOCATION, TestStore, key, keyset};

const MINUTE: Duration = Duration::from_secs(60);

fn old() -> String {
    keyset(7, &[key(7)])
}

fn new() -> String {
    keyset(8, &[key(8), key(7)])
}

fn unauthorized() -> Answer {
    Answer::Fails(CacheError::Unauthorized {
        detail: "the token is not valid".into(),
        source: None,
    })
}

async fn default_keyring(store: &TestStore) -> Arc<Keyring> {
    keyring(store, KeyringConfig::default()).await
}

/// A client of `keyring` whose cache holds an entry of the new keyset's primary.
async fn with_an_entry_of_the_new_key(keyring: &Arc<Keyring>) -> Encrypted {
    let newer = Rig::new(new(), StoredForm::Tink, Migration::Strict).await;
    newer.cache.set("k", "value".into(), HOUR).await.unwrap();
    let config = config(StoredForm::Tink, Migration::Strict);
    Encrypted::new(newer.remote.clone(), Arc::clone(keyring), config)
}

#[tokio::test(start_paused = true)]
async fn keyset_is_refreshed_every_quarter_of_an_hour_by_nobodys_call() {
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    for refresh in 1..=20 {
        let start = clock::now();
        store.until_read(refresh + 1).await;
        let passed = clock::now() - start;
        assert!(
            passed <= MINUTE * 15 && passed >= Duration::from_secs(13 * 60),
            "{passed:?}"
        );
    }
    store.put(new());
    tokio::time::sleep(MINUTE * 15).await;
    let status = keyring.status();
    assert_eq!((status.primary_key_id, &status.key_ids[..]), (8, &[8, 7][..]));
    assert_eq!(status.outcome, "changed, the primary is 8");
    assert_eq!(keyring.stats().changed, 1);
}

#[tokio::test(start_paused = true)]
async fn refresh_that_fails_keeps_the_old_keyset_and_warns_once() {
    let (log, _guard) = Log::record(LevelFilter::INFO);
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    let cache = with_an_entry_of_the_new_key(&keyring).await;
    cache.set("own", "value".into(), HOUR).await.unwrap();
    for broken in [
        unauthorized(),
        Answer::Fails(CacheError::Miss),
        Answer::Keyset("no keyset".to_owned()),
        Answer::Keyset(keyset(7, &[key(7).disabled()])),
        Answer::Hangs,
    ] {
        store.answer(broken);
        assert!(keyring.refresh().await.unwrap().failures > 0);
        assert_eq!(cache.get("own").await.unwrap(), "value");
    }
    let status = keyring.status();
    assert_eq!((status.primary_key_id, status.failures), (7, 5));
    assert!(status.outcome.starts_with("failed repeatedly: "), "{status}");
    assert!(status.outcome.contains(LOCATION), "{status}");
    assert!(status.age >= Duration::from_secs(10), "{status}");
    assert_eq!(log.count("WARN"), 1, "{}", log.text());

    store.put(new());
    tokio::time::sleep(MINUTE * 15).await;
    assert_eq!(keyring.status().failures, 0);
    assert_eq!(cache.get("k").await.unwrap(), "value");
    assert_eq!(cache.get("own").await.unwrap(), "value");
    assert_eq!(log.count("can be refreshed again"), 1, "{}", log.text());

    store.answer(unauthorized());
    tokio::time::sleep(MINUTE * 60).await;
    assert_eq!(
        log.count("WARN"),
        2,
        "one for each time that it began: {}",
        log.text()
    );
    let failed = keyring.stats().failed;
    assert!((10..=14).contains(&failed), "it backs off: {failed}");
}

#[tokio::test(start_paused = true)]
async fn unknown_key_refreshes_at_once_and_the_reader_gets_the_value() {
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    let cache = with_an_entry_of_the_new_key(&keyring).await;
    tokio::time::sleep(MINUTE).await;
    store.put(new());
    let start = clock::now();
    let (one, entry, many) = tokio::join!(cache.get("k"), cache.get_entry("k"), cache.get_many(&["k", "k"]));
    assert_eq!(one.unwrap(), "value");
    assert_eq!(entry.unwrap().value, "value");
    assert!(many.unwrap().iter().all(Option::is_some));
    assert_eq!(clock::now(), start, "as soon as the keyset is there");
    assert_eq!(store.reads(), 2, "one refresh for all");
    assert_eq!(cache.stats().unknown_key, 0);
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_do_not_refresh_more_often_than_the_gap() {
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    let cache = with_an_entry_of_the_new_key(&keyring).await;
    let start = clock::now();
    for _ in 0..600 {
        assert!(found(cache.get("k").await).is_none());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let passed = (clock::now() - start).as_secs();
    assert!(
        passed < 601,
        "readers do not wait for what may not begin: {passed} s"
    );
    let refreshes = store.reads() - 1;
    assert!(
        (18..=21).contains(&refreshes),
        "{refreshes} refreshes in ten minutes"
    );
    assert_eq!(cache.stats().unknown_key, 600);
}

#[tokio::test(start_paused = true)]
async fn slow_refresh_holds_a_reader_for_the_bound_only() {
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    let cache = with_an_entry_of_the_new_key(&keyring).await;
    tokio::time::sleep(MINUTE).await;
    store.answer(Answer::Hangs);
    for _ in 0..2 {
        let start = clock::now();
        assert!(found(cache.get("k").await).is_none());
        assert_eq!(clock::now() - start, Duration::from_millis(250));
    }
    let start = clock::now();
    assert_eq!(cache.get_many(&["k"; 50]).await.unwrap(), [const { None }; 50]);
    assert_eq!(clock::now() - start, Duration::from_millis(250), "once for all");
}

#[tokio::test(start_paused = true)]
async fn dropped_reader_stops_no_refresh() {
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    let cache = with_an_entry_of_the_new_key(&keyring).await;
    tokio::time::sleep(MINUTE).await;
    store.put(new());
    let mut read = cache.get("k");
    assert!(futures::poll!(&mut read).is_pending());
    drop(read);
    store.until_ended(2).await;
    tokio::task::yield_now().await;
    assert_eq!(cache.get("k").await.unwrap(), "value");
    assert_eq!(store.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn close_stops_a_slow_refresh_at_once() {
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    let cache = with_an_entry_of_the_new_key(&keyring).await;
    tokio::time::sleep(MINUTE).await;
    store.answer(Answer::Hangs);
    let refresh = tokio::spawn({
        let keyring = Arc::clone(&keyring);
        async move { keyring.refresh().await }
    });
    store.until_read(2).await;
    let start = clock::now();
    cache.close().await.unwrap();
    store.until_ended(2).await;
    assert!(matches!(refresh.await.unwrap(), Err(CacheError::Closed)));
    assert_eq!(clock::now(), start);
    assert_eq!(keyring.status().next_refresh, None);
    tokio::time::sleep(MINUTE * 60).await;
    assert!(matches!(cache.get("k").await, Err(CacheError::Closed)));
    assert_eq!(store.reads(), 2, "there is no further one");
    assert!(matches!(keyring.refresh().await, Err(CacheError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn drop_stops_a_slow_refresh_at_once() {
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    store.answer(Answer::Hangs);
    tokio::time::sleep(MINUTE * 15).await;
    store.until_read(2).await;
    let start = clock::now();
    drop(keyring);
    store.until_ended(2).await;
    assert_eq!(clock::now(), start);
}

#[tokio::test(start_paused = true)]
async fn shared_keyring_is_closed_with_the_last_layer() {
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    let layer = || {
        let config = config(StoredForm::Tink, Migration::Strict);
        Encrypted::new(Arc::new(MemoryCache::default()), Arc::clone(&keyring), config)
    };
    let (first, second, third) = (layer(), layer(), layer());
    first.close().await.unwrap();
    first.close().await.unwrap();
    drop(third);
    keyring.refresh().await.unwrap();
    second.close().await.unwrap();
    assert!(keyring.refresh().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_store_is_got_over() {
    let store = TestStore::new(old());
    let keyring = default_keyring(&store).await;
    let cache = with_an_entry_of_the_new_key(&keyring).await;
    store.answer(Answer::Panics);
    tokio::time::sleep(MINUTE * 16).await;
    assert_eq!(store.reads(), 2);
    for _ in 0..100 {
        // Each call may start the task, and none of them the next refresh before the gap is over.
        assert!(found(cache.get("k").await).is_none());
    }
    store.put(new());
    tokio::time::sleep(MINUTE).await;
    assert_eq!(cache.get("k").await.unwrap(), "value");
    assert!(store.reads() <= 4, "{}", store.reads());
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

#[test]
fn refreshing_goes_on_in_the_runtime_of_the_next_call() {
    let store = TestStore::new(old());
    let (keyring, cache) = runtime().block_on(async {
        let keyring = default_keyring(&store).await;
        let cache = with_an_entry_of_the_new_key(&keyring).await;
        (keyring, cache)
    });
    store.put(new());
    for round in 0..3 {
        let reads = store.reads();
        // The clock of each paused runtime begins at the same time as all.
        runtime().block_on(async {
            let _ = cache.get("none").await;
            let _ = cache.set("own", "value".into(), HOUR).await;
            store.until_read(reads + 1).await;
            store.until_ended(reads + 1).await;
            tokio::task::yield_now().await;
            assert_eq!(cache.get("k").await.unwrap(), "value", "round {round}");
        });
    }
    // A runtime that ends in the middle of a refresh.
    let reads = store.reads();
    store.answer(Answer::Hangs);
    runtime().block_on(async {
        let _ = cache.set("own", "value".into(), HOUR).await;
        store.until_read(reads + 1).await;
    });
    assert_eq!(store.ended(), reads + 1);
    store.put(old());
    runtime().block_on(async {
        let status = keyring.refresh().await.unwrap();
        assert_eq!(status.primary_key_id, 7);
    });
}
