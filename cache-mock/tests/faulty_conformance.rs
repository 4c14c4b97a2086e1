//! A faulty cache without faults meets the contract, and one with a dead primary reports it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use cache_core::conformance::{Outage, Subject};
use cache_core::{CacheClient, Invalidation, MemoryCache, Ttl};
use cache_mock::{Fault, Faults, FaultyCache, Operation};

struct Dead(Faults);

#[async_trait]
impl Outage for Dead {
    async fn begin(&self) {
        self.0.always(Operation::ALL, &Fault::connection_lost());
    }

    async fn end(&self) {
        self.0.heal();
    }
}

cache_core::conformance_tests! {
    mod a_faulty_cache_without_faults in virtual time with outage = async {
        let cache = FaultyCache::new(MemoryCache::default());
        let dead = Dead(cache.faults().clone());
        Subject::new(cache).with_outage(dead)
    };
    mod a_faulty_cache_over_a_shared_client in virtual time = async {
        let inner: Arc<dyn CacheClient> = Arc::new(MemoryCache::default());
        Subject::new(FaultyCache::new(inner)).with_drops(10_000)
    };
}

#[tokio::test]
async fn inner_changes_are_reported() {
    let cache = FaultyCache::new(MemoryCache::default());
    let heard = Arc::new(AtomicU32::new(0));
    let source = cache
        .invalidations()
        .expect("the embedded client reports changes");
    let count = Arc::clone(&heard);
    let _subscription = source.subscribe(Arc::new(move |_: &Invalidation| {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    cache.set("key", "value".into(), Ttl::Forever).await.unwrap();
    cache.inner().del(&["key"]).await.unwrap();
    assert!(heard.load(Ordering::Relaxed) > 0);
}
