//! The near cache of a typed read-through: decoded values, invalidated by the protocol of `crate::near`.
//!
//! Not in here: how fresh a value is (`found.rs`), and when a caller looks here (`call.rs`).

use std::sync::Arc;

use cache_core::{CacheClient, InvalidationSource, Subscription};

use super::core::Payload;
use super::found::{Known, Stored};
use crate::near::{Count, Found, Keep, Lives, Near, NearConfig, NearSource, NearStats, NearStatus};

/// Decoded values, and the subscription that invalidates them.
pub(super) struct NearTier<V: Payload> {
    pub(super) near: Arc<Near<Known<V>>>,
    lives: Lives,
    source: Option<Arc<dyn InvalidationSource>>,
    _subscription: Option<Subscription>,
}

/// Drops the copies of keys when it is dropped: after a write has been answered, or was given up.
pub(super) struct Written<'a, V: Payload> {
    tier: &'a NearTier<V>,
    keys: &'a [&'a str],
}

impl<V: Payload> NearTier<V> {
    pub(super) fn new(client: &dyn CacheClient, config: &NearConfig) -> Self {
        let near = Near::new(config.bounds());
        let source = client.invalidations();
        let ear = Arc::clone(&near);
        let subscription = source
            .as_ref()
            .map(|source| source.subscribe(Arc::new(move |event: &_| ear.apply(event))));
        Self {
            near,
            lives: config.lives(),
            source,
            _subscription: subscription,
        }
    }

    pub(super) fn status(&self) -> NearStatus {
        self.lives.status(self.source.as_deref())
    }

    /// Whether a value that is read now may be kept.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.status(), NearStatus::Bypassed { .. })
    }

    pub(super) fn look(&self, key: &str) -> Option<Known<V>> {
        let found = self.near.look(key)?;
        self.near.counts().add(Count::Hit, 1);
        Some(found.value)
    }

    /// What is kept of a far read, if anything.
    pub(super) fn keep(&self, key: &str, stored: &Stored, known: &Known<V>) -> Option<Keep<Known<V>>> {
        let life = self.lives.of(stored.tracked, &self.status())?;
        self.near.takes(key, known.size).then(|| Keep {
            found: Found {
                value: known.clone(),
                remaining: stored.remaining,
                tracked: stored.tracked,
                vouch: stored.vouch,
            },
            bytes: known.size,
            life,
        })
    }

    /// Hold the result while one of `keys` is written.
    pub(super) fn writing<'a>(&'a self, keys: &'a [&'a str]) -> Written<'a, V> {
        Written { tier: self, keys }
    }
}

impl<V: Payload> NearSource for NearTier<V> {
    fn stats(&self) -> NearStats {
        self.near.stats()
    }

    fn status(&self) -> NearStatus {
        self.status()
    }
}

impl<V: Payload> Drop for Written<'_, V> {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.tier.near.remove(key));
    }
}
