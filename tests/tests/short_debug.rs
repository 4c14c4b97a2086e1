//! `{:?}` of every client, every layer and the stack is one short line without values, keys and secrets.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cache_core::config::{
    Address, Authentication, EncryptionConfig, KeysetLocation, NearConfig, Topology, ValkeyConfig,
};
use cache_core::{CacheClient, CacheConfig, MemoryCache, Ttl};
use cache_layers::keyset::{FileKeysetStore, KeysetEditor, KeysetForm};
use cache_layers::{Guarded, GuardedConfig, Observed, ObservedConfig, Prefixed, Tiered};
use cache_mock::{FaultyCache, MockCacheClient};
use tests::{Kind, Server, ServerOptions, Version, shared};

const PASSWORD: &str = "pw-5d2c91";
const SECRETS: [&str; 4] = [PASSWORD, "key-7f3a", "value-91bc", "acme-corp"];

fn is_short(what: &dyn Debug) {
    for text in [format!("{what:?}"), format!("{what:#?}")] {
        assert!(text.len() <= 200, "{} bytes: {text}", text.len());
        assert!(!text.contains('\n'), "{text}");
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
    }
}

async fn used(cache: &dyn CacheClient) -> Result<()> {
    for number in 0..100 {
        let key = format!("key-7f3a:{number}");
        cache.set(&key, "value-91bc".into(), Ttl::secs(60)).await?;
        cache.get(&key).await?;
    }
    is_short(&cache);
    Ok(())
}

#[tokio::test]
async fn every_client_and_layer_is_one_short_line() -> Result<()> {
    let memory: Arc<dyn CacheClient> = Arc::new(MemoryCache::default());
    used(&*memory).await?;
    used(&Prefixed::new(Arc::clone(&memory), "acme-corp:")?).await?;
    used(&Guarded::new(Arc::clone(&memory), GuardedConfig::default())).await?;
    used(&Observed::new(
        Arc::clone(&memory),
        ObservedConfig::builder().build()?,
    ))
    .await?;
    used(&Tiered::new(
        Arc::clone(&memory),
        cache_layers::NearConfig::default(),
    ))
    .await?;
    used(&FaultyCache::new(MemoryCache::default())).await?;
    is_short(&MockCacheClient::new());
    for kind in [Kind::Single, Kind::Cluster, Kind::Sentinel] {
        let servers = shared(kind).await?;
        let addresses = servers.addresses.iter().map(|text| text.parse());
        let addresses: Vec<Address> = addresses.collect::<Result<_, _>>()?;
        let topology = match (kind, servers.sentinel_primary) {
            (Kind::Cluster, _) => Topology::cluster(addresses),
            (_, Some(name)) => Topology::sentinel(addresses, name),
            (_, None) => Topology::single(addresses[0].clone()),
        };
        let client = cache_valkey::ValkeyClient::connect(&ValkeyConfig::new(topology)).await?;
        used(&client).await?;
        assert!(format!("{client:?}").starts_with("ValkeyClient("), "{client:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_whole_stack_is_one_short_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keyset.json");
    let clear = KeysetEditor::create()?.write(KeysetForm::Json, None).await?;
    cache_core::keyset::KeysetStore::write(
        &FileKeysetStore::new(path.clone()),
        &clear,
        &std::collections::BTreeMap::new(),
        cache_core::keyset::Expected::Absent,
    )
    .await?;
    let server = Server::start(ServerOptions::new(Version::Valkey8).password(PASSWORD)).await?;
    let valkey = ValkeyConfig::new(Topology::single(server.address().parse()?)).with_authentication(
        Authentication::Password {
            username: None,
            password: PASSWORD.into(),
        },
    );
    let config = CacheConfig::builder()
        .valkey(valkey)
        .key_prefix("acme-corp:")
        .near(NearConfig::new(1 << 20, Duration::from_secs(60)))
        .encryption(EncryptionConfig::new(KeysetLocation::File { path }))
        .build()?;
    let stack = cache_stack::assemble(&config).await?;
    used(&*stack.client).await?;
    is_short(&stack);
    is_short(&stack.foundation);
    assert!(
        stack
            .valkey()
            .is_some_and(|client| client.stats().connections() >= 1)
    );
    Ok(())
}
