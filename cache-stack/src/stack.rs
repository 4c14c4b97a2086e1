//! A client together with what it stands on.
//!
//! Callers need the client alone. Administration (scans, removals by pattern, the topology) works on the
//! backend itself, which the contract hides.

use std::fmt;
use std::sync::Arc;

use cache_core::config::{Backend, Topology};
use cache_core::{CacheClient, CacheConfig, CacheError, MemoryCache};
use cache_layers::{Encrypted, Guarded, Keyring, Tiered};
use cache_valkey::ValkeyClient;

use crate::layers::{self, Ground, Layers, PartOf};
use crate::{connections, encryption};

/// A client, the layers that tell how they do, and the backend under them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Stack {
    /// What callers use.
    pub client: Arc<dyn CacheClient>,
    /// What the client stands on, without the layers: keys have their prefix here. It shares the client's
    /// connections and is closed with it.
    pub foundation: Foundation,
    /// The near tier, where there is one: its bounds, its counts, and whether it hears of changes.
    pub near: Option<Arc<Tiered>>,
    /// The guard, where the backend can fail: the state of its circuit breaker, and its counts.
    pub guard: Option<Arc<Guarded>>,
    /// Encryption, if it is configured: its counts, and the status of its keyring (the age of the keyset, the outcome of
    /// the last refresh).
    pub encryption: Option<Arc<Encrypted>>,
    strict: Arc<dyn CacheClient>,
    config: CacheConfig,
    stored_prefix: String,
}

/// Which node a key depends on, if there are several.
fn part_of(foundation: &Foundation, config: &CacheConfig) -> Option<PartOf> {
    match (foundation, &config.backend) {
        (Foundation::Valkey(client), Backend::Valkey(valkey))
            if matches!(valkey.topology, Topology::Cluster { .. }) =>
        {
            let client = Arc::clone(client);
            Some(Arc::new(move |key: &str| client.part_of(key)))
        }
        _ => None,
    }
}

impl Stack {
    pub(crate) fn new(
        foundation: Foundation,
        config: &CacheConfig,
        keyring: Option<Arc<Keyring>>,
    ) -> Result<Self, CacheError> {
        let Layers {
            client,
            guard,
            near,
            encryption,
        } = layers::around(
            foundation.client(),
            foundation.ground(config),
            part_of(&foundation, config).as_ref(),
            config,
            keyring,
        )?;
        if let Foundation::Valkey(client) = &foundation {
            connections::watch(client);
        }
        let strict = layers::strictly(foundation.client(), config, encryption.as_ref())?;
        let prefix = config.key_prefix.as_deref().unwrap_or_default();
        let stored = config.encryption.as_ref().map_or("", encryption::stored_prefix);
        Ok(Self {
            client,
            foundation,
            near,
            guard,
            encryption,
            strict,
            config: config.clone(),
            stored_prefix: format!("{stored}{prefix}"),
        })
    }

    /// What was put together, the outermost layer first, and what it stands on now, in one line for people:
    /// `Observed(Tiered(Observed(Guarded(Valkey(cluster, 3 primaries)))))`. No I/O, no secret.
    #[must_use]
    pub fn describe(&self) -> String {
        let backend = match (&self.foundation, &self.config.backend) {
            (Foundation::Valkey(client), Backend::Valkey(valkey))
                if matches!(valkey.topology, Topology::Cluster { .. }) =>
            {
                cluster(client.primaries().len(), valkey.tls.is_some())
            }
            (Foundation::Brought(client), _) => format!("{client:?}"),
            (_, backend) => backend.to_string(),
        };
        layers::outline(&self.config, self.foundation.ground(&self.config), &backend)
    }

    /// The client of the servers, if the stack stands on one: for commands and scripts that the contract does not have
    /// ([`ValkeyClient::command`], [`ValkeyClient::script`]), and for [`ValkeyClient::stats`].
    ///
    /// It is below all layers: put [`key_prefix`](Self::key_prefix) before keys; values are not encrypted, and neither the
    /// guard nor the near cache is asked.
    #[must_use]
    pub fn valkey(&self) -> Option<&Arc<ValkeyClient>> {
        match &self.foundation {
            Foundation::Valkey(client) => Some(client),
            _ => None,
        }
    }

    /// The same cache, below the near tier and the guard: what it says is what the backend says, whatever
    /// [`on_error`](CacheConfig::on_error) is. For administration, where a failure must not look like success. It does not
    /// take keys out of the near tier of this process.
    #[must_use]
    pub const fn strict(&self) -> &Arc<dyn CacheClient> {
        &self.strict
    }

    /// What it was put together from.
    #[must_use]
    pub const fn config(&self) -> &CacheConfig {
        &self.config
    }

    /// What is put before every key of [`client`](Self::client), and so begins every key of the
    /// [`foundation`](Self::foundation) that is this client's: the configured prefix, after what the stored form of
    /// encryption puts before keys. Empty without either.
    #[must_use]
    pub fn key_prefix(&self) -> &str {
        &self.stored_prefix
    }
}

/// One short line, as [`Stack::describe`].
impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stack({})", self.describe())
    }
}

/// A cluster, in words.
fn cluster(primaries: usize, tls: bool) -> String {
    let s = if primaries == 1 { "y" } else { "ies" };
    let tls = if tls { ", TLS" } else { "" };
    format!("Valkey(cluster, {primaries} primar{s}{tls})")
}

/// The backend under a [`Stack`], by its own type.
///
/// More backends may come: what works on some only says so of the others.
#[derive(Clone)]
#[non_exhaustive]
pub enum Foundation {
    /// The embedded client.
    Memory(Arc<MemoryCache>),
    /// Servers.
    Valkey(Arc<ValkeyClient>),
    /// A table.
    #[cfg(feature = "dynamodb")]
    DynamoDb(Arc<cache_aws::dynamodb::DynamoClient>),
    /// A client that the caller made: see [`wrap`](crate::wrap).
    Brought(Arc<dyn CacheClient>),
}

/// One short line: that of the backend.
impl fmt::Debug for Foundation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(cache) => cache.fmt(f),
            Self::Valkey(client) => client.fmt(f),
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(client) => client.fmt(f),
            Self::Brought(client) => client.fmt(f),
        }
    }
}

impl Foundation {
    /// The backend as a client, with nothing on top of it.
    #[must_use]
    pub fn client(&self) -> Arc<dyn CacheClient> {
        match self {
            Self::Memory(cache) => Arc::clone(cache) as Arc<dyn CacheClient>,
            Self::Valkey(client) => Arc::clone(client) as Arc<dyn CacheClient>,
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(client) => Arc::clone(client) as Arc<dyn CacheClient>,
            Self::Brought(client) => Arc::clone(client),
        }
    }

    /// What the layers have to know of it.
    fn ground<'c>(&self, config: &'c CacheConfig) -> Ground<'c> {
        match self {
            Self::Brought(_) => Ground::BROUGHT,
            _ => Ground::of(&config.backend),
        }
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{CacheClient as _, CacheConfig, Ttl};

    use super::*;

    #[test]
    fn cluster_endpoints_show_primaries_and_tls() {
        assert_eq!(cluster(3, false), "Valkey(cluster, 3 primaries)");
        assert_eq!(cluster(1, true), "Valkey(cluster, 1 primary, TLS)");
    }

    #[tokio::test]
    async fn client_and_backend_are_one_cache() {
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
