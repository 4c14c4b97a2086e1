//! No call outlives its deadline, and the deadline is over the whole of it. Scenario 71, without a server.

use cache_core::deadline::counted_from;
use cache_core::{CacheClient, CacheError, Outcome, Stage, Ttl, clock};
use cache_layers::guarded::OnFailure;
use cache_mock::{Fault, Operation};

use crate::rig::{KEY, ask, guard, ms, timed};

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_at_its_deadline_whichever_it_is() {
    for &operation in Operation::ALL
        .iter()
        .filter(|operation| **operation != Operation::Close)
    {
        let (cache, faults) = guard(|config| config.deadline(ms(250)));
        faults.next(operation, Fault::Hang);
        let (answer, took) = timed(ask(&*cache, operation)).await;
        let error = answer.unwrap_err();
        assert!(
            matches!(error, CacheError::Timeout { stage: Stage::Call, after } if after == ms(250)),
            "{operation:?}: {error}"
        );
        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!(took, ms(250), "{operation:?}");
        assert_eq!((cache.stats().timeouts, cache.stats().failures), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_ran_into_the_deadline_may_have_been_done() {
    let (cache, faults) = guard(|config| config.deadline(ms(250)));
    faults.next(Operation::Set, Fault::LostReply(ms(3_000)));
    let error = cache.set(KEY, "1".into(), Ttl::Forever).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(cache.get(KEY).await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn what_answers_in_time_is_left_alone() {
    let (cache, faults) = guard(|config| config.deadline(ms(250)));
    cache.set(KEY, "1".into(), Ttl::Forever).await.unwrap();
    faults.next(Operation::Get, Fault::Delay(ms(249)));
    assert_eq!(cache.get(KEY).await.unwrap(), "1");
    // A shorter timeout of the client's own is no doing of the deadline.
    faults.next(Operation::Get, Fault::LostRequest(ms(100)));
    let error = cache.get(KEY).await.unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::Timeout {
                stage: Stage::Reply,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!((cache.stats().timeouts, cache.stats().failures), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_call_takes_as_long_as_the_client_lets_it() {
    let (cache, faults) = guard(|config| config);
    faults.next(Operation::Ping, Fault::Delay(ms(3_600_000)));
    let (answer, took) = timed(cache.ping()).await;
    answer.unwrap();
    assert_eq!(took, ms(3_600_000));
}

#[tokio::test(start_paused = true)]
async fn with_bypass_a_stalled_backend_costs_twenty_callers_a_deadline_and_then_nobody() {
    let (cache, faults) = guard(|config| config.deadline(ms(250)).on_failure(OnFailure::Bypass));
    faults.always(Operation::ALL, &Fault::Hang);
    let (answers, took) = timed(async {
        let mut answers = Vec::new();
        for _ in 0..120 {
            answers.push(cache.get(KEY).await);
        }
        answers
    })
    .await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Err(CacheError::Miss)))
    );
    assert_eq!(took, ms(250) * 20);
    assert_eq!((cache.stats().shed, cache.stats().bypassed), (100, 120));
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_request_share_the_deadline() {
    for &operation in Operation::ALL
        .iter()
        .filter(|operation| **operation != Operation::Close)
    {
        let (cache, faults) = guard(|config| config.deadline(ms(250)));
        faults.next(Operation::Ping, Fault::Delay(ms(100)));
        faults.next(operation, Fault::Hang);
        let request = counted_from(clock::now(), async {
            cache.ping().await.unwrap();
            ask(&*cache, operation).await
        });
        let (answer, took) = timed(request).await;
        let error = answer.unwrap_err();
        assert!(
            matches!(
                error,
                CacheError::Timeout {
                    stage: Stage::Call,
                    ..
                }
            ),
            "{operation:?}: {error}"
        );
        assert_eq!(took, ms(250), "{operation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_for_which_nothing_is_left_is_not_begun() {
    for on_failure in [OnFailure::Fail, OnFailure::Bypass] {
        let (cache, faults) = guard(|config| config.deadline(ms(250)).on_failure(on_failure));
        let request = counted_from(clock::now(), async {
            tokio::time::sleep(ms(250)).await;
            (cache.get(KEY).await, cache.get_each(&[KEY]).await.remove(0))
        });
        let (answers, took) = timed(request).await;
        for answer in [answers.0, answers.1] {
            let error = answer.unwrap_err();
            assert_eq!(error.outcome(), Outcome::NotApplied);
            assert_eq!(error.is_miss(), on_failure == OnFailure::Bypass, "{error}");
        }
        assert_eq!((took, faults.all_calls(), cache.stats().calls), (ms(250), 0, 0));
        // The next request has a deadline of its own.
        assert!(cache.get(KEY).await.unwrap_err().is_miss());
        assert_eq!(faults.all_calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_had_little_time_left_do_not_open_the_circuit() {
    let (cache, faults) = guard(|config| config.deadline(ms(250)));
    faults.always(&[Operation::Get, Operation::GetEach], &Fault::Hang);
    for _ in 0..100 {
        counted_from(clock::now(), async {
            tokio::time::sleep(ms(200)).await;
            cache.get(KEY).await.unwrap_err();
        })
        .await;
        counted_from(clock::now(), async {
            tokio::time::sleep(ms(200)).await;
            cache.get_each(&[KEY]).await.remove(0).unwrap_err();
        })
        .await;
    }
    assert_eq!((cache.stats().opened, cache.stats().failures), (0, 0));
}
