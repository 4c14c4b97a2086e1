//! Calls that answer each key on its own, of which some keys fail and some do not.

use cache_core::{CacheClient, CacheError, Ttl};
use cache_layers::guarded::{BreakerState, OnFailure};
use cache_mock::{Fault, Operation};

use crate::rig::{KEY, OPEN_FOR, guard, opened};

const FOREVER: Ttl = Ttl::Forever;

#[tokio::test(start_paused = true)]
async fn partial_failure_is_neither_a_success_nor_a_failure() {
    let (cache, faults) = guard(|config| config);
    cache.set(KEY, "1".into(), FOREVER).await.unwrap();
    faults.always(&[Operation::GetEach], &Fault::connection_lost_after(1));
    for _ in 0..100 {
        let results = cache.get_each(&[KEY, "other"]).await;
        assert_eq!(results[0].as_ref().unwrap(), "1");
        assert!(results[1].as_ref().is_err_and(CacheError::is_transient));
    }
    assert_eq!(cache.state(), BreakerState::Closed);
    assert_eq!((cache.stats().calls, cache.stats().failures), (101, 0));
    // A hundred successes would have kept the rate of these below a half.
    faults.always(&[Operation::Get], &Fault::connection_lost());
    for _ in 0..19 {
        cache.get(KEY).await.unwrap_err();
    }
    assert_eq!(cache.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn call_whose_every_key_fails_is_a_failure() {
    let (cache, faults) = guard(|config| config);
    faults.always(&[Operation::SetEach], &Fault::connection_lost());
    for _ in 0..20 {
        let entries = [
            (KEY, "1".into(), FOREVER),
            ("other", "2".into(), FOREVER),
            ("", "3".into(), FOREVER),
        ];
        let results = cache.set_each(&entries).await;
        assert!(
            results[..2]
                .iter()
                .all(|result| result.as_ref().is_err_and(CacheError::is_transient))
        );
        assert!(matches!(results[2], Err(CacheError::InvalidInput { .. })));
    }
    assert_eq!(cache.stats().failures, 20);
    assert_eq!(cache.state(), BreakerState::Open);
    let calls = faults.all_calls();
    let results = cache.get_each(&[KEY, ""]).await;
    assert!(matches!(results[0], Err(CacheError::Unavailable { .. })));
    assert!(
        matches!(results[1], Err(CacheError::InvalidInput { .. })),
        "not hidden by the circuit"
    );
    assert_eq!(faults.all_calls(), calls, "the client was asked");
}

#[tokio::test(start_paused = true)]
async fn partial_failure_of_probes_closes_the_circuit() {
    let (cache, faults) = opened(|config| config).await;
    faults.heal();
    faults.always(&[Operation::GetEach], &Fault::connection_lost_after(1));
    tokio::time::advance(OPEN_FOR).await;
    for _ in 0..20 {
        cache.get_each(&[KEY, "other"]).await;
    }
    assert_eq!(
        cache.state(),
        BreakerState::Closed,
        "a part of the backend answers"
    );
}

#[tokio::test(start_paused = true)]
async fn bypass_replaces_the_failed_keys_only() {
    let (cache, faults) = guard(|config| config.on_failure(OnFailure::Bypass));
    cache.set(KEY, "1".into(), FOREVER).await.unwrap();
    faults.next(Operation::GetEach, Fault::connection_lost_after(1));
    let results = cache.get_each(&[KEY, "other", ""]).await;
    assert_eq!(results[0].as_ref().unwrap(), "1");
    assert!(matches!(results[1], Err(CacheError::Miss)));
    assert!(matches!(results[2], Err(CacheError::InvalidInput { .. })));
    faults.next(Operation::SetEach, Fault::connection_lost());
    let results = cache
        .set_each(&[(KEY, "2".into(), FOREVER), ("", "3".into(), FOREVER)])
        .await;
    assert!(results[0].is_ok() && results[1].is_err());
    assert_eq!(cache.get(KEY).await.unwrap(), "1");
    assert_eq!(cache.stats().bypassed, 2);
    faults.next(Operation::GetAndDelete, Fault::connection_lost());
    assert!(
        cache.get_and_delete(KEY).await.unwrap_err().is_transient(),
        "there is no stand-in for it"
    );
}
