//! Entries in the form of chinmina-bridge: those that the real Tink sealed are read, and Tink opens ours.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient, MemoryCache, Ttl};
use cache_layers::encrypted::{Migration, StoredForm};
use cache_layers::keyset::{FileKeysetStore, KeysetEditor, KeysetForm};
use cache_layers::{Encrypted, EncryptedConfig, Keyring, KeyringConfig};
use cache_valkey::ValkeyClient;
use tests::{Connection, Kind, shared};

use crate::tink::{Stored, Tink};

const LIFE: Ttl = Ttl::secs(600);
const VALUES: [&str; 4] = [
    "",
    "ghs_0123456789",
    "{\"token\": \"ghs_16C7e42F292c6912E7\"}",
    "ünïcödé",
];

/// A keyset that Tink made, in a file, and a layer that uses it.
async fn encrypted(keyset: &Stored, cache: Arc<dyn CacheClient>, migration: Migration) -> Result<Encrypted> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keyset.json");
    tokio::fs::write(&path, &keyset.bytes).await?;
    let store = Arc::new(FileKeysetStore::new(path));
    let keyring = Keyring::load(store, None, KeyringConfig::default()).await?;
    let config = EncryptedConfig::builder()
        .stored_form(StoredForm::ChinminaBridge)
        .migration(migration);
    Ok(Encrypted::new(cache, keyring, config.build()?))
}

/// What chinmina-bridge stores.
fn entry_of_chinmina(ciphertext: &[u8]) -> String {
    format!("cb-enc:{}", STANDARD.encode(ciphertext))
}

#[tokio::test]
async fn entry_that_tink_sealed_is_read() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("entry_that_tink_sealed_is_read").await? else {
        return Ok(());
    };
    for templates in [
        &["AES256_GCM"][..],
        &["AES128_GCM", "AES256_GCM"],
        &["AES256_GCM_RAW"],
    ] {
        let keyset = tink.make(templates, KeysetForm::Json, None).await?;
        for migration in [Migration::Strict, Migration::ReadPlaintext] {
            let memory = Arc::new(MemoryCache::default());
            let cache = encrypted(&keyset, memory.clone(), migration).await?;
            for (number, value) in VALUES.into_iter().enumerate() {
                let key = format!("digest:v1:profile:{number}:é");
                let sealed = tink.seal(&keyset, value.as_bytes(), key.as_bytes()).await?;
                let entry = entry_of_chinmina(&sealed.map_err(anyhow::Error::msg)?);
                memory.set(&format!("enc:{key}"), entry.into(), LIFE).await?;
                assert_eq!(cache.get(&key).await?, value);
            }
            assert_eq!(cache.stats().opened, 4);
        }
    }
    Ok(())
}

#[tokio::test]
async fn entry_that_we_sealed_is_opened_by_tink() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("entry_that_we_sealed_is_opened_by_tink").await? else {
        return Ok(());
    };
    let keyset = KeysetEditor::create()?.write(KeysetForm::Json, None).await?;
    let keyset = Stored {
        bytes: keyset.expose().clone(),
        form: KeysetForm::Json,
        kek: None,
    };
    let memory = Arc::new(MemoryCache::default());
    let cache = encrypted(&keyset, memory.clone(), Migration::Strict).await?;
    for (number, value) in VALUES.into_iter().enumerate() {
        let key = format!("digest:v1:profile:{number}");
        cache.set(&key, value.into(), LIFE).await?;
        let entry = memory.get(&format!("enc:{key}")).await?;
        let text = str::from_utf8(&entry)?
            .strip_prefix("cb-enc:")
            .context("no mark")?;
        let opened = tink
            .open(&keyset, &STANDARD.decode(text)?, key.as_bytes())
            .await?;
        assert_eq!(opened.map_err(anyhow::Error::msg)?, value.as_bytes());
        let other = tink
            .open(&keyset, &STANDARD.decode(text)?, format!("enc:{key}").as_bytes())
            .await?;
        assert!(other.is_err(), "the associated data is the key without `enc:`");
    }
    Ok(())
}

/// On a real server, as the two would share entries.
#[tokio::test]
async fn entries_are_shared_on_a_real_server() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("entries_are_shared_on_a_real_server").await? else {
        return Ok(());
    };
    let address = shared(Kind::Single)
        .await?
        .addresses
        .into_iter()
        .next()
        .context("no server")?;
    let config = ValkeyConfig::new(Topology::single(address.parse()?));
    let client = Arc::new(ValkeyClient::connect(&config).await?);
    let keyset = tink.make(&["AES256_GCM"], KeysetForm::Json, None).await?;
    let cache = encrypted(&keyset, client, Migration::Strict).await?;
    let key = format!("chinmina:{:x}", rand::random::<u64>());
    let mut server = Connection::open(&address).await?;

    let sealed = tink.seal(&keyset, b"theirs", key.as_bytes()).await?;
    let entry = entry_of_chinmina(&sealed.map_err(anyhow::Error::msg)?);
    server
        .call(&["SET", &format!("enc:{key}"), &entry, "EX", "60"])
        .await?;
    assert_eq!(cache.get(&key).await?, "theirs");

    assert!(
        cache
            .compare_and_set(&key, b"theirs", "ours".into(), LIFE)
            .await?
    );
    let entry = server.call(&["GET", &format!("enc:{key}")]).await?.text();
    let text = entry.strip_prefix("cb-enc:").context("no mark")?;
    let opened = tink
        .open(&keyset, &STANDARD.decode(text)?, key.as_bytes())
        .await?;
    assert_eq!(opened.map_err(anyhow::Error::msg)?, b"ours");
    Ok(())
}
