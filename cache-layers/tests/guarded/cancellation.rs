//! Callers that drop their calls: what the breaker learns from that, and that no probe's place is lost.

use std::time::Duration;

use cache_core::{CacheClient, clock};
use cache_layers::guarded::BreakerState;
use cache_layers::{Loaded, ReadThrough, ReadThroughConfig};
use cache_mock::{Fault, Operation};

use crate::rig::{KEY, OPEN_FOR, guard, ms, opened};

/// A call whose caller loses patience.
async fn dropped(cache: &dyn CacheClient, patience: Duration) {
    assert!(tokio::time::timeout(patience, cache.get(KEY)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_long_is_slow_and_one_dropped_early_is_nothing() {
    let (cache, faults) = guard(|config| config.deadline(ms(1_000)).slow_call(ms(100)));
    faults.always(Operation::ALL, &Fault::Hang);
    for _ in 0..100 {
        dropped(&*cache, ms(99)).await;
    }
    assert_eq!(cache.state(), BreakerState::Closed);
    for _ in 0..20 {
        dropped(&*cache, ms(100)).await;
    }
    assert_eq!(cache.state(), BreakerState::Open);
    let stats = cache.stats();
    assert_eq!((stats.dropped, stats.slow, stats.failures), (120, 20, 0));
    assert_eq!(stats.calls, 120);
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_deadline_above_gives_up_open_the_circuit() {
    let (cache, faults) = guard(|config| config);
    faults.always(Operation::ALL, &Fault::Delay(ms(600)));
    let values = ReadThrough::new(cache.clone(), ReadThroughConfig::default());
    let load = || async { Ok::<_, std::io::Error>(Loaded::new("value")) };
    let before = clock::now();
    for number in 0..200 {
        values.get_or_load(&number.to_string(), load).await.unwrap();
    }
    assert!(cache.stats().opened >= 1);
    let took = clock::now() - before;
    assert!(took < ms(20_000), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_place_back() {
    let (cache, faults) = opened(|config| config).await;
    faults.heal();
    faults.next(Operation::Get, Fault::Hang);
    tokio::time::advance(OPEN_FOR).await;
    dropped(&*cache, ms(10)).await;
    assert_eq!(cache.state(), BreakerState::HalfOpen);
    cache.ping().await.unwrap();
    assert_eq!(cache.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_dropped_after_long_has_failed() {
    for slow_call in [None, Some(ms(100))] {
        let (cache, faults) = opened(|config| match slow_call {
            Some(slow_call) => config.slow_call(slow_call),
            None => config,
        })
        .await;
        faults.always(Operation::ALL, &Fault::Hang);
        tokio::time::advance(OPEN_FOR).await;
        dropped(&*cache, slow_call.unwrap_or(OPEN_FOR)).await;
        assert_eq!(cache.state(), BreakerState::Open, "{slow_call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_polls_does_not_keep_the_circuit_half_open() {
    let (cache, faults) = opened(|config| config).await;
    faults.heal();
    faults.next(Operation::Get, Fault::Hang);
    tokio::time::advance(OPEN_FOR).await;
    let mut forgotten = Box::pin(cache.get(KEY));
    assert!(futures::poll!(&mut forgotten).is_pending());
    cache.ping().await.unwrap_err();
    tokio::time::advance(OPEN_FOR).await;
    cache.ping().await.unwrap();
    assert_eq!(cache.state(), BreakerState::Closed);
    drop(forgotten);
    assert_eq!(cache.state(), BreakerState::Closed);
}
