//! What becomes of a call when the cache fails.

use std::pin::pin;

use cache_core::{CacheClient, CacheError, Ttl, clock};
use cache_layers::Quota;
use cache_layers::rate_limiter::OnError;
use cache_mock::{Fault, Operation};
use futures::future::join_all;
use futures::poll;

use crate::rig::{EPOCH, MINUTE, Rig, SUBJECT, check, ms, secs, used_up};

const QUOTA: Quota = Quota::sliding(10, MINUTE);

#[tokio::test(start_paused = true)]
async fn the_policy_decides_and_the_decision_says_that_it_was_not_counted() {
    for (policy, allowed) in [(OnError::Allow, true), (OnError::Deny, false)] {
        let rig = Rig::new();
        let (limiter, faults) = rig.faulty_with(|config| config.on_error(policy));
        faults.always(Operation::ALL, &Fault::connection_lost());
        for _ in 0..20 {
            let decision = check(&limiter, &QUOTA, 1).await;
            assert_eq!((decision.allowed, decision.counted), (allowed, false));
            assert_eq!(decision.retry_after.is_some(), !allowed);
        }
        assert_eq!(limiter.stats().uncounted, 20);
        faults.heal();
        assert_eq!(used_up(&limiter, &QUOTA).await, 10);
    }
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    faults.always(Operation::ALL, &Fault::connection_lost());
    assert!(limiter.check(SUBJECT, &QUOTA).await.unwrap_err().is_transient());
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_call_is_an_error_whatever_the_policy() {
    let rig = Rig::new();
    let (limiter, _) = rig.faulty_with(|config| config.on_error(OnError::Allow));
    let long = "k".repeat(cache_core::MAX_KEY_LEN);
    for (subject, quota, cost) in [
        ("", QUOTA, 1),
        (&long, QUOTA, 1),
        (SUBJECT, QUOTA, 11),
        (SUBJECT, QUOTA, 0),
        (SUBJECT, Quota::fixed(0, MINUTE), 1),
        (SUBJECT, Quota::fixed(1, ms(1)), 1),
    ] {
        let error = limiter.check_cost(subject, &quota, cost).await.unwrap_err();
        assert!(matches!(error, CacheError::InvalidInput { .. }), "{error}");
    }
    assert_eq!(limiter.stats().uncounted, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_halfway_takes_back_what_it_used() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    faults.next(Operation::Get, Fault::connection_lost());
    assert!(limiter.check_cost(SUBJECT, &QUOTA, 10).await.is_err());
    assert_eq!(used_up(&limiter, &QUOTA).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_cost_that_cannot_be_given_back_is_gone_with_its_window_at_the_latest() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    check(&limiter, &QUOTA, 5).await;
    for _ in 0..10 {
        faults.nth(2, Operation::IncrBy, Fault::LostRequest(ms(1)));
        assert!(!check(&limiter, &QUOTA, 10).await.allowed);
    }
    assert_eq!(used_up(&limiter, &QUOTA).await, 0);
    // It counts as the limit in the next window, not as what it is.
    tokio::time::sleep(MINUTE + secs(30)).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_is_none_is_an_error_and_stays_as_it_is() {
    let rig = Rig::new();
    let index = EPOCH.as_secs() / 60;
    let limiter = rig.process();
    for index in [index, index - 1] {
        let key = format!("{SUBJECT}:#limit:60000:{index}");
        rig.memory.set(&key, "ten".into(), Ttl::Forever).await.unwrap();
        assert!(limiter.check(SUBJECT, &QUOTA).await.is_err());
        assert_eq!(rig.memory.get(&key).await.unwrap(), "ten");
        rig.memory.del(&[&key]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_ends_by_its_deadline_however_many_wait() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    faults.always(Operation::ALL, &Fault::LostRequest(secs(3)));
    let before = clock::now();
    let calls = (0..50).map(|tenant| {
        let limiter = limiter.clone();
        async move { limiter.check(&format!("tenant:{tenant}"), &QUOTA).await }
    });
    for result in join_all(calls).await {
        assert!(matches!(result, Err(CacheError::Timeout { .. })), "{result:?}");
    }
    assert_eq!(clock::now() - before, ms(500));
    assert_eq!(faults.calls(Operation::Ttl), 1, "one measurement for all");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_never_polled_again_holds_up_nobody() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    faults.always(Operation::ALL, &Fault::Delay(ms(50)));
    let mut stuck = pin!(limiter.check(SUBJECT, &QUOTA));
    assert!(poll!(stuck.as_mut()).is_pending());
    let before = clock::now();
    assert!(check(&limiter, &QUOTA, 1).await.allowed);
    // None there, made, read; then counted.
    assert_eq!(clock::now() - before, ms(200));
}
