//! Sliding windows.

use cache_layers::Quota;

use crate::rig::{MINUTE, Rig, check, ms, secs, used_up};

const QUOTA: Quota = Quota::sliding(100, MINUTE);

#[tokio::test(start_paused = true)]
async fn at_the_edge_of_a_window_nothing_is_forgotten() {
    let rig = Rig::new();
    let limiter = rig.process();
    tokio::time::sleep(MINUTE - ms(1)).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 100);
    tokio::time::sleep(ms(1)).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_used_in_the_window_before_counts_less_and_less() {
    let rig = Rig::new();
    let limiter = rig.process();
    assert_eq!(used_up(&limiter, &QUOTA).await, 100);
    tokio::time::sleep(MINUTE + secs(15)).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 25);
    tokio::time::sleep(secs(15)).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 25);
    tokio::time::sleep(secs(30)).await;
    // The next window: the 50 of the one before count in full.
    assert_eq!(used_up(&limiter, &QUOTA).await, 50);
    tokio::time::sleep(MINUTE * 2).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 100);
}

#[tokio::test(start_paused = true)]
async fn who_comes_when_told_to_is_allowed() {
    let rig = Rig::new();
    let limiter = rig.process();
    assert_eq!(used_up(&limiter, &QUOTA).await, 100);
    for cost in [1, 30, 1, 64, 100, 1] {
        let mut decision = check(&limiter, &QUOTA, cost).await;
        while !decision.allowed {
            let retry = decision.retry_after.unwrap();
            tokio::time::sleep(retry - ms(2)).await;
            assert!(!check(&limiter, &QUOTA, cost).await.allowed, "not earlier");
            tokio::time::sleep(ms(3)).await;
            decision = check(&limiter, &QUOTA, cost).await;
            assert!(decision.allowed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_the_limit_is_back_when_it_is_said_to_be() {
    let rig = Rig::new();
    let limiter = rig.process();
    tokio::time::sleep(secs(20)).await;
    let decision = check(&limiter, &QUOTA, 1).await;
    assert_eq!(decision.reset_after, secs(40) + MINUTE);
    tokio::time::sleep(decision.reset_after).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 100);
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_at_the_edge_are_not_missed_by_those_after_it() {
    let rig = Rig::new();
    let (slow, faults) = rig.faulty();
    let fast = rig.process();
    slow.check("another", &QUOTA).await.unwrap();
    tokio::time::sleep(MINUTE - ms(5)).await;
    // All of the limit is on its way while the window ends and the next is read.
    faults.next(cache_mock::Operation::IncrBy, cache_mock::Fault::Delay(ms(10)));
    let (late, early) = tokio::join!(check(&slow, &QUOTA, 100), async {
        tokio::time::sleep(ms(6)).await;
        used_up(&fast, &QUOTA).await
    });
    assert_eq!((late.allowed, early), (false, 100));
}
