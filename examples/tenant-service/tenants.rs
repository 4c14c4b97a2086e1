//! What the service does, free of HTTP: who calls, what a tenant has set, how much it asks.
//!
//! The database is the truth for identities and settings, and the cache only saves the way to it. Counts
//! live in the cache alone.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, CacheClientExt as _, CacheError, Ttl};

use crate::credential::KeyDigest;
use crate::keys::Keys;
use crate::read_through::{Source, read_through, report, within_budget};
use crate::store::{Identity, Settings, Store};

/// How long a known API key is believed without asking the database: after a key is revoked, it works
/// for at most this long.
const IDENTITY_LIFE: Ttl = Ttl::secs(60);

/// How long an unknown API key is refused without asking: guesses cost the database little, and a new
/// key works soon.
const UNKNOWN_LIFE: Ttl = Ttl::secs(5);

/// How long settings may be old. An update drops them at once; this bounds what is left: a reader that
/// loaded before the update and stores after it.
const SETTINGS_LIFE: Ttl = Ttl::secs(300);

/// The window in which requests are counted; it begins with the first request.
pub(crate) const USAGE_WINDOW: Duration = Duration::from_secs(60 * 60);

/// The service's affairs.
#[derive(Debug)]
pub(crate) struct Tenants {
    cache: Arc<dyn CacheClient>,
    store: Store,
    keys: Keys,
}

impl Tenants {
    pub(crate) fn new(cache: Arc<dyn CacheClient>, store: Store) -> Result<Self, CacheError> {
        Ok(Self {
            cache,
            store,
            keys: Keys::new()?,
        })
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How often the database was asked so far.
    pub(crate) fn database_reads(&self) -> u64 {
        self.store.reads()
    }

    /// Who `api_key` belongs to. Answered without the cache where it fails.
    pub(crate) async fn identify(&self, api_key: &str) -> (Option<Identity>, Source) {
        let digest = KeyDigest::of(api_key);
        let life = |found: &Option<Identity>| match found {
            Some(_) => IDENTITY_LIFE,
            None => UNKNOWN_LIFE,
        };
        let key = self.keys.identity(&digest);
        read_through(&*self.cache, &key, life, || self.store.identity(&digest)).await
    }

    /// What `tenant` has set. Answered without the cache where it fails.
    pub(crate) async fn settings(&self, tenant: &str) -> Result<(Option<Settings>, Source), CacheError> {
        let key = self.keys.settings(tenant)?;
        Ok(read_through(
            &*self.cache,
            &key,
            |_| SETTINGS_LIFE,
            || self.store.settings(tenant),
        )
        .await)
    }

    /// Replaces what `tenant` has set. Where the cache fails, others may see the old settings for as long
    /// as they live there; the update itself holds.
    pub(crate) async fn update_settings(&self, tenant: &str, new: Settings) -> Result<(), CacheError> {
        let key = self.keys.settings(tenant)?;
        self.store.put_settings(tenant, new);
        if let Err(error) = within_budget(self.cache.del(&[key.as_str()])).await {
            report("invalidate", &error);
        }
        Ok(())
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
