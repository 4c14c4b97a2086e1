//! The suite through a layer that encrypts, over a single server and over a cluster, in both stored forms and both
//! migration modes.

#![expect(clippy::expect_used, reason = "a layer that cannot be made ends the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use cache_core::conformance::Subject;
use cache_core::keyset::{Expected, KeysetStore as _};
use cache_layers::encrypted::{Migration, StoredForm};
use cache_layers::keyset::{FileKeysetStore, KeysetEditor, KeysetForm};
use cache_layers::{Encrypted, EncryptedConfig, Keyring, KeyringConfig};
use tests::Kind;

use crate::backend::connect;

cache_core::conformance_tests! {
    mod encrypted_single in real time = async {
        encrypted(Kind::Single, StoredForm::Tink, Migration::Strict).await
    };
}

cache_core::conformance_tests! {
    mod encrypted_cluster in real time = async {
        encrypted(Kind::Cluster, StoredForm::Tink, Migration::ReadPlaintext).await
    };
}

cache_core::conformance_tests! {
    mod encrypted_as_chinmina_bridge_single in real time = async {
        encrypted(Kind::Single, StoredForm::ChinminaBridge, Migration::ReadPlaintext).await
    };
}

cache_core::conformance_tests! {
    mod encrypted_as_chinmina_bridge_cluster in real time = async {
        encrypted(Kind::Cluster, StoredForm::ChinminaBridge, Migration::Strict).await
    };
}

async fn encrypted(kind: Kind, form: StoredForm, migration: Migration) -> Subject {
    let config = EncryptedConfig::builder().stored_form(form).migration(migration);
    let config = config.build().expect("a good configuration");
    let largest = config.max_value();
    let encrypted = Encrypted::new(connect(kind).await, keyring().await, config);
    let longest = encrypted.longest_key();
    Subject::new(encrypted)
        .with_longest_key(longest)
        .with_largest_value(largest)
        .with_drops(1_000)
        .with_load(20, 200)
}

/// Of a keyset that is gone when this returns; no scenario takes as long as the next refresh.
async fn keyring() -> Arc<Keyring> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FileKeysetStore::new(folder.path().join("keyset.json"));
    let editor = KeysetEditor::create().expect("a keyset");
    let clear = editor.write(KeysetForm::Json, None).await.expect("a keyset");
    store
        .write(&clear, &BTreeMap::new(), Expected::Absent)
        .await
        .expect("a file");
    let loaded = Keyring::load(Arc::new(store), None, KeyringConfig::default()).await;
    loaded.expect("the keyset is good")
}
