//! Calls that answer each key on its own, and reads that write in the same step.

use std::sync::Arc;

use cache_core::{CacheClient, CacheError, MemoryCache};
use cache_layers::Encrypted;
use cache_layers::encrypted::Migration;
use cache_mock::{Fault, FaultyCache, Operation};

use crate::rig::{FORMS, HOUR, MIGRATIONS, Rig, config, keyring, still, stored_key};
use crate::store::{TestStore, key, keyset};

#[tokio::test]
async fn each_value_is_sealed_and_opened_on_its_own() {
    for form in FORMS {
        for migration in MIGRATIONS {
            let newer = Rig::new(keyset(8, &[key(8), key(7)]), form, migration).await;
            let older = Rig::over(&newer.remote, keyset(7, &[key(7)]), form, migration).await;
            let too_large = vec![0; older.cache.config().max_value() + 1];
            let entries = [
                ("a", "1".into(), HOUR),
                ("", "2".into(), HOUR),
                ("large", too_large.into(), HOUR),
                ("c", "value".into(), HOUR),
            ];
            let stored = older.cache.set_each(&entries).await;
            let kinds: Vec<_> = stored
                .iter()
                .map(|result| result.as_ref().map_err(CacheError::kind))
                .collect();
            assert_eq!(
                kinds,
                [Ok(&()), Err("invalid_input"), Err("invalid_input"), Ok(&())]
            );
            assert_ne!(older.stored(&stored_key(form, "c")).await.unwrap(), "value");

            newer.cache.set("newer", "x".into(), HOUR).await.unwrap();
            let copied = older.stored(&stored_key(form, "c")).await.unwrap();
            older.store_raw(&stored_key(form, "copied"), copied).await;
            let read = older
                .cache
                .get_each(&["c", "newer", "", "copied", "a", "none", "c"])
                .await;
            let texts: Vec<_> = read
                .iter()
                .map(|result| result.as_deref().map_err(CacheError::kind))
                .collect();
            let (miss, value) = (Err("miss"), Ok(&b"value"[..]));
            assert_eq!(
                texts,
                [value, miss, Err("invalid_input"), miss, Ok(b"1"), miss, value]
            );
            assert_eq!(
                older.stored(&stored_key(form, "copied")).await,
                None,
                "it was removed"
            );
            assert!(
                older.stored(&stored_key(form, "newer")).await.is_some(),
                "it stays"
            );
        }
    }
}

#[tokio::test]
async fn failure_of_one_key_is_not_that_of_the_others() {
    for form in FORMS {
        let memory = FaultyCache::new(MemoryCache::default());
        let faults = memory.faults().clone();
        let keyring = keyring(&TestStore::new(keyset(7, &[key(7)])), still()).await;
        let cache = Encrypted::new(Arc::new(memory), keyring, config(form, Migration::ReadPlaintext));
        cache.set("a", "1".into(), HOUR).await.unwrap();
        faults.next(Operation::GetEach, Fault::connection_lost_after(1));
        let read = cache.get_each(&["a", "b"]).await;
        assert_eq!(read[0].as_ref().unwrap(), "1");
        assert!(read[1].as_ref().is_err_and(CacheError::is_transient));
        faults.next(Operation::SetEach, Fault::connection_lost_after(1));
        let stored = cache
            .set_each(&[("a", "2".into(), HOUR), ("b", "3".into(), HOUR)])
            .await;
        assert!(stored[0].is_ok() && stored[1].is_err());
        assert_eq!(cache.get("a").await.unwrap(), "2");
    }
}

#[tokio::test]
async fn get_and_delete_leaves_what_it_cannot_open() {
    for form in FORMS {
        for migration in MIGRATIONS {
            let newer = Rig::new(keyset(8, &[key(8), key(7)]), form, migration).await;
            let older = Rig::over(&newer.remote, keyset(7, &[key(7)]), form, migration).await;
            newer.cache.set("k", "value".into(), HOUR).await.unwrap();
            let error = older.cache.get_and_delete("k").await.unwrap_err();
            assert!(error.is_miss(), "{error}");
            let error = older.cache.get_and_expire("k", HOUR).await.unwrap_err();
            assert!(error.is_miss(), "{error}");
            assert_eq!(newer.cache.get_and_expire("k", HOUR).await.unwrap(), "value");
            assert_eq!(newer.cache.get_and_delete("k").await.unwrap(), "value");
            assert_eq!(newer.stored(&stored_key(form, "k")).await, None);
        }
    }
}

#[tokio::test]
async fn plain_values_of_a_migration_are_taken_and_slide_too() {
    for form in FORMS {
        let rig = Rig::new(keyset(7, &[key(7)]), form, Migration::ReadPlaintext).await;
        rig.store_raw("k", "plain").await;
        assert_eq!(rig.cache.get_and_expire("k", HOUR).await.unwrap(), "plain");
        assert_eq!(rig.cache.get_and_delete("k").await.unwrap(), "plain");
        assert_eq!(rig.stored("k").await, None);
        // What a sealed value hides must not show when that is gone.
        rig.cache.set("k", "sealed".into(), HOUR).await.unwrap();
        if stored_key(form, "k") != "k" {
            rig.store_raw("k", "hidden").await;
        }
        assert_eq!(rig.cache.get_and_delete("k").await.unwrap(), "sealed");
        assert!(rig.cache.get_and_delete("k").await.unwrap_err().is_miss());
        rig.store_raw("k", "plain").await;
        rig.cache
            .set_each(&[("k", "new".into(), HOUR)])
            .await
            .remove(0)
            .unwrap();
        assert_eq!(rig.cache.get_each(&["k"]).await.remove(0).unwrap(), "new");
        assert_ne!(rig.stored("k").await.unwrap_or_default(), "plain");
    }
}
