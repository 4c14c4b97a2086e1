//! What the service does, free of HTTP: who calls, what a tenant has set, how much it asks.
//!
//! The database is the truth for identities and settings, and the cache only saves the way to it. Counts
//! live in the cache alone.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, CacheClientExt as _, CacheError, Ttl};
use cache_layers::read_through::{Json, NearConfig, ReadError, RefreshAhead, TypedReadThrough};
use cache_layers::{CacheMetrics, Generations, GenerationsConfig, ReadThroughConfig, WallClock};

use crate::credential::KeyDigest;
use crate::keys::Keys;
use crate::read_through::{BUDGET, Source, read, report, within_budget};
use crate::store::{Identity, Invitation, Settings, Store};

/// How long a known API key is believed without asking the database: after a key is revoked, it works
/// for at most this long.
const IDENTITY_LIFE: Duration = Duration::from_secs(60);

/// How long an unknown API key is refused without asking: guesses cost the database little, and a new
/// key works soon.
const UNKNOWN_LIFE: Duration = Duration::from_secs(5);

/// How long settings may be old that somebody changed behind this service's back. They are loaded anew after
/// four fifths of it, in the background, where somebody asks.
const SETTINGS_LIFE: Duration = Duration::from_secs(300);

/// How much older settings may be while the database does not answer.
const SETTINGS_STALE: Duration = Duration::from_secs(600);

/// The window in which requests are counted; it begins with the first request.
pub(crate) const USAGE_WINDOW: Duration = Duration::from_secs(60 * 60);

/// The service's affairs.
#[derive(Debug)]
pub(crate) struct Tenants {
    cache: Arc<dyn CacheClient>,
    store: Arc<Store>,
    keys: Keys,
    generations: Generations,
    identities: TypedReadThrough<Identity>,
    settings: TypedReadThrough<Settings>,
}

impl Tenants {
    /// The affairs of `store`'s tenants, cached in `cache`, by the time of day that `clock` tells.
    pub(crate) fn new(
        cache: Arc<dyn CacheClient>,
        store: Store,
        clock: &Arc<dyn WallClock>,
    ) -> Result<Self, CacheError> {
        let metrics = CacheMetrics::global();
        let common = || {
            ReadThroughConfig::builder()
                .listener(metrics.listener())
                .cache_deadline(BUDGET)
                .clock(Arc::clone(clock))
        };
        // Not ahead of time: a minute is what is promised of a revoked key.
        let identities = common()
            .life(IDENTITY_LIFE)
            .negative_life(UNKNOWN_LIFE)
            .jitter(0.0)
            .refresh_ahead(RefreshAhead::Never);
        let settings = common().life(SETTINGS_LIFE).stale_limit(SETTINGS_STALE);
        let near = NearConfig::default;
        let identities = TypedReadThrough::new(Arc::clone(&cache), Json, identities.build()?, near());
        let settings = TypedReadThrough::new(Arc::clone(&cache), Json, settings.build()?, near());
        metrics.watch_typed(&identities);
        metrics.watch_typed(&settings);
        let generations = GenerationsConfig::builder()
            .clock(Arc::clone(clock))
            .listener(metrics.listener());
        Ok(Self {
            generations: Generations::new(Arc::clone(&cache), generations.build()?),
            identities,
            settings,
            keys: Keys::new()?,
            store: Arc::new(store),
            cache,
        })
    }

    pub(crate) const fn cache(&self) -> &Arc<dyn CacheClient> {
        &self.cache
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How often the database was asked so far.
    pub(crate) fn database_reads(&self) -> u64 {
        self.store.reads()
    }

    /// Who `api_key` belongs to. Answered without the cache where it fails.
    pub(crate) async fn identify(&self, api_key: &str) -> Result<(Option<Arc<Identity>>, Source), ReadError> {
        let digest = KeyDigest::of(api_key);
        let key = self.keys.identity(&digest);
        let store = Arc::clone(&self.store);
        read(
            &self.identities,
            &key,
            || async move { store.identity(&digest).await },
        )
        .await
    }

    /// What `tenant` has set. Answered without the cache where it fails.
    pub(crate) async fn settings(&self, tenant: &str) -> Result<(Option<Arc<Settings>>, Source), ReadError> {
        let namespace = self.keys.cached_of(tenant)?;
        let (store, name) = (Arc::clone(&self.store), tenant.to_owned());
        match within_budget(self.generations.current(&namespace)).await {
            Ok(generation) => {
                let key = Keys::settings(generation.keys());
                read(
                    &self.settings,
                    &key,
                    || async move { store.settings(&name).await },
                )
                .await
            }
            // Which entries are in force is not known: none is used.
            Err(error) => {
                report("generation", &error);
                Ok((store.settings(&name).await.map(Arc::new), Source::Database))
            }
        }
    }

    /// Replaces what `tenant` has set. Where the cache fails, others may see the old settings for as long
    /// as they live there; the update itself holds.
    pub(crate) async fn update_settings(&self, tenant: &str, new: Settings) -> Result<(), CacheError> {
        let namespace = self.keys.cached_of(tenant)?;
        self.store.put_settings(tenant, new);
        let forgotten = within_budget(async {
            let key = Keys::settings(self.generations.current(&namespace).await?.keys());
            self.settings.invalidate(&[key.as_str()]).await
        });
        if let Err(error) = forgotten.await {
            report("invalidate", &error);
        }
        Ok(())
    }

    /// Puts all that is cached of `tenant` out of reach, in one step however much it is; the number of the
    /// generation that begins.
    pub(crate) async fn flush(&self, tenant: &str) -> Result<u64, CacheError> {
        let namespace = self.keys.cached_of(tenant)?;
        Ok(within_budget(self.generations.bump(&namespace)).await?.number())
    }

    /// Invites somebody to `tenant`.
    pub(crate) fn invite(&self, tenant: &str, email: String) -> Invitation {
        self.store.invite(tenant, email)
    }

    /// Counts one request of `tenant`. A request is served whether it can be counted or not.
    pub(crate) async fn count(&self, tenant: &str) -> Result<(), CacheError> {
        let key = self.keys.usage(tenant)?;
        if let Err(error) = within_budget(self.cache.incr_by(&key, 1, Ttl::After(USAGE_WINDOW))).await {
            report("count", &error);
        }
        Ok(())
    }

    /// How many requests of `tenant` were counted in the present window. There is no other place to ask,
    /// so a cache that fails is an error here.
    pub(crate) async fn usage(&self, tenant: &str) -> Result<u64, CacheError> {
        let key = self.keys.usage(tenant)?;
        let text = within_budget(self.cache.find_string(&key)).await?;
        match text.as_deref().map(str::parse) {
            None => Ok(0),
            Some(Ok(requests)) => Ok(requests),
            Some(Err(_)) => Err(CacheError::Corrupt {
                detail: "the count is no number".into(),
                source: None,
            }),
        }
    }

    /// Whether the cache answers.
    pub(crate) async fn ping(&self) -> Result<(), CacheError> {
        within_budget(self.cache.ping()).await
    }
}

#[cfg(test)]
mod tests;
