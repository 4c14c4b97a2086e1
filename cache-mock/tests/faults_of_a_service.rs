//! What a caller does if its cache is slow, wrong or down.

#[cfg(test)]
mod service;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cache_core::{CacheClient, CacheError, MemoryCache, Outcome, clock};
use cache_mock::{Fault, Faults, FaultyCache, Operation};

use service::{Database, KEPT, count_use, forget, plan};

const DEADLINE: Duration = Duration::from_secs(3);

/// A service's cache with the plans of acme and umbrella, and its faults.
async fn cache() -> Result<(Arc<dyn CacheClient>, Faults), CacheError> {
    let inner = MemoryCache::default();
    inner
        .set_many(
            &[("plan:acme", "team".into()), ("plan:umbrella", "solo".into())],
            KEPT,
        )
        .await?;
    let cache = FaultyCache::new(inner);
    let faults = cache.faults().clone();
    Ok((Arc::new(cache), faults))
}

#[tokio::test(start_paused = true)]
async fn lookup_survives_any_single_read_fault() {
    let wrong = [
        Fault::connection_lost(),
        Fault::Error(CacheError::Miss),
        Fault::Hang,
        Fault::LostRequest(DEADLINE),
        Fault::LostReply(DEADLINE),
        Fault::Delay(DEADLINE),
        Fault::connection_lost_after(1),
    ];
    let (cache, faults) = cache().await.unwrap();
    for fault in wrong {
        let (database, before) = (Database::default(), clock::now());
        faults.next(Operation::Get, fault.clone());
        assert_eq!(
            plan(&*cache, &database, "acme").await,
            "plan of acme",
            "{fault:?}"
        );
        assert!(
            clock::now() - before < DEADLINE / 2,
            "{fault:?} costs more than the lookup's patience"
        );
        assert_eq!(database.asked.load(Ordering::Relaxed), 1, "{fault:?}");
    }
    assert_eq!(faults.injected(Operation::Get), 7);
    assert_eq!(faults.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn hanging_cache_gets_no_store() {
    let (cache, faults) = cache().await.unwrap();
    faults.always(Operation::ALL, &Fault::Hang);
    plan(&*cache, &Database::default(), "acme").await;
    assert_eq!(
        (faults.calls(Operation::Get), faults.calls(Operation::Set)),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn use_is_counted_at_most_once() {
    let (cache, faults) = cache().await.unwrap();
    faults.next(Operation::Incr, Fault::connection_lost());
    assert_eq!(
        count_use(&*cache, "acme").await.unwrap(),
        1,
        "what was not carried out is tried again"
    );
    assert_eq!(faults.calls(Operation::Incr), 2);

    faults.next(Operation::Incr, Fault::LostReply(DEADLINE));
    let error = count_use(&*cache, "acme").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(cache.get("uses:acme").await.unwrap(), "2", "it was carried out");

    faults.next(Operation::Incr, Fault::LostRequest(DEADLINE));
    let same = count_use(&*cache, "acme").await.unwrap_err();
    assert_eq!(
        same.to_string(),
        error.to_string(),
        "the caller cannot tell a lost request from a lost reply"
    );
    assert_eq!(
        cache.get("uses:acme").await.unwrap(),
        "2",
        "it was not carried out"
    );
}

#[tokio::test(start_paused = true)]
async fn partial_delete_is_finished_by_a_retry() {
    let (cache, faults) = cache().await.unwrap();
    faults.next(Operation::Del, Fault::connection_lost_after(0));
    faults.next(Operation::Del, Fault::connection_lost_after(1));
    forget(&*cache, &["acme", "umbrella"]).await.unwrap();
    assert_eq!(cache.exists(&["plan:acme", "plan:umbrella"]).await.unwrap(), 0);
    assert_eq!(faults.calls(Operation::Del), 3);
}
