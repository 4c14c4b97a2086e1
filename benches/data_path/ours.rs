//! This project: the whole stack as services use it, and the bare client.

#![expect(clippy::expect_used, reason = "a call that fails ends the benchmark")]

use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::Bytes;
use cache_core::config::Backend;
use cache_core::{CacheClient, CacheConfig, Ttl};
use cache_valkey::ValkeyClient;

use crate::arguments::Servers;
use crate::contender::{Contender, VALUE};

/// A client behind the contract.
#[derive(Clone)]
pub(crate) struct Ours(pub(crate) Arc<dyn CacheClient>);

/// What `cache_stack::from_env()` makes in a service that sets `CACHE_TYPE`, `CACHE_MODE` and `CACHE_ADDRS`, and its
/// description.
pub(crate) async fn stack(servers: Servers, address: &str) -> Result<(Ours, String)> {
    let stack = cache_stack::assemble(&config(servers, address)?).await?;
    let description = stack.describe();
    Ok((Ours(stack.client), description))
}

/// The client inside that stack, made from the same settings.
pub(crate) async fn bare(servers: Servers, address: &str) -> Result<Ours> {
    let Backend::Valkey(valkey) = config(servers, address)?.backend else {
        anyhow::bail!("CACHE_TYPE=valkey makes another backend");
    };
    Ok(Ours(Arc::new(ValkeyClient::connect(&valkey).await?)))
}

/// Reads these settings as if they were the environment; everything else keeps its default.
fn config(servers: Servers, address: &str) -> Result<CacheConfig> {
    let variables = [
        ("CACHE_TYPE", "valkey".to_owned()),
        ("CACHE_MODE", servers.to_string()),
        ("CACHE_ADDRS", address.to_owned()),
    ];
    let loaded = CacheConfig::from_vars(variables.map(|(name, value)| (name.to_owned(), value)))?;
    ensure!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    Ok(loaded.config)
}

impl Contender for Ours {
    async fn get(&mut self, key: &str) -> usize {
        self.0.get(key).await.expect("get").len()
    }
    async fn set(&mut self, key: &str) {
        self.0
            .set(key, Bytes::from_static(&VALUE), Ttl::Forever)
            .await
            .expect("set");
    }
}
