//! What cannot be opened is a miss, is counted, and goes only if no instance can read it. Scenario 80.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
use cache_layers::Encrypted;
use cache_layers::encrypted::{Migration, StoredForm, Unreadable};
use cache_mock::{Fault, FaultyCache, MockCacheClient, Operation};
use proptest::prelude::*;

use crate::rig::{FORMS, HOUR, MIGRATIONS, Rig, config, found, keyring, still, stored_key};
use crate::store::{TestStore, key, keyset};

const VALUE: &str = "the value of the key";

/// Puts `stored` in the place of a good entry and reads it. The reason that was counted.
async fn read_instead(rig: &Rig, form: StoredForm, stored: &Bytes) -> Unreadable {
    let name = stored_key(form, "k");
    rig.store_raw(&name, stored.clone()).await;
    let before = rig.stats();
    assert_eq!(rig.get("k").await, None, "{form:?}: {}", stored.escape_ascii());
    let after = rig.stats();
    let counted: Vec<_> = Unreadable::ALL
        .into_iter()
        .filter(|reason| after.unreadable(*reason) > before.unreadable(*reason))
        .collect();
    let [reason] = counted[..] else {
        panic!("counted as {counted:?}");
    };
    let is_dead = matches!(reason, Unreadable::Refused | Unreadable::Malformed);
    let left = (!is_dead).then(|| stored.clone());
    assert_eq!(rig.stored(&name).await, left, "{reason:?}");
    assert_eq!(after.removed - before.removed, u64::from(is_dead));
    reason
}

async fn good_entry(form: StoredForm) -> (Rig, Bytes) {
    let rig = Rig::new(keyset(7, &[key(7)]), form, Migration::Strict).await;
    rig.cache.set("k", VALUE.into(), HOUR).await.unwrap();
    assert_eq!(rig.get("k").await.unwrap(), VALUE);
    let stored = rig.stored(&stored_key(form, "k")).await.unwrap();
    assert_eq!(stored.len(), form.sealed_len(VALUE.len()));
    (rig, stored)
}

#[tokio::test]
async fn every_flipped_bit_is_a_miss() {
    for form in FORMS {
        let (rig, stored) = good_entry(form).await;
        let mut reasons = Vec::new();
        for place in 0..stored.len() {
            for bit in 0..8 {
                let mut changed = stored.to_vec();
                changed[place] ^= 1 << bit;
                reasons.push(read_instead(&rig, form, &changed.into()).await);
            }
        }
        for reason in [Unreadable::NotSealed, Unreadable::UnknownKey, Unreadable::Refused] {
            assert!(reasons.contains(&reason), "{form:?}: {reason:?}");
        }
    }
}

#[tokio::test]
async fn every_truncation_is_a_miss() {
    for form in FORMS {
        let (rig, stored) = good_entry(form).await;
        for len in 0..stored.len() {
            read_instead(&rig, form, &stored.slice(..len)).await;
        }
        let longer = [&stored[..], b"="].concat();
        read_instead(&rig, form, &longer.into()).await;
    }
}

#[tokio::test]
async fn entry_that_was_copied_to_another_key_is_refused() {
    for form in FORMS {
        let (rig, stored) = good_entry(form).await;
        for other in ["j", "k2", "K", "prefix:k", "enc:k"] {
            rig.store_raw(&stored_key(form, other), stored.clone()).await;
            assert_eq!(rig.get(other).await, None);
            assert_eq!(rig.stored(&stored_key(form, other)).await, None);
        }
        assert_eq!(rig.stats().refused, 5);
        assert_eq!(rig.get("k").await.unwrap(), VALUE);
    }
}

#[tokio::test]
async fn another_key_with_the_same_id_is_refused() {
    for form in FORMS {
        let (_, stored) = good_entry(form).await;
        let other = Rig::new(keyset(7, &[key(7).with_material(99)]), form, Migration::Strict).await;
        assert_eq!(read_instead(&other, form, &stored).await, Unreadable::Refused);
    }
}

#[tokio::test]
async fn entry_of_an_unknown_key_stays_and_is_read_when_the_key_is_known() {
    for form in FORMS {
        for migration in MIGRATIONS {
            let newer = Rig::new(keyset(8, &[key(8), key(7)]), form, migration).await;
            let older = Rig::over(&newer.remote, keyset(7, &[key(7)]), form, migration).await;
            newer.cache.set("k", VALUE.into(), HOUR).await.unwrap();
            assert_eq!(older.get("k").await, None);
            assert!(found(older.cache.get_entry("k").await).is_none());
            assert_eq!(older.cache.get_many(&["k", "none"]).await.unwrap(), [None, None]);
            // Whoever has the newer keyset may hold a lock there.
            assert!(!older.cache.set_if_absent("k", "x".into(), HOUR).await.unwrap());
            assert!(
                !older
                    .cache
                    .compare_and_set("k", b"x", "y".into(), HOUR)
                    .await
                    .unwrap()
            );
            assert!(!older.cache.compare_and_delete("k", b"x").await.unwrap());
            assert_eq!(older.cache.exists(&["k"]).await.unwrap(), 1, "there is an entry");
            let stats = older.stats();
            assert_eq!((stats.unknown_key, stats.removed), (5, 0));
            assert_eq!(newer.get("k").await.unwrap(), VALUE);
            older.rotate(keyset(7, &[key(7), key(8)])).await;
            assert_eq!(older.get("k").await.unwrap(), VALUE);
        }
    }
}

#[tokio::test]
async fn entry_of_a_disabled_key_stays() {
    let rig = Rig::new(keyset(7, &[key(7), key(8)]), StoredForm::Tink, Migration::Strict).await;
    rig.cache.set("k", VALUE.into(), HOUR).await.unwrap();
    rig.rotate(keyset(8, &[key(7).disabled(), key(8)])).await;
    assert_eq!(rig.get("k").await, None);
    rig.rotate(keyset(8, &[key(7), key(8)])).await;
    assert_eq!(rig.get("k").await.unwrap(), VALUE);
    assert_eq!(rig.stats().unknown_key, 1);
}

#[tokio::test]
async fn raw_keys_open_and_never_remove_what_they_cannot_open() {
    for form in FORMS {
        let old = Rig::new(keyset(7, &[key(7).raw()]), form, Migration::Strict).await;
        let new = Rig::over(
            &old.remote,
            keyset(8, &[key(8).raw(), key(7).raw()]),
            form,
            Migration::Strict,
        )
        .await;
        for number in 0..50 {
            let name = format!("k{number}");
            old.cache.set(&name, VALUE.into(), HOUR).await.unwrap();
            assert_eq!(new.get(&name).await.unwrap(), VALUE);
            new.cache.set(&name, VALUE.into(), HOUR).await.unwrap();
            assert_eq!(old.get(&name).await, None);
            assert_eq!(new.get(&name).await.unwrap(), VALUE, "it was not removed");
        }
        assert_eq!(old.stats().removed, 0);
    }
}

#[tokio::test]
async fn only_the_very_bytes_that_were_read_are_removed() {
    let mut remote = MockCacheClient::new();
    let tampered = Bytes::from([&[1, 0, 0, 0, 7][..], &[0; 40]].concat());
    let (stored, compared) = (tampered.clone(), tampered.clone());
    remote
        .expect_get()
        .times(1)
        .returning(move |_| Ok(stored.clone()));
    remote
        .expect_compare_and_delete()
        .withf(move |key, expected| key == "k" && expected == compared)
        .times(1)
        .returning(|_, _| Ok(false));
    let keyring = keyring(&TestStore::new(keyset(7, &[key(7)])), still()).await;
    let cache = Encrypted::new(
        Arc::new(remote),
        keyring,
        config(StoredForm::Tink, Migration::Strict),
    );
    assert!(cache.get("k").await.unwrap_err().is_miss());
    assert_eq!(
        (cache.stats().refused, cache.stats().removed),
        (1, 0),
        "somebody else was faster"
    );
}

#[tokio::test]
async fn removal_that_fails_is_no_error_of_the_read() {
    let remote = FaultyCache::new(MemoryCache::default());
    remote
        .faults()
        .always(&[Operation::CompareAndDelete], &Fault::connection_lost());
    let remote = Arc::new(remote);
    let keyring = keyring(&TestStore::new(keyset(7, &[key(7)])), still()).await;
    let cache = Encrypted::new(
        remote.clone(),
        keyring,
        config(StoredForm::Tink, Migration::Strict),
    );
    let tampered = [&[1, 0, 0, 0, 7][..], &[0; 40]].concat();
    remote.set("k", tampered.into(), HOUR).await.unwrap();
    for _ in 0..2 {
        assert!(cache.get("k").await.unwrap_err().is_miss());
        assert_eq!(cache.get_many(&["k"]).await.unwrap(), [None]);
    }
    assert_eq!(cache.stats().removed, 0);
}

#[tokio::test]
async fn many_keys_are_told_apart_one_by_one() {
    for form in FORMS {
        let rig = Rig::new(keyset(7, &[key(7)]), form, Migration::Strict).await;
        let newer = Rig::over(&rig.remote, keyset(8, &[key(8)]), form, Migration::Strict).await;
        rig.cache
            .set_many(&[("a", "1st".into()), ("b", "2nd".into())], HOUR)
            .await
            .unwrap();
        newer.cache.set("newer", "x".into(), HOUR).await.unwrap();
        let a = rig.stored(&stored_key(form, "a")).await.unwrap();
        rig.store_raw(&stored_key(form, "copied"), a).await;
        rig.store_raw(&stored_key(form, "plain"), "plaintext").await;
        let keys = ["a", "newer", "copied", "none", "b", "plain", "a"];
        let values = rig.cache.get_many(&keys).await.unwrap();
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        let (first, second) = (Some(&b"1st"[..]), Some(&b"2nd"[..]));
        assert_eq!(values, [first, None, None, None, second, None, first]);
        let stats = rig.stats();
        assert_eq!(
            (stats.unknown_key, stats.refused, stats.not_sealed, stats.removed),
            (1, 1, 1, 1)
        );
        assert_eq!(rig.cache.exists(&["newer", "copied", "plain"]).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn call_with_many_dead_entries_removes_some_and_the_next_ones_the_rest() {
    let rig = Rig::new(keyset(7, &[key(7)]), StoredForm::Tink, Migration::Strict).await;
    let keys: Vec<String> = (0..150).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    rig.cache.set("good", VALUE.into(), HOUR).await.unwrap();
    let stored = rig.stored("good").await.unwrap();
    for key in &keys {
        rig.store_raw(key, stored.clone()).await;
    }
    for left in [86, 22, 0] {
        assert!(
            rig.cache
                .get_many(&keys)
                .await
                .unwrap()
                .iter()
                .all(Option::is_none)
        );
        assert_eq!(rig.remote.exists(&keys).await.unwrap(), left);
    }
    assert_eq!(rig.stats().removed, 150);
}

#[tokio::test]
async fn set_if_absent_replaces_what_no_reader_can_read() {
    for form in FORMS {
        let (rig, stored) = good_entry(form).await;
        let name = stored_key(form, "other");
        let mut broken = stored.to_vec();
        *broken.last_mut().unwrap() ^= 4;
        for unreadable in [stored, broken.into(), "plaintext".into(), "cb-enc:A".into()] {
            rig.store_raw(&name, unreadable).await;
            assert!(
                rig.cache
                    .set_if_absent("other", "new".into(), HOUR)
                    .await
                    .unwrap()
            );
            assert_eq!(rig.get("other").await.unwrap(), "new");
            assert!(
                !rig.cache
                    .set_if_absent("other", "newer".into(), HOUR)
                    .await
                    .unwrap()
            );
            assert_eq!(rig.get("other").await.unwrap(), "new");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_tasks_replaces_what_no_reader_can_read() {
    for form in FORMS {
        for round in 0..50 {
            let rig = Rig::new(keyset(7, &[key(7)]), form, Migration::Strict).await;
            rig.store_raw(&stored_key(form, "k"), "plaintext").await;
            let mut tasks = tokio::task::JoinSet::new();
            for task in 0..8 {
                let cache = rig.cache.clone();
                tasks.spawn(async move {
                    // Readers get in the way.
                    let _ = cache.get("k").await;
                    let value = format!("task {task}");
                    let won = cache
                        .set_if_absent("k", value.clone().into(), HOUR)
                        .await
                        .unwrap();
                    won.then_some(value)
                });
            }
            let won: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
            assert_eq!(won.len(), 1, "round {round}: {won:?}");
            assert_eq!(rig.get("k").await.unwrap(), won[0]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever stands in the place of an entry: a reader gets a miss, or a counter, or in the mode for it the plaintext.
    #[test]
    fn foreign_bytes_are_never_a_value(bytes in prop::collection::vec(any::<u8>(), 0..80), head in 0..4_usize) {
        let heads: [&[u8]; 4] = [b"", &[1, 0, 0, 0, 7], &[0, 0, 0, 0, 7], b"cb-enc:"];
        let stored = Bytes::from([heads[head], &bytes].concat());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for form in FORMS {
                let rig = Rig::new(keyset(7, &[key(7)]), form, Migration::Strict).await;
                rig.store_raw(&stored_key(form, "k"), stored.clone()).await;
                if let Some(value) = rig.get("k").await {
                    assert_eq!(value, stored);
                    assert!(str::from_utf8(&value).unwrap().parse::<i64>().is_ok());
                }
            }
        });
    }
}

#[tokio::test]
async fn unreadable_entry_is_no_error_of_any_method() {
    for form in FORMS {
        for migration in MIGRATIONS {
            let newer = Rig::new(keyset(8, &[key(8)]), form, migration).await;
            let older = Rig::over(&newer.remote, keyset(7, &[key(7)]), form, migration).await;
            let cache = &older.cache;
            newer.cache.set("k", VALUE.into(), HOUR).await.unwrap();
            assert!(cache.get("k").await.unwrap_err().is_miss());
            assert!(cache.get_entry("k").await.unwrap_err().is_miss());
            cache.get_many(&["k"]).await.unwrap();
            cache.compare_and_set("k", b"x", "y".into(), HOUR).await.unwrap();
            cache.compare_and_delete("k", b"x").await.unwrap();
            cache.set_if_absent("k", "y".into(), HOUR).await.unwrap();
            cache.exists(&["k"]).await.unwrap();
            cache.ttl("k").await.unwrap();
            assert!(cache.expire("k", Ttl::secs(1_800)).await.unwrap());
            // It is text to the backend, and not known to be anything else.
            let counted = cache.incr("k").await.unwrap_err();
            assert!(matches!(counted, CacheError::Rejected { .. }), "{counted}");
            assert_eq!(newer.get("k").await.unwrap(), VALUE);
            cache.set("k", "fresh".into(), HOUR).await.unwrap();
            assert_eq!(older.get("k").await.unwrap(), "fresh");
        }
    }
}
