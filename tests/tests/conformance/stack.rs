//! The whole stack, as `cache_stack` puts it together around a client of the shared servers.

#![expect(clippy::expect_used, reason = "servers that are not there end the test")]

use std::sync::Arc;
use std::time::Duration;

use cache_core::config::NearConfig;
use cache_core::{CacheClient, CacheConfig};
use cache_stack::Foundation;
use cache_valkey::ValkeyClient;
use tests::{Kind, shared};

use crate::backend::config;

/// Every layer that there is around a client of the shared servers of that kind, and that client.
pub(crate) async fn connect(kind: Kind, prefix: &str) -> (Arc<dyn CacheClient>, Arc<ValkeyClient>) {
    let servers = shared(kind).await.expect("the shared servers start");
    let config = CacheConfig::builder()
        .valkey(config(kind, &servers))
        .key_prefix(prefix)
        .near(NearConfig::new(16 << 20, Duration::from_secs(60)))
        .build()
        .expect("the configuration holds");
    let stack = cache_stack::assemble(&config).await.expect("the client connects");
    let outline = stack.describe();
    assert!(
        outline.starts_with("Prefixed(Observed(Tiered(Observed(Guarded(Valkey("),
        "{outline}"
    );
    let Foundation::Valkey(servers) = stack.foundation else {
        panic!("not a client of servers: {outline}");
    };
    (stack.client, servers)
}
