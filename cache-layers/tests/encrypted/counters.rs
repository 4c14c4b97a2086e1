//! Counters are in clear text; integers that were stored are not, until they are counted.

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
use cache_layers::encrypted::{Migration, StoredForm};
use cache_layers::{Encrypted, EncryptedConfig};
use std::sync::Arc;

use crate::rig::{FORMS, HOUR, MIGRATIONS, Rig, keyring, still, stored_key};
use crate::store::{TestStore, key, keyset};

async fn rig(form: StoredForm, migration: Migration) -> Rig {
    Rig::new(keyset(7, &[key(7)]), form, migration).await
}

#[tokio::test(start_paused = true)]
async fn integer_that_was_stored_is_sealed_until_it_is_counted() {
    for form in FORMS {
        for migration in MIGRATIONS {
            let rig = rig(form, migration).await;
            let name = stored_key(form, "pin");
            rig.cache.set("pin", "123456".into(), HOUR).await.unwrap();
            let sealed = rig.stored(&name).await.unwrap();
            assert_eq!(sealed.len(), form.sealed_len(6));
            assert_eq!(rig.get("pin").await.unwrap(), "123456");

            tokio::time::advance(std::time::Duration::from_secs(600)).await;
            assert_eq!(rig.cache.incr("pin").await.unwrap(), 123_457);
            assert_eq!(
                rig.stored(&name).await.unwrap(),
                "123457",
                "a counter from now on"
            );
            assert_eq!(rig.cache.ttl("pin").await.unwrap(), Ttl::secs(3_000));
            assert_eq!(rig.cache.incr_by("pin", -7, Ttl::Forever).await.unwrap(), 123_450);
            assert_eq!(rig.get("pin").await.unwrap(), "123450");

            rig.cache.set("pin", "1".into(), HOUR).await.unwrap();
            assert_eq!(
                rig.stored(&name).await.unwrap().len(),
                form.sealed_len(1),
                "sealed again"
            );
        }
    }
}

#[tokio::test]
async fn what_incr_makes_is_in_clear_text_and_is_read() {
    for form in FORMS {
        let rig = rig(form, Migration::Strict).await;
        let name = stored_key(form, "n");
        assert_eq!(rig.cache.incr_by("n", 41, HOUR).await.unwrap(), 41);
        assert_eq!(rig.cache.incr("n").await.unwrap(), 42);
        assert_eq!(rig.stored(&name).await.unwrap(), "42");
        assert_eq!(rig.get("n").await.unwrap(), "42");
        assert_eq!(rig.cache.get_entry("n").await.unwrap().value, "42");
        let many = rig.cache.get_many(&["n"]).await.unwrap();
        assert_eq!(many, [Some(Bytes::from("42"))]);
        let stats = rig.stats();
        assert_eq!((stats.plaintext, stats.not_sealed, stats.opened), (0, 0, 0));
    }
}

#[tokio::test]
async fn counter_that_is_replaced_by_an_integer_stays_a_counter() {
    for form in FORMS {
        let rig = rig(form, Migration::Strict).await;
        let name = stored_key(form, "n");
        rig.cache.incr("n").await.unwrap();
        assert!(
            !rig.cache
                .compare_and_set("n", b"2", "9".into(), HOUR)
                .await
                .unwrap()
        );
        assert!(
            rig.cache
                .compare_and_set("n", b"1", "900".into(), HOUR)
                .await
                .unwrap()
        );
        assert_eq!(rig.stored(&name).await.unwrap(), "900");
        assert!(
            rig.cache
                .compare_and_set("n", b"900", "text".into(), HOUR)
                .await
                .unwrap()
        );
        assert_eq!(rig.stored(&name).await.unwrap().len(), form.sealed_len(4));
        assert!(
            rig.cache
                .compare_and_set("n", b"text", "7".into(), HOUR)
                .await
                .unwrap()
        );
        assert_eq!(
            rig.stored(&name).await.unwrap().len(),
            form.sealed_len(1),
            "nobody counted it"
        );
        rig.cache.incr("n").await.unwrap();
        assert!(rig.cache.compare_and_delete("n", b"8").await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_that_count_a_sealed_integer_lose_nothing() {
    for form in FORMS {
        for _ in 0..20 {
            let rig = rig(form, Migration::Strict).await;
            rig.cache.set("n", "1000".into(), HOUR).await.unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let cache = rig.cache.clone();
                tasks.spawn(async move {
                    for _ in 0..5 {
                        cache.incr("n").await.unwrap();
                    }
                });
            }
            tasks.join_all().await;
            assert_eq!(rig.get("n").await.unwrap(), "1040");
        }
    }
}

#[tokio::test]
async fn text_and_overflow_are_rejected_and_stay_sealed() {
    for form in FORMS {
        let rig = rig(form, Migration::Strict).await;
        for text in ["text", "", "01", "+1", "9223372036854775807"] {
            rig.cache.set("n", text.into(), HOUR).await.unwrap();
            let sealed = rig.stored(&stored_key(form, "n")).await;
            for counted in [rig.cache.incr("n").await, rig.cache.incr_by("n", 1, HOUR).await] {
                assert!(
                    matches!(counted, Err(CacheError::Rejected { .. })),
                    "{text}: {counted:?}"
                );
            }
            assert_eq!(rig.stored(&stored_key(form, "n")).await, sealed);
        }
    }
}

#[tokio::test]
async fn entry_that_no_reader_can_read_counts_from_zero() {
    for form in FORMS {
        let rig = rig(form, Migration::Strict).await;
        rig.cache.set("k", "v".into(), HOUR).await.unwrap();
        let copied = rig.stored(&stored_key(form, "k")).await.unwrap();
        rig.store_raw(&stored_key(form, "n"), copied).await;
        assert_eq!(rig.cache.incr("n").await.unwrap(), 1);
    }
}

#[tokio::test]
async fn without_counters_nothing_in_clear_text_is_read() {
    for form in FORMS {
        let config = EncryptedConfig::builder()
            .stored_form(form)
            .without_counters()
            .build()
            .unwrap();
        let remote = Arc::new(MemoryCache::default());
        let keyring = keyring(&TestStore::new(keyset(7, &[key(7)])), still()).await;
        let cache = Encrypted::new(remote.clone(), keyring, config);
        for counted in [cache.incr("n").await, cache.incr_by("n", 1, HOUR).await] {
            let error = counted.unwrap_err();
            assert!(matches!(error, CacheError::Unsupported { .. }), "{error}");
        }
        remote
            .set(&stored_key(form, "n"), "1".into(), HOUR)
            .await
            .unwrap();
        assert!(cache.get("n").await.unwrap_err().is_miss());
        assert_eq!(cache.stats().not_sealed, 1);
    }
}
