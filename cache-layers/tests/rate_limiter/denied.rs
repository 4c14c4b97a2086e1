//! A denied call uses nothing up, whatever becomes of its caller.

use cache_core::CacheClient;
use cache_layers::Quota;
use cache_mock::{Fault, Operation};

use crate::rig::{MINUTE, Rig, SUBJECT, check, ms, used_up};

const QUOTA: Quota = Quota::fixed(10, MINUTE);

#[tokio::test(start_paused = true)]
async fn a_denied_call_does_not_consume() {
    let rig = Rig::new();
    let limiter = rig.process();
    check(&limiter, &QUOTA, 8).await;
    for _ in 0..100 {
        let denied = check(&limiter, &QUOTA, 3).await;
        assert_eq!((denied.allowed, denied.remaining), (false, 2));
    }
    assert_eq!(rig.counter(0).await, Some(8));
    assert!(check(&limiter, &QUOTA, 2).await.allowed);
    assert_eq!((limiter.stats().allowed, limiter.stats().denied), (2, 100));
}

#[tokio::test(start_paused = true)]
async fn a_denied_caller_who_leaves_does_not_consume() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    check(&limiter, &QUOTA, 10).await;
    faults.nth(2, Operation::IncrBy, Fault::Delay(ms(50)));
    let left = tokio::time::timeout(ms(10), limiter.check(SUBJECT, &QUOTA)).await;
    assert!(left.is_err());
    assert_eq!(rig.counter(0).await, Some(11), "on its way back");
    tokio::time::sleep(ms(50)).await;
    assert_eq!(rig.counter(0).await, Some(10));
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_late_never_lands_in_a_fresh_window() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    check(&limiter, &QUOTA, 10).await;
    tokio::time::sleep(MINUTE - ms(5)).await;
    faults.nth(2, Operation::IncrBy, Fault::Delay(ms(200)));
    // Denied in the old window; by the time that it has given back, it fits into the new one.
    let (slow, fast) = tokio::join!(limiter.check(SUBJECT, &QUOTA), async {
        tokio::time::sleep(ms(10)).await;
        used_up(&rig.process(), &QUOTA).await
    });
    assert_eq!(fast, 10);
    assert!(!slow.unwrap().allowed);
    assert_eq!((rig.counter(0).await, rig.counter(1).await), (Some(10), Some(10)));
}

#[tokio::test(start_paused = true)]
async fn a_cheap_call_is_not_denied_for_what_a_dear_one_is_about_to_give_back() {
    let rig = Rig::new();
    let (dear, faults) = rig.faulty();
    let (cheap, slowly) = rig.faulty();
    check(&cheap, &QUOTA, 8).await;
    check(&dear, &QUOTA, 1).await;
    faults.nth(2, Operation::IncrBy, Fault::Delay(ms(10)));
    slowly.nth(2, Operation::IncrBy, Fault::Delay(ms(15)));
    let (dear, cheap) = tokio::join!(dear.check_cost(SUBJECT, &QUOTA, 5), async {
        tokio::time::sleep(ms(5)).await;
        cheap.check(SUBJECT, &QUOTA).await
    });
    assert!(!dear.unwrap().allowed);
    assert!(cheap.unwrap().allowed);
    assert_eq!(rig.counter(0).await, Some(10));
}

#[tokio::test(start_paused = true)]
async fn an_allowed_call_is_one_round_trip_a_denied_one_two_and_one_denied_near_none() {
    let rig = Rig::new();
    for quota in [Quota::fixed(2, MINUTE), Quota::sliding(2, MINUTE * 2)] {
        let (limiter, faults) = rig.faulty_with(|config| config.denial_memory(ms(30)));
        check(&limiter, &quota, 1).await;
        faults.always(Operation::ALL, &Fault::Delay(ms(5)));
        let took = async || {
            let before = cache_core::clock::now();
            let decision = check(&limiter, &quota, 1).await;
            (decision.allowed, cache_core::clock::now() - before)
        };
        assert_eq!(took().await, (true, ms(5)));
        assert_eq!(took().await, (false, ms(10)));
        let calls = faults.all_calls();
        for _ in 0..100 {
            assert_eq!(took().await, (false, ms(0)));
        }
        assert_eq!(faults.all_calls(), calls);
        assert_eq!(limiter.stats().denied_near, 100);
        tokio::time::sleep(ms(30)).await;
        assert_eq!(took().await, (false, ms(10)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_near_is_what_does_not_fit() {
    let rig = Rig::new();
    let (limiter, _) = rig.faulty_with(|config| config.denial_memory(ms(500)));
    check(&limiter, &QUOTA, 8).await;
    assert!(!check(&limiter, &QUOTA, 3).await.allowed);
    assert!(check(&limiter, &QUOTA, 2).await.allowed);
    assert!(!check(&limiter, &QUOTA, 1).await.allowed);
    assert!(limiter.check("another", &QUOTA).await.unwrap().allowed);
    // Nor does it outlive the window.
    tokio::time::sleep(MINUTE - ms(1)).await;
    assert!(!check(&limiter, &QUOTA, 1).await.allowed);
    tokio::time::sleep(ms(1)).await;
    assert!(check(&limiter, &QUOTA, 1).await.allowed);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_to_a_counter_that_was_flushed_allows_no_more() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    check(&limiter, &QUOTA, 10).await;
    faults.nth(2, Operation::IncrBy, Fault::Delay(ms(50)));
    let (denied, ()) = tokio::join!(limiter.check_cost(SUBJECT, &QUOTA, 9), async {
        tokio::time::sleep(ms(10)).await;
        let index = crate::rig::EPOCH.as_secs() / 60;
        let key = format!("{SUBJECT}:#limit:60000:{index}");
        assert_eq!(rig.memory.del(&[&key]).await.unwrap(), 1);
    });
    // It was looked at once more, and then there was room.
    assert!(denied.unwrap().allowed);
    assert_eq!(used_up(&limiter, &QUOTA).await, 1);
}
