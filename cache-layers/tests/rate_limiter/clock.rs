//! The server's clock, and no other, says in which window a call is.

use std::time::Duration;

use cache_core::{CacheClient, CacheError, Ttl};
use cache_layers::{Quota, RateLimiter};
use cache_mock::{Fault, Operation};

use crate::rig::{EPOCH, MINUTE, Rig, SUBJECT, check, ms, secs, used_up};

const QUOTA: Quota = Quota::fixed(10, MINUTE);
const ANCHOR: &str = "rate-limiter:#clock";

#[tokio::test(start_paused = true)]
async fn processes_whose_clocks_differ_by_hours_agree_on_the_window() {
    let rig = Rig::new();
    let first = rig.process();
    assert_eq!(used_up(&first, &QUOTA).await, 10);
    let ahead = rig.config(secs(3 * 3_600 + 17)).build().unwrap();
    let ahead = RateLimiter::new(rig.memory.clone(), ahead);
    assert_eq!(used_up(&ahead, &QUOTA).await, 0);
    assert_eq!(check(&ahead, &QUOTA, 1).await.reset_after, MINUTE);
}

#[tokio::test(start_paused = true)]
async fn the_clock_is_measured_once_and_then_every_ten_seconds_and_nobody_waits_for_it() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    limiter.check(SUBJECT, &QUOTA).await.unwrap();
    // None there, made, read.
    assert_eq!(faults.calls(Operation::Ttl), 2);
    faults.always(&[Operation::Ttl], &Fault::Delay(ms(200)));
    for second in 1..=100 {
        tokio::time::sleep(secs(1)).await;
        let before = cache_core::clock::now();
        limiter.check(SUBJECT, &QUOTA).await.unwrap();
        assert_eq!(cache_core::clock::now() - before, Duration::ZERO, "{second}");
    }
    let measured = faults.calls(Operation::Ttl) - 2;
    assert!((7..=10).contains(&measured), "{measured}");
}

#[tokio::test(start_paused = true)]
async fn many_first_calls_measure_once() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    faults.always(&[Operation::Ttl], &Fault::Delay(ms(5)));
    let calls = (0..100).map(|_| limiter.check(SUBJECT, &QUOTA));
    futures::future::join_all(calls).await;
    assert_eq!(faults.calls(Operation::Ttl), 2);
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_is_taken_to_be_half_there_and_half_back() {
    let rig = Rig::new();
    rig.process().check("another", &QUOTA).await.unwrap();
    let (limiter, faults) = rig.faulty();
    // Half on the way there: this is what a delay before the call is.
    faults.next(Operation::Ttl, Fault::Delay(ms(100)));
    let decision = check(&limiter, &QUOTA, 1).await;
    let wrong = (MINUTE - ms(100)).abs_diff(decision.reset_after);
    assert!(wrong <= ms(50), "{wrong:?}");
    // The next measurement is better, and is believed.
    tokio::time::sleep(secs(11)).await;
    check(&limiter, &QUOTA, 1).await;
    tokio::time::sleep(ms(1)).await;
    let decision = check(&limiter, &QUOTA, 1).await;
    assert_eq!(decision.reset_after, MINUTE - ms(11_101));
    // A worse one is not.
    tokio::time::sleep(secs(11)).await;
    faults.next(Operation::Ttl, Fault::Delay(secs(2)));
    check(&limiter, &QUOTA, 1).await;
    tokio::time::sleep(secs(3)).await;
    let decision = check(&limiter, &QUOTA, 1).await;
    assert_eq!(decision.reset_after, MINUTE - ms(25_101));
}

#[tokio::test(start_paused = true)]
async fn a_server_clock_that_was_set_is_followed() {
    let rig = Rig::new();
    let limiter = rig.process();
    assert_eq!(used_up(&limiter, &QUOTA).await, 10);
    // As after a failover to a machine whose clock is half a minute ahead.
    let Ttl::After(left) = rig.memory.ttl(ANCHOR).await.unwrap() else {
        panic!("the anchor lives for ever");
    };
    let ahead = Ttl::After(left - secs(30));
    assert!(rig.memory.expire(ANCHOR, ahead).await.unwrap());
    tokio::time::sleep(secs(11)).await;
    check_and_settle(&limiter).await;
    assert_eq!(check(&limiter, &QUOTA, 1).await.reset_after, secs(60 - 30 - 11));
}

#[tokio::test(start_paused = true)]
async fn an_anchor_that_was_evicted_is_made_anew_and_the_day_goes_on() {
    let rig = Rig::new();
    let limiter = rig.process();
    assert_eq!(used_up(&limiter, &QUOTA).await, 10);
    assert_eq!(rig.memory.del(&[ANCHOR]).await.unwrap(), 1);
    assert_eq!(used_up(&rig.process(), &QUOTA).await, 0, "the same window");
    tokio::time::sleep(secs(11)).await;
    check_and_settle(&limiter).await;
    assert_eq!(used_up(&limiter, &QUOTA).await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_anchor_that_is_none_is_an_error_that_says_so() {
    let rig = Rig::new();
    rig.memory.set(ANCHOR, "1".into(), Ttl::Forever).await.unwrap();
    let error = rig.process().check(SUBJECT, &QUOTA).await.unwrap_err();
    assert!(matches!(error, CacheError::Corrupt { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_cannot_be_measured_goes_on() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    check(&limiter, &QUOTA, 1).await;
    faults.always(&[Operation::Ttl], &Fault::connection_lost());
    tokio::time::sleep(secs(59)).await;
    assert_eq!(check(&limiter, &QUOTA, 1).await.reset_after, secs(1));
    tokio::time::sleep(secs(3_600 + 2)).await;
    assert_eq!(check(&limiter, &QUOTA, 1).await.reset_after, secs(59));
    faults.heal();
    tokio::time::sleep(secs(2)).await;
    assert_eq!(check(&limiter, &QUOTA, 1).await.reset_after, secs(57));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_never_read_is_that_of_the_process_until_it_can_be() {
    let rig = Rig::new();
    let (limiter, faults) = rig.faulty();
    for fault in [Fault::connection_lost(), Fault::Hang] {
        faults.on_key(ANCHOR, Operation::ALL, &fault);
        let before = cache_core::clock::now();
        let decision = check(&limiter, &QUOTA, 1).await;
        let took = cache_core::clock::now() - before;
        assert!(took <= ms(250), "{took:?}");
        assert_eq!((decision.counted, decision.reset_after), (true, MINUTE - took));
        faults.heal();
        tokio::time::sleep(MINUTE - took).await;
    }
    check(&limiter, &QUOTA, 1).await;
    assert!(rig.memory.ttl(ANCHOR).await.is_ok(), "it was made");
}

#[tokio::test(start_paused = true)]
async fn the_anchor_lives_until_a_moment_that_all_know() {
    let rig = Rig::new();
    rig.process().check(SUBJECT, &QUOTA).await.unwrap();
    let year = secs(365 * 24 * 3_600);
    assert_eq!(
        rig.memory.ttl(ANCHOR).await.unwrap(),
        Ttl::After(year * 200 - EPOCH)
    );
}

async fn check_and_settle(limiter: &RateLimiter) {
    check(limiter, &Quota::fixed(1_000, secs(1)), 1).await;
    tokio::time::sleep(Duration::ZERO).await;
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}
