//! Processes on one cache.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheClientExt, MemoryCache};
use cache_layers::lock::LockConfigBuilder;
use cache_layers::{Lock, LockConfig};
use cache_mock::{Faults, FaultyCache};

pub(crate) const KEY: &str = "jobs:{acme}:nightly";
pub(crate) const LOCK_KEY: &str = "jobs:{acme}:nightly:#lock";
pub(crate) const FENCE_KEY: &str = "jobs:{acme}:nightly:#fence";
pub(crate) const LEASE: Duration = secs(10);
/// What a holder relies on, by default.
pub(crate) const RELIED_ON: Duration = secs(9);

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[derive(Debug, Default)]
pub(crate) struct Rig {
    pub(crate) memory: Arc<MemoryCache>,
}

impl Rig {
    /// A process.
    pub(crate) fn process(&self) -> Lock {
        Lock::new(self.memory.clone(), LockConfig::default())
    }

    /// A process whose own way to the cache can be broken.
    pub(crate) fn faulty(&self) -> (Lock, Faults) {
        self.faulty_with(|config| config)
    }

    pub(crate) fn faulty_with(
        &self,
        change: impl FnOnce(LockConfigBuilder) -> LockConfigBuilder,
    ) -> (Lock, Faults) {
        let cache = FaultyCache::new(self.memory.clone());
        let faults = cache.faults().clone();
        let config = change(LockConfig::builder()).build().unwrap();
        (Lock::new(Arc::new(cache), config), faults)
    }

    /// What stands in the lock.
    pub(crate) async fn stored(&self) -> Option<String> {
        self.memory.find_string(LOCK_KEY).await.unwrap()
    }
}

/// Work that never ends, and when it was dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endless(Arc<Mutex<Option<Instant>>>);

impl Endless {
    pub(crate) fn work(&self) -> impl Future<Output = ()> + Send + use<> {
        struct OnDrop(Endless);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                *self.0.0.lock().unwrap() = Some(clock::now());
            }
        }
        let on_drop = OnDrop(self.clone());
        async move {
            let _on_drop = on_drop;
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn dropped_at(&self) -> Option<Instant> {
        *self.0.lock().unwrap()
    }
}
