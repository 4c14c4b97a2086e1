//! Scenario 70: the circuit opens, sheds, lets one through, closes. That its states follow each other as they
//! should in every order of events is tested beside the breaker itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{CacheClient, CacheError, Ttl};
use cache_layers::Listener;
use cache_layers::guarded::{BreakerState, OnFailure, StateChange};
use cache_mock::{Fault, Operation};
use tokio::task::JoinSet;

use crate::rig::{KEY, OPEN_FOR, guard, ms, opened, timed};

#[tokio::test(start_paused = true)]
async fn it_opens_at_the_rate_of_failures_and_not_before_there_are_enough_calls() {
    let (cache, faults) = guard(|config| config);
    faults.always(&[Operation::Get], &Fault::connection_lost());
    for call in 1..=20 {
        assert_eq!(cache.state(), BreakerState::Closed, "before call {call}");
        cache.get(KEY).await.unwrap_err();
    }
    assert_eq!(cache.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn below_the_rate_it_stays_closed() {
    let (cache, faults) = guard(|config| config);
    faults.always(&[Operation::Get], &Fault::connection_lost());
    for _ in 0..1_000 {
        cache.get(KEY).await.unwrap_err();
        cache.set(KEY, "1".into(), Ttl::Forever).await.unwrap();
        cache.ping().await.unwrap();
    }
    assert_eq!(cache.state(), BreakerState::Closed);
    assert_eq!((cache.stats().failures, cache.stats().calls), (1_000, 3_000));
}

#[tokio::test(start_paused = true)]
async fn what_failed_before_the_window_is_forgotten() {
    let (cache, faults) = guard(|config| config.window(ms(1_000)).failing_for(ms(3_600_000)));
    faults.always(&[Operation::Get], &Fault::connection_lost());
    for _ in 0..10 {
        for _ in 0..19 {
            cache.get(KEY).await.unwrap_err();
        }
        tokio::time::advance(ms(1_000)).await;
    }
    assert_eq!(cache.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn it_opens_at_the_rate_of_slow_calls_though_all_succeed() {
    let (cache, faults) = guard(|config| config.slow_call(ms(100)).slow_rate(0.75));
    for call in 0..20 {
        assert_eq!(cache.state(), BreakerState::Closed, "before call {call}");
        if call >= 5 {
            faults.next(Operation::Ping, Fault::Delay(ms(100)));
        }
        cache.ping().await.unwrap();
    }
    assert_eq!(cache.state(), BreakerState::Open);
    assert_eq!((cache.stats().slow, cache.stats().failures), (15, 0));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_stalls_under_load_costs_its_callers_one_deadline() {
    let (cache, faults) = guard(|config| config.deadline(ms(250)));
    for _ in 0..10_000 {
        cache.ping().await.unwrap();
    }
    faults.always(Operation::ALL, &Fault::Hang);
    let mut gets = JoinSet::new();
    for _ in 0..20 {
        let cache = Arc::clone(&cache);
        gets.spawn(async move { cache.get(KEY).await.unwrap_err() });
    }
    let (_, took) = timed(gets.join_all()).await;
    assert_eq!(took, ms(250));
    assert_eq!(cache.state(), BreakerState::Open);
    let error = cache.get(KEY).await.unwrap_err().to_string();
    let reason = "for 0s now, since all 20 calls of 250ms failed or were slow";
    assert!(error.ends_with(reason), "{error}");
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_backend_that_is_there_do_not_open_it() {
    let errors = [
        CacheError::Miss,
        CacheError::Rejected {
            code: "OOM".into(),
            detail: "full".into(),
        },
        CacheError::Unauthorized {
            detail: "the password".into(),
            source: None,
        },
        CacheError::InvalidInput {
            argument: "value",
            reason: "too large".into(),
        },
    ];
    let (cache, faults) = guard(|config| config);
    for error in errors {
        faults.always(&[Operation::Get], &Fault::Error(error));
        for _ in 0..100 {
            cache.get(KEY).await.unwrap_err();
        }
    }
    assert_eq!(cache.state(), BreakerState::Closed);
    assert_eq!(cache.stats().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn one_probe_goes_through_and_its_success_closes() {
    let (cache, faults) = opened(|config| config).await;
    faults.heal();
    let calls = faults.all_calls();
    tokio::time::advance(OPEN_FOR / 2 - ms(1)).await;
    cache.get(KEY).await.unwrap_err();
    assert_eq!(
        faults.all_calls(),
        calls,
        "shorter than half the time, and let through"
    );
    tokio::time::advance(OPEN_FOR / 2 + ms(1)).await;
    // While the probe is under way, all others are shed.
    faults.next(Operation::Get, Fault::Delay(ms(50)));
    let mut gets = JoinSet::new();
    for _ in 0..100 {
        let cache = Arc::clone(&cache);
        gets.spawn(async move { cache.get(KEY).await.unwrap_err().is_miss() });
    }
    let missed = gets.join_all().await.into_iter().filter(|miss| *miss).count();
    assert_eq!(missed, 1);
    assert_eq!(faults.all_calls(), calls + 1);
    assert_eq!(cache.state(), BreakerState::Closed);
    assert_eq!((cache.stats().probes, cache.stats().closed), (1, 1));
    cache.set(KEY, "1".into(), Ttl::Forever).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_again_and_costs_one_caller_one_deadline() {
    let (cache, faults) = opened(|config| config.deadline(ms(200)).on_failure(OnFailure::Bypass)).await;
    faults.always(Operation::ALL, &Fault::Hang);
    let mut waited = Vec::new();
    for _ in 0..1_000 {
        let (answer, took) = timed(cache.get(KEY)).await;
        assert!(answer.unwrap_err().is_miss());
        if !took.is_zero() {
            waited.push(took);
        }
        tokio::time::advance(ms(10)).await;
    }
    // 10 s and the waits, at a probe in each half to whole second.
    assert!((7..=20).contains(&waited.len()), "{waited:?}");
    assert!(waited.iter().all(|took| *took == ms(200)), "{waited:?}");
    assert_eq!((cache.stats().opened, cache.stats().closed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn all_probes_have_to_succeed() {
    let (cache, faults) = opened(|config| config.probes(3)).await;
    faults.heal();
    tokio::time::advance(OPEN_FOR).await;
    cache.ping().await.unwrap();
    cache.ping().await.unwrap();
    assert_eq!(cache.state(), BreakerState::HalfOpen);
    faults.next(Operation::Ping, Fault::connection_lost());
    cache.ping().await.unwrap_err();
    assert_eq!(cache.state(), BreakerState::Open);
    tokio::time::advance(OPEN_FOR).await;
    for _ in 0..3 {
        cache.ping().await.unwrap();
    }
    assert_eq!(cache.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_says_nothing_about_the_backend_makes_room_for_the_next() {
    let (cache, faults) = opened(|config| config).await;
    faults.heal();
    tokio::time::advance(OPEN_FOR).await;
    let too_large = CacheError::InvalidInput {
        argument: "value",
        reason: "too large".into(),
    };
    faults.next(Operation::Set, Fault::Error(too_large));
    cache.set(KEY, "1".into(), Ttl::Forever).await.unwrap_err();
    assert_eq!(cache.state(), BreakerState::HalfOpen);
    cache.set(KEY, "1".into(), Ttl::Forever).await.unwrap();
    assert_eq!(cache.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn calls_begun_before_a_change_say_nothing_after_it() {
    let (cache, faults) = guard(|config| config.deadline(ms(5_000)));
    // 40 calls hang, and will time out when the backend is well again.
    for _ in 0..40 {
        faults.next(Operation::Get, Fault::Hang);
    }
    let mut gets = JoinSet::new();
    for _ in 0..40 {
        let cache = Arc::clone(&cache);
        gets.spawn(async move { cache.get(KEY).await.unwrap_err() });
    }
    tokio::task::yield_now().await;
    for _ in 0..20 {
        faults.next(Operation::Ping, Fault::connection_lost());
        cache.ping().await.unwrap_err();
    }
    assert_eq!(cache.state(), BreakerState::Open);
    tokio::time::advance(OPEN_FOR).await;
    cache.ping().await.unwrap();
    assert_eq!(cache.state(), BreakerState::Closed);
    let errors = gets.join_all().await;
    assert!(
        errors
            .iter()
            .all(|error| matches!(error, CacheError::Timeout { .. }))
    );
    assert_eq!(cache.state(), BreakerState::Closed);
    assert_eq!(cache.stats().opened, 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_breaker_every_call_is_tried() {
    let (cache, faults) = guard(|config| config.without_breaker().on_failure(OnFailure::Bypass));
    faults.always(Operation::ALL, &Fault::connection_lost());
    for _ in 0..100 {
        assert!(cache.get(KEY).await.unwrap_err().is_miss());
    }
    assert_eq!(faults.calls(Operation::Get), 100);
    assert_eq!(cache.state(), BreakerState::Closed);
    let stats = cache.stats();
    assert_eq!((stats.failures, stats.bypassed, stats.shed), (100, 100, 0));
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<StateChange>>);

impl Listener<StateChange> for Heard {
    fn on_event(&self, change: &StateChange) {
        self.0.lock().unwrap().push(change.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_of_each_change_and_what_it_cost() {
    let heard = Arc::new(Heard::default());
    let (cache, faults) = opened(|config| config.listener(heard.clone())).await;
    for _ in 0..7 {
        cache.get(KEY).await.unwrap_err();
    }
    tokio::time::advance(OPEN_FOR).await;
    cache.get(KEY).await.unwrap_err();
    faults.heal();
    tokio::time::advance(OPEN_FOR).await;
    cache.ping().await.unwrap();

    let heard = heard.0.lock().unwrap();
    let states: Vec<_> = heard.iter().map(|change| (change.from, change.to)).collect();
    let (closed, open, half) = (BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen);
    let expected = [
        (closed, open),
        (open, half),
        (half, open),
        (open, half),
        (half, closed),
    ];
    assert_eq!(states, expected);
    let first = &heard[0];
    assert_eq!((first.calls, first.failures, first.shed), (20, 20, 0));
    assert_eq!(first.outage, Duration::ZERO);
    assert!(first.cause.as_ref().is_some_and(CacheError::is_transient));
    let last = &heard[4];
    assert_eq!((last.calls, last.failures, last.shed), (2, 1, 7));
    assert_eq!(last.outage, OPEN_FOR * 2);
    assert!(last.cause.is_none());
}
