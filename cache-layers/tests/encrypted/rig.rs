//! Clients that encrypt, over a cache that a test can look into.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
use cache_layers::encrypted::{EncryptedStats, Migration, StoredForm};
use cache_layers::{Encrypted, EncryptedConfig, Keyring, KeyringConfig};

use crate::store::TestStore;

pub(crate) const FORMS: [StoredForm; 2] = [StoredForm::Tink, StoredForm::ChinminaBridge];
pub(crate) const MIGRATIONS: [Migration; 2] = [Migration::Strict, Migration::ReadPlaintext];
pub(crate) const HOUR: Ttl = Ttl::secs(3_600);

/// Does not refresh while a test runs, and does not wait for unknown keys.
pub(crate) fn still() -> KeyringConfig {
    let config = KeyringConfig::builder().unknown_key_wait(Duration::ZERO);
    let day = Duration::from_secs(24 * 60 * 60);
    config.refresh_every(day).build().expect("a good configuration")
}

pub(crate) async fn keyring(store: &TestStore, config: KeyringConfig) -> Arc<Keyring> {
    Keyring::load(Arc::new(store.clone()), None, config)
        .await
        .expect("a good keyset")
}

pub(crate) fn config(form: StoredForm, migration: Migration) -> EncryptedConfig {
    let config = EncryptedConfig::builder().stored_form(form).migration(migration);
    config.build().expect("a good configuration")
}

/// One cache, and an instance that encrypts what it puts there.
pub(crate) struct Rig {
    pub(crate) remote: Arc<MemoryCache>,
    pub(crate) store: TestStore,
    pub(crate) cache: Arc<Encrypted>,
}

impl Rig {
    pub(crate) async fn new(keyset: String, form: StoredForm, migration: Migration) -> Self {
        Self::over(&Arc::new(MemoryCache::default()), keyset, form, migration).await
    }

    pub(crate) async fn over(
        remote: &Arc<MemoryCache>,
        keyset: String,
        form: StoredForm,
        migration: Migration,
    ) -> Self {
        let store = TestStore::new(keyset);
        let keyring = keyring(&store, still()).await;
        let cache = Encrypted::new(remote.clone(), keyring, config(form, migration));
        Self {
            remote: Arc::clone(remote),
            store,
            cache: Arc::new(cache),
        }
    }

    pub(crate) fn stats(&self) -> EncryptedStats {
        self.cache.stats()
    }

    /// Replaces the keyset, and waits until it is in use.
    pub(crate) async fn rotate(&self, keyset: String) {
        self.store.put(keyset);
        self.cache.keyring().refresh().await.expect("the keyring is open");
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Bytes> {
        found(self.cache.get(key).await)
    }

    /// The stored bytes.
    pub(crate) async fn stored(&self, key: &str) -> Option<Bytes> {
        found(self.remote.get(key).await)
    }

    pub(crate) async fn store_raw(&self, key: &str, stored: impl Into<Bytes>) {
        self.remote
            .set(key, stored.into(), HOUR)
            .await
            .expect("memory stores");
    }
}

/// A miss is `None`; any other error is an error of the test.
pub(crate) fn found<T>(result: Result<T, CacheError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(CacheError::Miss) => None,
        Err(error) => panic!("neither a value nor a miss: {error}"),
    }
}

/// The name under which a form stores a key.
pub(crate) fn stored_key(form: StoredForm, key: &str) -> String {
    match form {
        StoredForm::ChinminaBridge => format!("enc:{key}"),
        _ => key.to_owned(),
    }
}
