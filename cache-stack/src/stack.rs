//! A client together with what it stands on.
//!
//! Callers need the client alone. Administration (scans, removals by pattern, the topology) works on the
//! backend itself, which the contract hides.

use std::sync::Arc;

use cache_core::{CacheClient, MemoryCache};
use cache_valkey::ValkeyClient;

/// A client, and the backend that it stands on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stack {
    /// What callers use.
    pub client: Arc<dyn CacheClient>,
    /// What the client stands on. It shares the client's connections and is closed with it.
    pub foundation: Foundation,
}

/// The backend under a [`Stack`], by its own type.
///
/// More backends may come: what works on some only says so of the others.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Foundation {
    /// The embedded client.
    Memory(Arc<MemoryCache>),
    /// Servers.
    Valkey(Arc<ValkeyClient>),
}

impl Foundation {
    /// The backend as a client, with nothing on top of it.
    #[must_use]
    pub fn client(&self) -> Arc<dyn CacheClient> {
        match self {
            Self::Memory(cache) => Arc::clone(cache) as Arc<dyn CacheClient>,
            Self::Valkey(client) => Arc::clone(client) as Arc<dyn CacheClient>,
        }
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{CacheClient as _, CacheConfig, Ttl};

    use super::*;

    #[tokio::test]
    async fn the_client_and_its_foundation_are_one_cache() {
        let stack = crate::assemble(&CacheConfig::default()).await.unwrap();
        stack
            .client
            .set("key", "value".into(), Ttl::Forever)
            .await
            .unwrap();
        let Foundation::Memory(cache) = &stack.foundation else {
            panic!("not the embedded client: {stack:?}");
        };
        assert_eq!(cache.len(), 1);
        assert_eq!(stack.foundation.client().get("key").await.unwrap(), "value");
        stack.client.close().await.unwrap();
        assert!(stack.foundation.client().ping().await.is_err());
    }
}
