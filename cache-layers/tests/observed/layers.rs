//! Near tiers and guards, as metrics show them.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient as _, MemoryCache, Ttl};
use cache_layers::{Guarded, GuardedConfig, NearConfig, Tiered};
use cache_mock::{Fault, FaultyCache, Operation};

use crate::every_call::{KEY, VALUE};
use crate::rig::Rig;

/// The one value of a metric without labels.
fn value(rig: &Rig, metric: &str) -> u64 {
    rig.values(metric)[""]
}

#[tokio::test]
async fn a_near_tier_tells_what_it_did_and_what_it_holds() {
    let rig = Rig::new();
    let far = Arc::new(MemoryCache::default());
    let near = Arc::new(Tiered::new(far.clone(), NearConfig::default()));
    rig.metrics.watch_near(&near);
    near.set(KEY, VALUE.into(), Ttl::Forever).await.unwrap();
    for _ in 0..3 {
        near.get(KEY).await.unwrap();
    }
    let counted = [("hit", 2), ("joined", 0), ("miss", 1)];
    let counted = counted.map(|(result, n)| (result.to_owned(), n)).into();
    assert_eq!(rig.values("cache.near.lookups"), counted);
    assert_eq!(value(&rig, "cache.near.entries"), 1);
    assert_eq!(value(&rig, "cache.near.size"), near.stats().bytes);
    let status = rig.values("cache.near.status");
    assert_eq!((status["tracked"], status["bypassed"]), (1, 0), "{status:?}");
    let before = value(&rig, "cache.near.invalidations");
    far.del(&[KEY]).await.unwrap();
    assert!(value(&rig, "cache.near.invalidations") > before);
    assert_eq!(value(&rig, "cache.near.entries"), 0);
    drop(near);
    assert_eq!(
        rig.values("cache.near.lookups"),
        counted,
        "what was counted stays counted"
    );
    assert_eq!(rig.values("cache.near.status")["tracked"], 0);
}

#[tokio::test]
async fn what_had_to_go_for_others_is_no_change_that_was_reported() {
    let rig = Rig::new();
    let far = Arc::new(MemoryCache::default());
    let config = NearConfig::builder().max_entries(2).build().unwrap();
    let near = Arc::new(Tiered::new(far.clone(), config));
    rig.metrics.watch_near(&near);
    let keys: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    for key in &keys {
        far.set(key, VALUE.into(), Ttl::Forever).await.unwrap();
    }
    let reported = value(&rig, "cache.near.invalidations");
    for key in &keys {
        near.get(key).await.unwrap();
    }
    assert_eq!(value(&rig, "cache.near.invalidations"), reported);
    let kept = value(&rig, "cache.near.entries");
    assert_eq!(value(&rig, "cache.near.evictions"), 20 - kept);
    assert!(kept <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_guard_tells_the_state_of_its_circuit_and_what_it_shed() {
    let rig = Rig::new();
    let cache = FaultyCache::new(MemoryCache::default());
    let faults = cache.faults().clone();
    let guard = Arc::new(Guarded::new(Arc::new(cache), GuardedConfig::default()));
    rig.metrics.watch_guard(&guard);
    assert_eq!(rig.values("cache.guard.state")["closed"], 1);
    faults.always(Operation::ALL, &Fault::connection_lost());
    while guard.stats().shed < 5 {
        guard.get(KEY).await.unwrap_err();
    }
    let state = rig.values("cache.guard.state");
    assert_eq!((state["closed"], state["open"], state["half_open"]), (0, 1, 0));
    assert_eq!(value(&rig, "cache.guard.opened"), 1);
    assert_eq!(value(&rig, "cache.guard.shed"), 5);
    // They failed at once, and there is no deadline.
    assert_eq!(value(&rig, "cache.guard.timeouts"), 0);
    assert_eq!(
        value(&rig, "cache.guard.failures"),
        value(&rig, "cache.guard.calls")
    );
    faults.heal();
    while guard.get(KEY).await.is_err_and(|error| !error.is_miss()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(rig.values("cache.guard.state")["open"], 0);
    assert!(value(&rig, "cache.guard.probes") > 0);
}
