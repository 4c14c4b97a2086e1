//! What stands on the backend, and in which order.
//!
//! From the caller down: the prefix, what callers see measured, the near tier, encryption, what the backend is asked
//! measured, the guard. Each layer is there only where the configuration asks for it, or where the backend
//! can fail. Not in here: the layers themselves, and the backend.

use std::sync::Arc;
use std::time::Duration;

use cache_core::config::{Address, Backend, NearConfig, OnError, Topology};
use cache_core::{CacheClient, CacheConfig, CacheError};
use cache_layers::guarded::{GuardedConfigBuilder, OnFailure};
use cache_layers::observed::Tier;
use cache_layers::{
    CacheMetrics, Encrypted, Guarded, GuardedConfig, Keyring, Observed, ObservedConfig, Prefixed, Tiered,
};

use crate::encryption;

/// Which part of the backend a key is in, where parts fail by themselves.
pub(crate) type PartOf = Arc<dyn Fn(&str) -> u64 + Send + Sync>;

/// A client with its layers, and those of them that tell how they do.
pub(crate) struct Layers {
    pub(crate) client: Arc<dyn CacheClient>,
    pub(crate) guard: Option<Arc<Guarded>>,
    pub(crate) near: Option<Arc<Tiered>>,
    pub(crate) encryption: Option<Arc<Encrypted>>,
}

/// A layer, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Prefixed,
    Observed,
    Tiered,
    Encrypted,
    Guarded,
}

/// What the layers stand on, as far as it decides about them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground<'c> {
    /// Whether it can fail or keep callers waiting.
    can_fail: bool,
    /// How metrics call it.
    system: &'static str,
    /// The server that it is, where it is one.
    server: Option<&'c Address>,
}

impl<'c> Ground<'c> {
    /// A client that the caller brought.
    pub(crate) const BROUGHT: Self = Self {
        can_fail: true,
        system: "redis",
        server: None,
    };

    /// The backend that is configured.
    pub(crate) fn of(backend: &'c Backend) -> Self {
        Self {
            // The embedded client neither fails nor waits.
            can_fail: !matches!(backend, Backend::Memory(_)),
            system: system(backend),
            server: server(backend),
        }
    }
}

/// The layers that `config` makes on `ground`, the outermost first.
pub(crate) fn of(config: &CacheConfig, ground: Ground<'_>) -> Vec<Layer> {
    let mut layers = Vec::new();
    if prefix(config).is_some() {
        layers.push(Layer::Prefixed);
    }
    layers.push(Layer::Observed);
    if config.near.is_some() {
        layers.push(Layer::Tiered);
    }
    if config.encryption.is_some() {
        layers.push(Layer::Encrypted);
    }
    if layers.last() != Some(&Layer::Observed) {
        // What callers see and what the backend is asked are two things from here on.
        layers.push(Layer::Observed);
    }
    if ground.can_fail {
        layers.push(Layer::Guarded);
    }
    layers
}

/// `backend` within the layers that `config` makes on `ground`, in words.
pub(crate) fn outline(config: &CacheConfig, ground: Ground<'_>, backend: &str) -> String {
    let layers = of(config, ground);
    let names = layers.iter().map(|layer| format!("{layer:?}("));
    names.collect::<String>() + backend + &")".repeat(layers.len())
}

/// Puts the layers that `config` makes around `client`; `keyring` is there if the configuration encrypts.
pub(crate) fn around(
    client: Arc<dyn CacheClient>,
    ground: Ground<'_>,
    part_of: Option<&PartOf>,
    config: &CacheConfig,
    mut keyring: Option<Arc<Keyring>>,
) -> Result<Layers, CacheError> {
    let mut built = Layers {
        client,
        guard: None,
        near: None,
        encryption: None,
    };
    let layers = of(config, ground);
    let metrics = CacheMetrics::global();
    for (index, layer) in layers.iter().enumerate().rev() {
        let inner = Arc::clone(&built.client);
        built.client = match layer {
            Layer::Guarded => {
                let mut choices = guarded(config);
                if let Some(part_of) = part_of.cloned() {
                    choices = choices.part_of(move |key| part_of(key));
                }
                let guard = Arc::new(Guarded::new(inner, choices.build()?));
                metrics.watch_guard(&guard);
                built.guard = Some(Arc::clone(&guard));
                guard
            }
            Layer::Observed => {
                let mut observed = ObservedConfig::builder().metrics(metrics.clone());
                if layers[..index].contains(&Layer::Observed) {
                    observed = observed.tier(Tier::Far).system(ground.system);
                } else if layers[index..].contains(&Layer::Guarded)
                    && !layers[index + 1..].contains(&Layer::Observed)
                {
                    // What callers see is what the backend is asked.
                    observed = observed.system(ground.system);
                }
                if let Some(server) = ground.server {
                    observed = observed.server(&server.host, server.port);
                }
                Arc::new(Observed::new(inner, observed.build()?))
            }
            Layer::Tiered => {
                let near = config.near.as_ref().map(tiered).transpose()?;
                let near = Arc::new(Tiered::new(inner, near.unwrap_or_default()));
                metrics.watch_near(&near);
                built.near = Some(Arc::clone(&near));
                near
            }
            Layer::Encrypted => match (&config.encryption, keyring.take()) {
                (Some(choices), Some(keyring)) => {
                    let encrypted = Arc::new(Encrypted::new(inner, keyring, encryption::layer(choices)?));
                    metrics.watch_encrypted(&encrypted);
                    metrics.watch_keyring(encrypted.keyring());
                    built.encryption = Some(Arc::clone(&encrypted));
                    encrypted
                }
                // `connect` loads a keyring if encryption is configured; without one, values must not leave in clear.
                _ => {
                    return Err(CacheError::Unsupported {
                        detail: "encryption is configured and there is no keyring".into(),
                    });
                }
            },
            Layer::Prefixed => Arc::new(Prefixed::new(inner, prefix(config).unwrap_or_default())?),
        };
    }
    Ok(built)
}

/// Puts only those layers around `client` without which keys and values would be others.
pub(crate) fn strictly(
    mut client: Arc<dyn CacheClient>,
    config: &CacheConfig,
    encryption: Option<&Arc<Encrypted>>,
) -> Result<Arc<dyn CacheClient>, CacheError> {
    if let (Some(encrypted), Some(choices)) = (encryption, &config.encryption) {
        let keyring = Arc::clone(encrypted.keyring());
        client = Arc::new(Encrypted::new(
            client,
            keyring,
            crate::encryption::layer(choices)?,
        ));
    }
    if let Some(prefix) = prefix(config) {
        client = Arc::new(Prefixed::new(client, prefix)?);
    }
    Ok(client)
}

fn prefix(config: &CacheConfig) -> Option<&str> {
    config.key_prefix.as_deref().filter(|prefix| !prefix.is_empty())
}

/// The backend, as metrics call it.
const fn system(backend: &Backend) -> &'static str {
    match backend {
        Backend::Memory(_) => "memory",
        Backend::DynamoDb(_) => "aws.dynamodb",
        _ => "valkey",
    }
}

/// The server, where it is one: who answers in a cluster or behind sentinels changes.
fn server(backend: &Backend) -> Option<&Address> {
    let Backend::Valkey(valkey) = backend else {
        return None;
    };
    match &valkey.topology {
        Topology::Single { addresses, .. } if addresses.len() == 1 => addresses.first(),
        _ => None,
    }
}

fn guarded(config: &CacheConfig) -> GuardedConfigBuilder {
    let mut guarded = GuardedConfig::builder().on_failure(match config.on_error {
        OnError::Fail => OnFailure::Fail,
        OnError::Bypass => OnFailure::Bypass,
    });
    // A backend that only answers slowly is one that callers with deadlines of their own get nothing from.
    let mut slow = SLOW_CALL;
    if let Some(deadline) = config.op_timeout {
        guarded = guarded.deadline(deadline);
        slow = slow.min(deadline / 2);
    }
    guarded.slow_call(slow)
}

/// A call that takes this long is slow: as long as a read-through gives the cache by default.
const SLOW_CALL: Duration = Duration::from_millis(500);

fn tiered(near: &NearConfig) -> Result<cache_layers::NearConfig, CacheError> {
    cache_layers::NearConfig::builder()
        .max_bytes(near.max_bytes)
        .max_entries(near.max_entries)
        .life(near.ttl)
        .build()
}

#[cfg(test)]
mod tests {
    use cache_core::config::{Topology, ValkeyConfig};

    use super::*;

    fn outlined(config: cache_core::config::CacheConfigBuilder) -> String {
        let config = config.build().unwrap();
        outline(&config, Ground::of(&config.backend), "client")
    }

    #[test]
    fn layers_follow_the_documented_order() {
        let servers = || {
            CacheConfig::builder().valkey(ValkeyConfig::new(Topology::single("cache:6379".parse().unwrap())))
        };
        let near = NearConfig::new(1 << 20, Duration::from_secs(1));
        assert_eq!(outlined(CacheConfig::builder()), "Observed(client)");
        assert_eq!(outlined(servers()), "Observed(Guarded(client))");
        assert_eq!(
            outlined(CacheConfig::builder().near(near.clone())),
            "Observed(Tiered(Observed(client)))"
        );
        assert_eq!(
            outlined(servers().near(near).key_prefix("shop:")),
            "Prefixed(Observed(Tiered(Observed(Guarded(client)))))"
        );
        assert_eq!(
            outlined(CacheConfig::builder().key_prefix("")),
            "Observed(client)"
        );
    }

    #[test]
    fn metrics_name_the_server_only_if_there_is_one() {
        let address: Address = "cache.internal:6380".parse().unwrap();
        let named = |topology| {
            let backend = Backend::Valkey(ValkeyConfig::new(topology));
            Ground::of(&backend).server.cloned()
        };
        assert_eq!(named(Topology::single(address.clone())), Some(address.clone()));
        let several = Topology::Single {
            addresses: vec![address.clone(), address.clone()],
            db: 0,
        };
        assert_eq!(named(several), None);
        assert_eq!(
            named(Topology::Cluster {
                seeds: vec![address],
                db: 0
            }),
            None
        );
        assert_eq!(Ground::of(&Backend::default()).server, None);
    }

    #[test]
    fn layers_get_their_configuration() {
        let near = NearConfig::new(1 << 20, Duration::from_secs(7)).with_max_entries(11);
        let config = CacheConfig::builder()
            .op_timeout(Duration::from_millis(200))
            .on_error(OnError::Bypass)
            .build()
            .unwrap();
        let guarded = format!("{:?}", guarded(&config).build().unwrap());
        for said in [
            "deadline: Some(200ms)",
            "slow_call: Some(100ms)",
            "on_failure: Bypass",
        ] {
            assert!(guarded.contains(said), "no {said} in {guarded}");
        }
        let tiered = format!("{:?}", tiered(&near).unwrap());
        for said in ["max_bytes: 1048576", "max_entries: 11", " life: 7s"] {
            assert!(tiered.contains(said), "no {said} in {tiered}");
        }
    }

    #[tokio::test]
    async fn client_matches_the_outline() {
        let config = CacheConfig::builder()
            .near(NearConfig::new(1 << 20, Duration::from_secs(1)))
            .key_prefix("shop:")
            .build()
            .unwrap();
        let memory = Arc::new(cache_core::MemoryCache::default());
        let built = around(memory, Ground::of(&config.backend), None, &config, None).unwrap();
        let debug = format!("{:?}", built.client);
        let positions: Vec<_> = ["Prefixed", "Observed", "Tiered", "MemoryCache"]
            .map(|name| debug.find(name).unwrap_or_else(|| panic!("no {name} in {debug}")))
            .into();
        assert!(positions.is_sorted(), "{debug}");
        assert!(built.near.is_some() && built.guard.is_none());
    }
}
