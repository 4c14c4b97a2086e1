//! The metrics of a cache: one catalogue, and the instruments.
//!
//! This module reports on layers and is not a layer itself. [`CacheMetrics`] holds the instruments of one meter
//! provider; layers and read-throughs get a clone. Only the API crate of OpenTelemetry is used: without an SDK in the
//! process nothing is measured, and that costs little. The [`catalog`] lists the metrics, and `docs/metrics.md`
//! explains them.
//!
//! Not in here: exporters, and spans.

pub mod catalog;
#[cfg(feature = "encryption")]
mod encryption;
mod guard;
mod instruments;
mod labels;
mod near;
mod operations;
mod read_through;
mod recipes;
mod sums;
mod tally;
mod watch;

use std::fmt;
use std::sync::{Arc, OnceLock};

use opentelemetry::metrics::Meter;
use opentelemetry::{InstrumentationScope, global};

#[cfg(feature = "encryption")]
use crate::encrypted::{Encrypted, Keyring};
use crate::generations::GenerationsEvent;
use crate::guarded::Guarded;
use crate::idempotency::IdempotencyEvent;
use crate::listener::Listener;
use crate::lock::LockEvent;
use crate::near::NearSource;
use crate::rate_limiter::RateLimiterEvent;
use crate::read_through::{ReadThroughEvent, TypedReadThrough};
use crate::tiered::Tiered;

pub use self::labels::Tier;
pub(crate) use self::labels::{Operation, Outcome};
pub(crate) use self::operations::TierCalls;
pub(crate) use self::tally::{Sampler, Tally};

#[cfg(feature = "encryption")]
use self::encryption::EncryptionMetrics;
use self::guard::GuardMetrics;
use self::near::NearMetrics;
use self::operations::Tiers;
use self::recipes::RecipeMetrics;

/// The instruments of a cache. Cheap to clone. Clones are the same instruments.
///
/// Create one per meter provider: if instruments of the same name are created twice, they overwrite each other's
/// sums.
///
/// ```
/// use std::sync::Arc;
/// use cache_core::MemoryCache;
/// use cache_layers::metrics::CacheMetrics;
/// use cache_layers::{Observed, ObservedConfig, ReadThrough, ReadThroughConfig};
///
/// let metrics = CacheMetrics::global();
/// let config = ObservedConfig::builder().metrics(metrics.clone()).build()?;
/// let cache = Arc::new(Observed::new(Arc::new(MemoryCache::default()), config));
/// let config = ReadThroughConfig::builder()
///     .listener(metrics.listener())
///     .build()?;
/// let loads = ReadThrough::new(cache, config);
/// # let _ = loads;
/// # Ok::<(), cache_core::CacheError>(())
/// ```
#[derive(Clone)]
pub struct CacheMetrics {
    inner: Arc<Instruments>,
}

struct Instruments {
    tiers: Tiers,
    recipes: Arc<RecipeMetrics>,
    near: NearMetrics,
    guards: GuardMetrics,
    #[cfg(feature = "encryption")]
    encryption: EncryptionMetrics,
}

impl CacheMetrics {
    /// Creates the instruments of `meter`.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        Self {
            inner: Arc::new(Instruments {
                tiers: Tiers::new(meter),
                recipes: Arc::new(RecipeMetrics::new(meter)),
                near: NearMetrics::new(meter),
                guards: GuardMetrics::new(meter),
                #[cfg(feature = "encryption")]
                encryption: EncryptionMetrics::new(meter),
            }),
        }
    }

    /// Returns the instruments of the process, from the meter provider that is the global one when this is first
    /// called.
    ///
    /// So install the exporter first, and then create the cache. In the other order nothing is measured, and
    /// OpenTelemetry offers no way to notice that.
    #[must_use]
    pub fn global() -> Self {
        static GLOBAL: OnceLock<CacheMetrics> = OnceLock::new();
        let make = || {
            let scope = InstrumentationScope::builder("cache-layers").with_version(env!("CARGO_PKG_VERSION"));
            Self::new(&global::meter_with_scope(scope.build()))
        };
        GLOBAL.get_or_init(make).clone()
    }

    /// Returns a listener that makes metrics of the events of read-throughs and the other recipes. It serves any number
    /// of them.
    #[must_use]
    pub fn listener(
        &self,
    ) -> Arc<
        impl Listener<ReadThroughEvent>
        + Listener<LockEvent>
        + Listener<IdempotencyEvent>
        + Listener<RateLimiterEvent>
        + Listener<GenerationsEvent>
        + use<>,
    > {
        Arc::clone(&self.inner.recipes)
    }

    /// Reports from now on what `tier` does and holds. This does not keep it alive. Call it once for each near cache.
    pub fn watch_near(&self, tier: &Arc<Tiered>) {
        let tier: Arc<dyn NearSource> = Arc::<Tiered>::clone(tier);
        self.inner.near.watch(&tier);
    }

    /// Reports from now on what the near cache of `reads` does and holds, together with those of
    /// [`watch_near`](Self::watch_near). This does not keep it alive. Call it once for each.
    pub fn watch_typed<T: Send + Sync + 'static>(&self, reads: &TypedReadThrough<T>) {
        self.inner.near.watch(&reads.near_source());
    }

    /// Reports from now on what `guard` does, and the state of its circuit. This does not keep it alive. Call it once
    /// for each guard.
    pub fn watch_guard(&self, guard: &Arc<Guarded>) {
        self.inner.guards.watch(guard);
    }

    /// Reports from now on what `layer` seals, opens and cannot open. This does not keep it alive. Call it once
    /// for each layer.
    #[cfg(feature = "encryption")]
    pub fn watch_encrypted(&self, layer: &Arc<Encrypted>) {
        self.inner.encryption.watch_layer(layer);
    }

    /// Reports from now on how `keyring` refreshes and how old its keyset is. This does not keep it alive. Call it
    /// once for each keyring.
    #[cfg(feature = "encryption")]
    pub fn watch_keyring(&self, keyring: &Arc<Keyring>) {
        self.inner.encryption.watch_keyring(keyring);
    }

    pub(crate) fn calls(
        &self,
        tier: Tier,
        system: Option<&'static str>,
        server: Option<(String, u16)>,
    ) -> Arc<TierCalls> {
        self.inner.tiers.calls(tier, system, server)
    }
}

impl fmt::Debug for CacheMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheMetrics")
    }
}
