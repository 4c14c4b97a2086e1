//! All methods of the contract, each with all that it can end with: what other tests here measure.

use std::time::Duration;

use cache_core::{CacheClient, MemoryCache, Ttl};
use cache_layers::Observed;
use cache_layers::observed::Tier;
use cache_mock::{Fault, Faults, FaultyCache, Operation};

use crate::rig::Rig;

/// A key and a value that must not turn up anywhere.
pub(crate) const KEY: &str = "key-of-a-tenant-2718";
pub(crate) const OTHER_KEY: &str = "other-key-1618";
pub(crate) const VALUE: &str = "value-of-a-tenant-3141";

pub(crate) fn observed(rig: &Rig, tier: Tier) -> (Observed, Faults) {
    let cache = FaultyCache::new(MemoryCache::default());
    let faults = cache.faults().clone();
    (rig.observe(tier, cache), faults)
}

/// Calls each method at least once with success, and each with an error, and lets one be cancelled.
pub(crate) async fn call_everything(cache: &Observed, faults: &Faults) {
    let forever = Ttl::Forever;
    for fails in [false, true] {
        if fails {
            faults.always(Operation::ALL, &Fault::connection_lost());
        }
        // The outcomes are the test's business, not the calls'.
        let _ = cache.get(KEY).await;
        let _ = cache.set(KEY, VALUE.into(), forever).await;
        let _ = cache.get(KEY).await;
        let _ = cache.get_entry(KEY).await;
        let _ = cache.get_entry(OTHER_KEY).await;
        let _ = cache.get_many(&[KEY, OTHER_KEY]).await;
        let _ = cache.set_many(&[(KEY, VALUE.into())], forever).await;
        let _ = cache.set_if_absent(KEY, VALUE.into(), forever).await;
        let _ = cache.compare_and_set(KEY, b"no", VALUE.into(), forever).await;
        let _ = cache
            .compare_and_set(KEY, VALUE.as_bytes(), VALUE.into(), forever)
            .await;
        let _ = cache.compare_and_delete(KEY, VALUE.as_bytes()).await;
        let _ = cache.exists(&[KEY]).await;
        let _ = cache.incr(OTHER_KEY).await;
        let _ = cache.incr_by(OTHER_KEY, 2, forever).await;
        let _ = cache.expire(KEY, forever).await;
        let _ = cache.ttl(KEY).await;
        let _ = cache.set(KEY, VALUE.into(), forever).await;
        // The value is no integer: rejected.
        let _ = cache.incr(KEY).await;
        let _ = cache.del(&[KEY, OTHER_KEY]).await;
        let entries = [(KEY, VALUE.into(), forever), ("", VALUE.into(), forever)];
        let _ = cache.set_each(&entries).await;
        let _ = cache.get_each(&[KEY, OTHER_KEY, ""]).await;
        let _ = cache.get_entries(&[KEY, OTHER_KEY, ""]).await;
        let _ = cache.get_and_expire(KEY, forever).await;
        let _ = cache.get_and_delete(KEY).await;
        let _ = cache.get("").await;
        let _ = cache.ping().await;
    }
    faults.heal();
    faults.next(Operation::Get, Fault::Hang);
    tokio::time::timeout(Duration::from_millis(5), cache.get(KEY))
        .await
        .expect_err("it hangs");
    cache.close().await.unwrap();
    let _ = cache.set(KEY, VALUE.into(), forever).await;
}
