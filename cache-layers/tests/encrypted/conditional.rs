//! Conditional writes look again if the entry changes between the look and the write, and not for ever.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Outcome};
use cache_layers::Encrypted;
use cache_layers::encrypted::{Migration, StoredForm};
use cache_mock::MockCacheClient;

use crate::rig::{HOUR, Rig, config, keyring, still};
use crate::store::{TestStore, key, keyset};

/// The same value, sealed that often.
async fn sealings(times: usize) -> Vec<Bytes> {
    let rig = Rig::new(keyset(7, &[key(7)]), StoredForm::Tink, Migration::Strict).await;
    let mut sealings = Vec::new();
    for _ in 0..times {
        rig.cache.set("k", "value".into(), HOUR).await.unwrap();
        sealings.push(rig.stored("k").await.unwrap());
    }
    sealings
}

async fn over(remote: MockCacheClient) -> Encrypted {
    let keyring = keyring(&TestStore::new(keyset(7, &[key(7)])), still()).await;
    Encrypted::new(
        Arc::new(remote),
        keyring,
        config(StoredForm::Tink, Migration::Strict),
    )
}

#[tokio::test]
async fn no_two_sealings_are_equal() {
    let mut sealings = sealings(1_000).await;
    sealings.sort();
    sealings.dedup();
    assert_eq!(sealings.len(), 1_000);
}

#[tokio::test]
async fn value_that_was_sealed_again_is_compared_again() {
    for deletes in [false, true] {
        let mut remote = MockCacheClient::new();
        let sealings = sealings(2).await;
        for (stored, is_there) in sealings.into_iter().zip([false, true]) {
            let compared = stored.clone();
            remote.expect_get().times(1).return_once(move |_| Ok(stored));
            if deletes {
                let delete = remote.expect_compare_and_delete().times(1);
                delete
                    .withf(move |_, expected| expected == compared)
                    .return_once(move |_, _| Ok(is_there));
            } else {
                let set = remote.expect_compare_and_set().times(1);
                set.withf(move |_, expected, _, _| expected == compared)
                    .return_once(move |_, _, _, _| Ok(is_there));
            }
        }
        let cache = over(remote).await;
        let done = if deletes {
            cache.compare_and_delete("k", b"value").await
        } else {
            cache.compare_and_set("k", b"value", "new".into(), HOUR).await
        };
        assert!(done.unwrap());
    }
}

#[tokio::test]
async fn entry_that_never_holds_still_ends_the_call() {
    let sealed = sealings(1).await.remove(0);
    let mut remote = MockCacheClient::new();
    remote
        .expect_get()
        .times(16)
        .returning(move |_| Ok(sealed.clone()));
    remote
        .expect_compare_and_set()
        .times(8)
        .returning(|_, _, _, _| Ok(false));
    remote
        .expect_compare_and_delete()
        .times(8)
        .returning(|_, _| Ok(false));
    let cache = over(remote).await;
    for ended in [
        cache.compare_and_set("k", b"value", "new".into(), HOUR).await,
        cache.compare_and_delete("k", b"value").await,
    ] {
        let error = ended.unwrap_err();
        assert!(matches!(error, CacheError::Unavailable { .. }), "{error}");
        assert!(error.is_transient());
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
}

#[tokio::test]
async fn error_of_the_client_inside_is_the_answer() {
    let lost = CacheError::Unavailable {
        reason: cache_core::Unavailability::Lost,
        detail: "127.0.0.1:1".into(),
        outcome: Outcome::Unknown,
        source: None,
    };
    let cache = over(MockCacheClient::failing(&lost)).await;
    macro_rules! fails {
        ($($method:ident($($argument:expr),*);)+) => {$(
            let error = cache.$method($($argument),*).await.unwrap_err();
            assert_eq!(error.outcome(), Outcome::Unknown, "{}", stringify!($method));
        )+};
    }
    fails! {
        get("k");
        get_entry("k");
        get_many(&["k"]);
        set("k", "v".into(), HOUR);
        set_many(&[("k", "v".into())], HOUR);
        set_if_absent("k", "v".into(), HOUR);
        compare_and_set("k", b"v", "w".into(), HOUR);
        compare_and_delete("k", b"v");
        del(&["k"]);
        exists(&["k"]);
        incr("k");
        incr_by("k", 1, HOUR);
        expire("k", HOUR);
        ttl("k");
        ping();
        close();
    }
}

#[tokio::test]
async fn value_over_the_limit_is_refused_before_any_call() {
    let config = cache_layers::EncryptedConfig::builder()
        .max_value(4)
        .build()
        .unwrap();
    let keyring = keyring(&TestStore::new(keyset(7, &[key(7)])), still()).await;
    let cache = Encrypted::new(Arc::new(MockCacheClient::new()), keyring, config);
    let error = cache
        .compare_and_set("k", b"v", "large".into(), HOUR)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid value: 5 bytes long; before it is encrypted a value has at most 4"
    );
}
