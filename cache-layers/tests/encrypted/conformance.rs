//! The contract, through a layer that encrypts: in both forms, in both modes, below and above other layers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache_core::conformance::{Outage, Subject};
use cache_core::{CacheClient, MemoryCache};
use cache_layers::encrypted::{Migration, StoredForm};
use cache_layers::{Encrypted, KeyringConfig, NearConfig, Prefixed, Tiered};
use cache_mock::{Fault, Faults, FaultyCache, Operation};

use crate::rig::{config, keyring};
use crate::store::{TestStore, key, keyset};

/// What the cache in memory takes.
const LARGEST: usize = 64 * 1024 * 1024;

struct Dead(Faults);

#[async_trait]
impl Outage for Dead {
    async fn begin(&self) {
        self.0.always(Operation::ALL, &Fault::connection_lost());
    }

    async fn end(&self) {
        self.0.heal();
    }
}

cache_core::conformance_tests! {
    mod tink_strict in virtual time = async { over_memory(StoredForm::Tink, Migration::Strict).await };
    mod tink_read_plaintext in virtual time = async {
        over_memory(StoredForm::Tink, Migration::ReadPlaintext).await
    };
    mod chinmina_bridge_strict in virtual time = async {
        over_memory(StoredForm::ChinminaBridge, Migration::Strict).await
    };
    mod chinmina_bridge_read_plaintext in virtual time = async {
        over_memory(StoredForm::ChinminaBridge, Migration::ReadPlaintext).await
    };
    mod below_a_near_tier_and_a_prefix in virtual time = async {
        let encrypted = encrypted(Arc::new(MemoryCache::default()), StoredForm::ChinminaBridge, Migration::Strict).await;
        let longest = encrypted.longest_key();
        let tiered = Tiered::new(Arc::new(encrypted), NearConfig::default());
        let prefixed = Prefixed::new(Arc::new(tiered), "prefix:").expect("a good prefix");
        subject(prefixed).with_longest_key(longest - "prefix:".len())
    };
    mod with_an_outage in virtual time with outage = async {
        let cache = FaultyCache::new(MemoryCache::default());
        let dead = Dead(cache.faults().clone());
        let encrypted = encrypted(Arc::new(cache), StoredForm::Tink, Migration::Strict).await;
        subject(encrypted).with_outage(dead)
    };
}

/// Refreshes all the time, which no caller may notice.
async fn encrypted(remote: Arc<dyn CacheClient>, form: StoredForm, migration: Migration) -> Encrypted {
    let store = TestStore::new(keyset(7, &[key(7), key(8)]));
    let fast = KeyringConfig::builder().refresh_every(Duration::from_millis(10));
    let keyring = keyring(&store, fast.build().expect("a good configuration")).await;
    Encrypted::new(remote, keyring, config(form, migration))
}

async fn over_memory(form: StoredForm, migration: Migration) -> Subject {
    let encrypted = encrypted(Arc::new(MemoryCache::default()), form, migration).await;
    let longest = encrypted.longest_key();
    subject(encrypted).with_longest_key(longest)
}

fn subject(client: impl CacheClient) -> Subject {
    Subject::new(client)
        .with_largest_value(LARGEST)
        .with_drops(5_000)
        .with_load(50, 400)
}
