//! Plaintext that is found when encryption has just been switched on. Scenario 86.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cache_core::{CacheClient, Invalidation, MemoryCache, Ttl};
use cache_layers::encrypted::{Migration, StoredForm};
use cache_layers::{NearConfig, Tiered};

use crate::rig::{FORMS, HOUR, Rig, found, stored_key};
use crate::store::{key, keyset};

async fn rig(form: StoredForm, migration: Migration) -> Rig {
    Rig::new(keyset(7, &[key(7)]), form, migration).await
}

async fn bridge() -> Rig {
    rig(StoredForm::ChinminaBridge, Migration::ReadPlaintext).await
}

#[tokio::test]
async fn strict_takes_plaintext_for_a_miss_and_leaves_it() {
    for form in FORMS {
        let rig = rig(form, Migration::Strict).await;
        let name = stored_key(form, "k");
        for plaintext in [
            "plaintext",
            "",
            "{\"a\":1}",
            "a text that is longer than any ciphertext's overhead",
        ] {
            rig.store_raw(&name, plaintext).await;
            assert_eq!(rig.get("k").await, None);
            assert_eq!(rig.stored(&name).await.unwrap(), plaintext);
            assert!(
                !rig.cache
                    .compare_and_set("k", plaintext.as_bytes(), "x".into(), HOUR)
                    .await
                    .unwrap()
            );
            assert!(
                !rig.cache
                    .compare_and_delete("k", plaintext.as_bytes())
                    .await
                    .unwrap()
            );
        }
        let stats = rig.stats();
        assert_eq!((stats.not_sealed, stats.plaintext, stats.removed), (12, 0, 0));
        rig.cache.set("k", "sealed".into(), HOUR).await.unwrap();
        assert_eq!(rig.get("k").await.unwrap(), "sealed");
        // Under the key without `enc:` nothing is read either.
        if form == StoredForm::ChinminaBridge {
            rig.store_raw("other", "plaintext").await;
            assert_eq!(rig.get("other").await, None);
            assert_eq!(rig.cache.exists(&["other"]).await.unwrap(), 0);
        }
    }
}

/// In both forms the plaintext is under the key that callers know.
#[tokio::test(start_paused = true)]
async fn read_plaintext_reads_it_counts_it_and_writes_ciphertext() {
    for form in FORMS {
        let rig = rig(form, Migration::ReadPlaintext).await;
        let cache = &rig.cache;
        for name in ["a", "b", "c", "d", "e"] {
            rig.store_raw(name, format!("plaintext {name}")).await;
        }
        assert_eq!(rig.get("a").await.unwrap(), "plaintext a");
        let entry = cache.get_entry("a").await.unwrap();
        assert_eq!((&entry.value[..], entry.remaining), (&b"plaintext a"[..], HOUR));
        let values = cache.get_many(&["b", "none", "a"]).await.unwrap();
        let plain = |name: &str| Some(Bytes::from(format!("plaintext {name}")));
        assert_eq!(values, [plain("b"), None, plain("a")]);
        assert_eq!(rig.stats().plaintext, 4);
        assert_eq!(cache.exists(&["a", "none", "b", "a"]).await.unwrap(), 3);
        assert_eq!(cache.ttl("a").await.unwrap(), HOUR);
        assert!(cache.expire("a", Ttl::secs(60)).await.unwrap());
        assert_eq!(cache.ttl("a").await.unwrap(), Ttl::secs(60));
        assert!(!cache.set_if_absent("a", "x".into(), HOUR).await.unwrap());

        cache.set("a", "new".into(), HOUR).await.unwrap();
        cache
            .set_many(&[("b", "new".into()), ("f", "new".into())], HOUR)
            .await
            .unwrap();
        assert!(
            !cache
                .compare_and_set("c", b"plaintext", "x".into(), HOUR)
                .await
                .unwrap()
        );
        assert!(
            cache
                .compare_and_set("c", b"plaintext c", "new".into(), HOUR)
                .await
                .unwrap()
        );
        for name in ["a", "b", "c"] {
            assert_eq!(rig.get(name).await.unwrap(), "new");
            let sealed = rig.stored(&stored_key(form, name)).await.unwrap();
            assert_eq!(sealed.len(), form.sealed_len(3));
            if form == StoredForm::ChinminaBridge {
                assert_eq!(
                    rig.stored(name).await,
                    None,
                    "no plaintext shows when the sealed value ends"
                );
            }
        }
        assert!(!cache.compare_and_delete("d", b"plaintext").await.unwrap());
        assert!(cache.compare_and_delete("d", b"plaintext d").await.unwrap());
        assert_eq!(cache.del(&["a", "d", "e", "e"]).await.unwrap(), 2);
        for name in ["a", "d", "e"] {
            assert_eq!(rig.get(name).await, None);
            assert_eq!(cache.exists(&[name]).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn plaintext_that_looks_like_a_ciphertext_is_a_miss_and_stays() {
    let rig = rig(StoredForm::Tink, Migration::ReadPlaintext).await;
    for first in [0_u8, 1] {
        let long = [&[first][..], &[b'x'; 40]].concat();
        rig.store_raw("k", long.clone()).await;
        assert_eq!(rig.get("k").await, None, "it may be an entry of a newer keyset");
        assert_eq!(rig.stored("k").await.unwrap(), long);
        let short = vec![first; 32];
        rig.store_raw("k", short.clone()).await;
        assert_eq!(rig.get("k").await.unwrap(), short, "too short for a ciphertext");
    }
}

#[tokio::test]
async fn sealed_value_hides_the_plaintext_and_no_delete_lets_it_show() {
    let rig = bridge().await;
    let cache = &rig.cache;
    let both = async || {
        cache.set("k", "sealed".into(), HOUR).await.unwrap();
        // An instance that does not encrypt yet writes after that.
        rig.store_raw("k", "plaintext").await;
        assert_eq!(rig.get("k").await.unwrap(), "sealed");
        assert_eq!(cache.exists(&["k"]).await.unwrap(), 1);
    };
    both().await;
    assert_eq!(cache.del(&["k"]).await.unwrap(), 1);
    assert_eq!(rig.get("k").await, None);
    both().await;
    assert!(cache.compare_and_delete("k", b"sealed").await.unwrap());
    assert_eq!(rig.get("k").await, None);
    both().await;
    assert!(
        cache
            .compare_and_set("k", b"sealed", "new".into(), HOUR)
            .await
            .unwrap()
    );
    assert_eq!(rig.get("k").await.unwrap(), "new");
}

#[tokio::test]
async fn unreadable_sealed_value_does_not_let_the_plaintext_show() {
    let rig = bridge().await;
    rig.store_raw("k", "plaintext").await;
    let newer = Rig::over(
        &rig.remote,
        keyset(8, &[key(8)]),
        StoredForm::ChinminaBridge,
        Migration::Strict,
    )
    .await;
    newer.cache.set("k", "newer".into(), HOUR).await.unwrap();
    assert_eq!(rig.get("k").await, None);
    assert_eq!(newer.get("k").await.unwrap(), "newer");
}

#[tokio::test]
async fn key_that_begins_like_a_stored_name_is_not_mixed_up() {
    let rig = bridge().await;
    let cache = &rig.cache;
    cache.set("k", "value".into(), HOUR).await.unwrap();
    // The sealed value of `k` has that name.
    assert_eq!(rig.get("enc:k").await, None);
    assert_eq!(cache.exists(&["enc:k"]).await.unwrap(), 0);
    assert_eq!(cache.del(&["enc:k"]).await.unwrap(), 0);
    assert!(cache.set_if_absent("enc:k", "other".into(), HOUR).await.unwrap());
    cache.set("enc:k", "other".into(), HOUR).await.unwrap();
    assert_eq!(rig.get("k").await.unwrap(), "value");
    assert_eq!(rig.get("enc:k").await.unwrap(), "other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_tasks_replaces_the_plaintext() {
    for form in FORMS {
        for deletes in [false, true] {
            let rig = rig(form, Migration::ReadPlaintext).await;
            rig.store_raw("k", "plaintext").await;
            let mut tasks = tokio::task::JoinSet::new();
            for task in 0..16 {
                let cache = rig.cache.clone();
                tasks.spawn(async move {
                    if deletes {
                        cache.compare_and_delete("k", b"plaintext").await.unwrap()
                    } else {
                        let value = format!("task {task}").into();
                        cache
                            .compare_and_set("k", b"plaintext", value, HOUR)
                            .await
                            .unwrap()
                    }
                });
            }
            let winners = tasks.join_all().await.into_iter().filter(|won| *won).count();
            assert_eq!(winners, 1);
            assert_eq!(rig.get("k").await.is_none(), deletes);
        }
    }
}

#[tokio::test]
async fn counters_are_not_counted_as_plaintext() {
    let rig = rig(StoredForm::Tink, Migration::ReadPlaintext).await;
    rig.store_raw("n", "41").await;
    assert_eq!(rig.get("n").await.unwrap(), "41");
    assert_eq!(rig.cache.incr("n").await.unwrap(), 42);
    assert_eq!(rig.stats().plaintext, 0);
}

#[tokio::test]
async fn changes_are_reported_by_the_keys_that_callers_know() {
    for form in FORMS {
        for migration in [Migration::Strict, Migration::ReadPlaintext] {
            let rig = rig(form, migration).await;
            let heard = Arc::new(Mutex::new(Vec::new()));
            let (source, hears) = (rig.cache.invalidations().unwrap(), Arc::clone(&heard));
            let _subscription = source.subscribe(Arc::new(move |event: &Invalidation| {
                hears.lock().unwrap().push(event.clone());
            }));
            let stored = stored_key(form, "k");
            rig.remote.set(&stored, "x".into(), HOUR).await.unwrap();
            rig.remote.set("plain", "x".into(), HOUR).await.unwrap();
            rig.remote.set("enc:", "x".into(), HOUR).await.unwrap();
            let mut keys = Vec::new();
            for event in heard.lock().unwrap().drain(..) {
                match event {
                    Invalidation::Keys(some) => keys.extend(some),
                    other => panic!("{other:?}"),
                }
            }
            let expected: &[&str] = match (form, migration) {
                (StoredForm::Tink, _) => &["k", "plain", "enc:"],
                (_, Migration::Strict) => &["k"],
                _ => &["k", "plain"],
            };
            assert_eq!(keys, expected, "{form:?} {migration:?}");
        }
    }
}

/// Two instances with near tiers over one cache: each hears of what the other writes.
#[tokio::test]
async fn near_tier_above_is_kept_true() {
    for form in FORMS {
        for migration in [Migration::Strict, Migration::ReadPlaintext] {
            let remote = Arc::new(MemoryCache::default());
            let near = async || {
                let rig = Rig::over(&remote, keyset(7, &[key(7)]), form, migration).await;
                let tiered = Tiered::new(rig.cache.clone(), NearConfig::default());
                (rig, tiered)
            };
            let ((one_rig, one), (_, other)) = (near().await, near().await);
            one.set("k", "1".into(), HOUR).await.unwrap();
            for _ in 0..3 {
                assert_eq!(one.get("k").await.unwrap(), "1");
            }
            assert_eq!(one.stats().hits, 2, "{:?}", one.stats());
            assert_eq!(one_rig.stats().opened, 1, "near hits open nothing");
            other.set("k", "2".into(), HOUR).await.unwrap();
            assert_eq!(one.get("k").await.unwrap(), "2");
            other.del(&["k"]).await.unwrap();
            assert!(found(one.get("k").await).is_none());
            other.incr("n").await.unwrap();
            assert_eq!(one.get("n").await.unwrap(), "1");
            other.incr("n").await.unwrap();
            assert_eq!(one.get("n").await.unwrap(), "2");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn plaintext_of_another_name_is_not_kept_near_as_tracked() {
    let rig = bridge().await;
    rig.store_raw("k", "plaintext").await;
    assert!(!rig.cache.get_entry("k").await.unwrap().tracked);
    let _subscription = rig
        .cache
        .invalidations()
        .unwrap()
        .subscribe(Arc::new(|_: &Invalidation| {}));
    assert!(!rig.cache.get_entry("k").await.unwrap().tracked);
    rig.cache.set("k", "sealed".into(), HOUR).await.unwrap();
    assert!(rig.cache.get_entry("k").await.unwrap().tracked);
}
