//! Fixed windows and their edges.

use cache_core::{CacheClient, Ttl};
use cache_layers::Quota;

use crate::rig::{MINUTE, Rig, SUBJECT, check, ms, secs, used_up};

const QUOTA: Quota = Quota::fixed(10, MINUTE);

#[tokio::test(start_paused = true)]
async fn a_decision_says_what_is_left_and_until_when() {
    let (rig, start) = (Rig::new(), secs(20));
    tokio::time::sleep(start).await;
    let limiter = rig.process();
    let first = check(&limiter, &QUOTA, 3).await;
    assert!(first.allowed && first.counted);
    assert_eq!((first.limit, first.remaining), (10, 7));
    assert_eq!(first.reset_after, secs(40));
    assert_eq!(first.retry_after, None);
    assert_eq!(used_up(&limiter, &QUOTA).await, 7);
    let denied = check(&limiter, &QUOTA, 1).await;
    assert!(!denied.allowed);
    assert_eq!(denied.remaining, 0);
    assert_eq!(denied.retry_after, Some(secs(40)));
}

#[tokio::test(start_paused = true)]
async fn a_window_ends_to_the_millisecond_and_the_next_has_all_of_the_limit() {
    let rig = Rig::new();
    let limiter = rig.process();
    assert_eq!(used_up(&limiter, &QUOTA).await, 10);
    tokio::time::sleep(MINUTE - ms(1)).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 0);
    tokio::time::sleep(ms(1)).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 10);
}

#[tokio::test(start_paused = true)]
async fn windows_follow_the_day_not_the_first_call() {
    let rig = Rig::new();
    let limiter = rig.process();
    tokio::time::sleep(secs(59)).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 10);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 10);
}

#[tokio::test(start_paused = true)]
async fn windows_of_other_lengths_and_other_subjects_count_for_themselves() {
    let rig = Rig::new();
    let limiter = rig.process();
    assert_eq!(used_up(&limiter, &QUOTA).await, 10);
    assert_eq!(used_up(&limiter, &Quota::fixed(20, MINUTE * 60)).await, 20);
    let other = limiter.check("api:{globex}", &QUOTA).await.unwrap();
    assert_eq!(other.remaining, 9);
}

#[tokio::test(start_paused = true)]
async fn the_counter_is_given_its_life_with_its_first_call_and_goes_by_itself() {
    let rig = Rig::new();
    let limiter = rig.process();
    check(&limiter, &QUOTA, 1).await;
    let index = crate::rig::EPOCH.as_secs() / 60;
    let key = format!("{SUBJECT}:#limit:60000:{index}");
    let life = rig.memory.ttl(&key).await.unwrap();
    assert_eq!(life, Ttl::After(MINUTE * 2 + secs(10)));
    tokio::time::sleep(MINUTE * 2 + secs(11)).await;
    assert_eq!(rig.counter(0).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_crosses_the_edge_counts_in_the_window_in_which_it_is_answered() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    check(&limiter, &QUOTA, 1).await;
    tokio::time::sleep(MINUTE - ms(5)).await;
    faults.next(cache_mock::Operation::IncrBy, cache_mock::Fault::Delay(ms(10)));
    let decision = check(&limiter, &QUOTA, 1).await;
    assert_eq!((decision.allowed, decision.remaining), (true, 9));
    assert_eq!((rig.counter(0).await, rig.counter(1).await), (Some(1), Some(1)));
}
