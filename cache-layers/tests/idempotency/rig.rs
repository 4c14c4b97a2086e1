//! Processes on one cache.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, Keyspace, MemoryCache};
use cache_layers::idempotency::{Acquired, Claim, Fingerprint, IdempotencyConfigBuilder};
use cache_layers::{Idempotency, IdempotencyConfig};
use cache_mock::{Faults, FaultyCache};

pub(crate) const SCOPE: &str = "acme";
pub(crate) const KEY: &str = "8e03978e";
pub(crate) const CLAIM_LIFE: Duration = secs(60);
pub(crate) const RESPONSE_LIFE: Duration = secs(86_400);
/// Where the record of [`SCOPE`] and [`KEY`] stands.
pub(crate) const STORED_AT: &str = "billing:v1:idempotency:acme:8e03978e";

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn request(body: &str) -> Fingerprint {
    Fingerprint::of(["POST", "/orders", body])
}

/// One cache, and what its processes have in common.
#[derive(Debug, Default)]
pub(crate) struct Rig {
    pub(crate) memory: Arc<MemoryCache>,
}

impl Rig {
    /// A process.
    pub(crate) fn process(&self) -> Idempotency {
        self.process_with(|config| config)
    }

    /// A process that is configured otherwise.
    pub(crate) fn process_with(
        &self,
        change: impl FnOnce(IdempotencyConfigBuilder) -> IdempotencyConfigBuilder,
    ) -> Idempotency {
        over(self.memory.clone(), change)
    }

    /// A process whose own way to the cache can be broken.
    pub(crate) fn faulty(&self) -> (Idempotency, Faults) {
        self.faulty_with(|config| config)
    }

    pub(crate) fn faulty_with(
        &self,
        change: impl FnOnce(IdempotencyConfigBuilder) -> IdempotencyConfigBuilder,
    ) -> (Idempotency, Faults) {
        let cache = FaultyCache::new(self.memory.clone());
        let faults = cache.faults().clone();
        (over(Arc::new(cache), change), faults)
    }

    /// Waits until nothing stands under the key. Virtual time: the limit costs nothing.
    pub(crate) async fn until_given_back(&self) {
        for _ in 0..100 {
            if self.memory.is_empty() {
                return;
            }
            tokio::time::sleep(ms(1)).await;
        }
        panic!("the claim was not given back");
    }
}

pub(crate) fn over(
    client: Arc<dyn CacheClient>,
    change: impl FnOnce(IdempotencyConfigBuilder) -> IdempotencyConfigBuilder,
) -> Idempotency {
    let config = change(IdempotencyConfig::builder()).build().unwrap();
    Idempotency::new(client, Keyspace::new("billing").unwrap(), config)
}

/// What a request with the body "a" is to do.
pub(crate) async fn ask(process: &Idempotency) -> Acquired {
    process.acquire(SCOPE, KEY, request("a")).await.unwrap()
}

pub(crate) async fn claimed(process: &Idempotency) -> Claim {
    match ask(process).await {
        Acquired::Run(claim) => claim,
        other => panic!("not to run: {other:?}"),
    }
}

/// The response that a retry gets.
pub(crate) async fn replayed(process: &Idempotency) -> String {
    match ask(process).await {
        Acquired::Replay(response) => String::from_utf8(response.to_vec()).unwrap(),
        other => panic!("no replay: {other:?}"),
    }
}
