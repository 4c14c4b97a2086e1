//! A keyring that cannot be loaded says what to check. Scenario 82, and the errors of stores.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::keyset::KeyEncryption;
use cache_core::{CacheError, Outcome, Secret, Unavailability, clock};
use cache_layers::{Keyring, KeyringConfig};

use crate::store::{Answer, LOCATION, TestKey, TestStore, key, keyset};

/// The text of the error, which shows no key material.
async fn refused(store: &TestStore, encrypted_under: Option<Arc<dyn KeyEncryption>>) -> String {
    let loaded = Keyring::load(Arc::new(store.clone()), encrypted_under, KeyringConfig::default()).await;
    let error = loaded.expect_err("it is refused");
    let text = format!("{error} {error:?}");
    for material in [7, 8, 9] {
        assert!(!text.contains(&key(material).value()), "{text}");
    }
    error.to_string()
}

#[tokio::test]
async fn keyset_that_cannot_be_used_is_refused_with_its_location() {
    let good = keyset(7, &[key(7)]);
    let small = |size| key(7).with_size(size);
    let cases: [(String, &str); 9] = [
        (keyset(7, &[key(7).disabled()]), "not enabled"),
        (keyset(9, &[key(7)]), "primary"),
        (keyset(7, &[key(7), key(7).with_material(9)]), "7"),
        (keyset(7, &[]), "key"),
        (keyset(7, &[small(24)]), "24"),
        (keyset(7, &[small(8)]), "8"),
        (good.replace("primaryKeyId", "primaryKey"), "primaryKey"),
        (good[..good.len() / 2].to_owned(), ""),
        (String::new(), ""),
    ];
    for (keyset, names) in cases {
        let text = refused(&TestStore::new(keyset), None).await;
        assert!(text.contains(LOCATION), "{text}");
        assert!(text.contains(names), "{names} in {text}");
    }
}

#[tokio::test]
async fn keyset_that_is_not_there_is_refused_with_what_to_do() {
    let store = TestStore::new("");
    store.answer(Answer::Fails(CacheError::Miss));
    let text = refused(&store, None).await;
    assert!(text.contains(&format!("there is none at {LOCATION}")), "{text}");
    assert!(text.contains("cachectl keyset create"), "{text}");
}

#[tokio::test]
async fn refusal_of_the_store_says_which_permission_to_check() {
    let store = TestStore::new("");
    store.answer(Answer::Fails(CacheError::Unauthorized {
        detail: "the token is not valid".into(),
        source: None,
    }));
    let text = refused(&store, None).await;
    for part in [
        LOCATION,
        "the token is not valid",
        "check the credentials",
        "permissions",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    store.answer(Answer::Fails(CacheError::Denied {
        command: "secretsmanager:GetSecretValue".into(),
        detail: "no policy allows it".into(),
    }));
    let text = refused(&store, None).await;
    for part in [LOCATION, "secretsmanager:GetSecretValue", "no policy allows it"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    store.answer(Answer::Fails(CacheError::Unavailable {
        reason: Unavailability::Connect,
        detail: "127.0.0.1:9".into(),
        outcome: Outcome::NotApplied,
        source: None,
    }));
    let text = refused(&store, None).await;
    assert!(text.contains(LOCATION) && text.contains("127.0.0.1:9"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn store_that_does_not_answer_ends_the_start_in_time() {
    let store = TestStore::new("");
    store.answer(Answer::Hangs);
    let start = clock::now();
    let text = refused(&store, None).await;
    assert_eq!(clock::now() - start, Duration::from_secs(10));
    assert!(text.contains(LOCATION) && text.contains("within 10s"), "{text}");
    assert_eq!(store.ended(), 1, "the read was stopped");
}

/// A key that did not encrypt what it is to decrypt.
#[derive(Debug)]
struct OtherKey;

#[async_trait]
impl KeyEncryption for OtherKey {
    fn name(&self) -> String {
        "test-kms://key/2".to_owned()
    }

    async fn encrypt(&self, _: &Secret<Vec<u8>>, _: &[u8]) -> Result<Vec<u8>, CacheError> {
        Err(CacheError::Unsupported { detail: "".into() })
    }

    async fn decrypt(&self, _: &[u8], _: &[u8]) -> Result<Secret<Vec<u8>>, CacheError> {
        Err(CacheError::Corrupt {
            detail: "another key encrypted it".into(),
            source: None,
        })
    }
}

#[tokio::test]
async fn keyset_of_another_key_is_refused_with_both_names() {
    let encrypted = r#"{"encryptedKeyset":"AAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
    let text = refused(&TestStore::new(encrypted), Some(Arc::new(OtherKey))).await;
    for part in [LOCATION, "test-kms://key/2", "another key encrypted it"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// A keyset of an unusual key is no reason to refuse.
#[tokio::test]
async fn keys_of_16_bytes_and_raw_keys_are_taken() {
    let keys: [TestKey; 2] = [key(7).with_size(16), key(8).raw()];
    for primary in [7, 8] {
        let store = TestStore::new(keyset(primary, &keys));
        let keyring = Keyring::load(Arc::new(store), None, KeyringConfig::default())
            .await
            .unwrap();
        assert_eq!(keyring.status().primary_key_id, primary);
    }
}
