//! Any bytes in the place of a stored value, in both forms: to a reader they are a miss or a counter, and nothing else;
//! where plaintext is read, they are what they are. The first byte chooses form and mode, and what is put before the rest.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use cache_core::keyset::{Expected, KeysetStore, StoredKeyset};
use cache_core::{CacheClient, CacheError, MemoryCache, Secret, Ttl};
use cache_layers::encrypted::{Migration, StoredForm};
use cache_layers::{Encrypted, EncryptedConfig, Keyring, KeyringConfig};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

/// A keyset with a key of each prefix, whose ids the bytes can hit.
#[derive(Debug)]
struct Fixed;

#[async_trait]
impl KeysetStore for Fixed {
    fn location(&self) -> String {
        "fixed".to_owned()
    }

    async fn read(&self) -> Result<StoredKeyset, CacheError> {
        let key = |id: u32, prefix: &str| {
            format!(
                r#"{{"keyData": {{"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey",
                    "value": "GhCrq6urq6urq6urq6urq6ur"}}, "status": 1, "keyId": {id}, "outputPrefixType": "{prefix}"}}"#
            )
        };
        let keys = [key(1, "TINK"), key(1_717_986_918, "CRUNCHY")].join(",");
        let stored = format!(r#"{{"primaryKeyId": 1, "key": [{keys}]}}"#);
        Ok(StoredKeyset::new(Secret::new(stored.into_bytes()), "1", BTreeMap::new()))
    }

    async fn write(
        &self,
        _: &Secret<Vec<u8>>,
        _: &BTreeMap<String, String>,
        _: Expected<'_>,
    ) -> Result<(), CacheError> {
        Err(CacheError::Unsupported { detail: "fixed".into() })
    }
}

struct Rig {
    remote: Arc<MemoryCache>,
    cache: Encrypted,
    key: &'static str,
    /// Where the stored value is.
    stored_key: &'static str,
    migration: Migration,
}

static RIGS: LazyLock<(Runtime, Vec<Rig>)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut rigs = Vec::new();
    for form in [StoredForm::Tink, StoredForm::ChinminaBridge] {
        for migration in [Migration::Strict, Migration::ReadPlaintext] {
            let config = KeyringConfig::builder().unknown_key_wait(std::time::Duration::ZERO).build().unwrap();
            let keyring = runtime.block_on(Keyring::load(Arc::new(Fixed), None, config)).unwrap();
            let remote = Arc::new(MemoryCache::default());
            let config = EncryptedConfig::builder().stored_form(form).migration(migration).build().unwrap();
            rigs.push(Rig {
                cache: Encrypted::new(remote.clone(), keyring, config),
                remote,
                key: "k",
                stored_key: if form == StoredForm::Tink { "k" } else { "enc:k" },
                migration,
            });
        }
    }
    (runtime, rigs)
});

async fn check(rig: &Rig, stored: Vec<u8>) {
    let is_plain = rig.stored_key == rig.key && rig.migration == Migration::ReadPlaintext;
    rig.remote.set(rig.stored_key, stored.clone().into(), Ttl::Forever).await.unwrap();
    let is_integer = str::from_utf8(&stored)
        .is_ok_and(|text| text.parse::<i64>().is_ok_and(|number| number.to_string() == text));
    match rig.cache.get(rig.key).await {
        // The fuzzer learns what it is compared with below, and may hand back what was sealed there.
        Ok(value) => assert!(value == "a value" || (value == stored && (is_integer || is_plain))),
        Err(CacheError::Miss) => assert!(!is_integer),
        Err(error) => panic!("{error}"),
    }
    let counted = rig.cache.incr(rig.key).await;
    assert!(matches!(counted, Ok(_) | Err(CacheError::Rejected { .. })));
    rig.cache.set_if_absent(rig.key, "value".into(), Ttl::Forever).await.unwrap();
    rig.cache.compare_and_set(rig.key, b"value", "other".into(), Ttl::Forever).await.unwrap();
    rig.cache.compare_and_delete(rig.key, b"other").await.unwrap();
    rig.remote.del(&[rig.stored_key, rig.key]).await.unwrap();
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let (runtime, rigs) = &*RIGS;
    let rig = &rigs[usize::from(choice % 4)];
    runtime.block_on(async {
        let start: &[u8] = match choice / 4 % 4 {
            0 => b"",
            1 => b"cb-enc:",
            2 => b"\x01\x00\x00\x00\x01",
            _ => {
                // A good entry whose end is what is guessed.
                rig.cache.set(rig.key, "a value".into(), Ttl::Forever).await.unwrap();
                let mut stored = rig.remote.get(rig.stored_key).await.unwrap().to_vec();
                let good = stored.clone();
                let at = stored.len().saturating_sub(rest.len());
                let len = stored.len() - at;
                stored[at..].copy_from_slice(&rest[..len]);
                if stored != good {
                    check(rig, stored).await;
                }
                return;
            }
        };
        check(rig, [start, rest].concat()).await;
    });
});
