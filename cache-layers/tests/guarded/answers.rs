//! The table of the docs, every line of it: each method, each kind of error, each choice of what a failure
//! means; and the same while the circuit is open.

use cache_core::{CacheClient, CacheConfig, CacheError, Outcome, Stage, Ttl, Unavailability};
use cache_layers::guarded::{BreakerState, OnFailure};
use cache_mock::{Fault, Operation};

use crate::rig::{KEY, ask, guard, ms, opened};

/// What a method answers in place of a failure; `None` is the failure itself.
fn substitute(operation: Operation) -> Option<Result<&'static str, ()>> {
    const MISS: Result<&str, ()> = Err(());
    match operation {
        Operation::Get
        | Operation::GetEntry
        | Operation::GetEach
        | Operation::GetAndExpire
        | Operation::Ttl => Some(MISS),
        Operation::GetMany => Some(Ok("[None, None]")),
        Operation::GetEntries => Some(Ok("Absent(Absence { tracked: false, vouch: None })")),
        Operation::Set | Operation::SetMany | Operation::SetEach => Some(Ok("()")),
        Operation::Del | Operation::Exists => Some(Ok("0")),
        Operation::Expire => Some(Ok("false")),
        _ => None,
    }
}

fn unavailable(reason: Unavailability) -> CacheError {
    CacheError::Unavailable {
        reason,
        detail: "10.0.0.1:6379".into(),
        outcome: Outcome::Unknown,
        source: None,
    }
}

fn rejected(code: &'static str) -> CacheError {
    CacheError::Rejected {
        code: code.into(),
        detail: "no".into(),
    }
}

/// The server refuses for its own state, and is there: nothing for the circuit.
fn states() -> Vec<CacheError> {
    vec![rejected("OOM"), rejected("MISCONF")]
}

const fn timeout(stage: Stage) -> CacheError {
    CacheError::Timeout { stage, after: ms(3) }
}

fn failures() -> Vec<CacheError> {
    vec![
        timeout(Stage::Connect),
        timeout(Stage::Send),
        timeout(Stage::Reply),
        timeout(Stage::Call),
        unavailable(Unavailability::Resolve),
        unavailable(Unavailability::Connect),
        unavailable(Unavailability::Tls),
        unavailable(Unavailability::Lost),
        unavailable(Unavailability::NotReady),
        unavailable(Unavailability::CircuitOpen),
    ]
}

fn other_errors() -> Vec<CacheError> {
    vec![
        CacheError::Miss,
        CacheError::Unauthorized {
            detail: "the password".into(),
            source: None,
        },
        CacheError::Denied {
            command: "GET".into(),
            detail: "no such right".into(),
        },
        rejected("WRONGTYPE"),
        rejected("ERR"),
        CacheError::InvalidInput {
            argument: "value",
            reason: "too large".into(),
        },
        CacheError::Corrupt {
            detail: "no integer".into(),
            source: None,
        },
        CacheConfig::builder().key_prefix("{").build().unwrap_err().into(),
        CacheError::Closed,
        CacheError::Unsupported {
            detail: "not here".into(),
        },
    ]
}

#[tokio::test(start_paused = true)]
async fn every_method_answers_every_error_as_the_table_says() {
    let kinds = [
        (failures(), true, true),
        (states(), false, true),
        (other_errors(), false, false),
    ];
    for (errors, is_failure, is_bypassed) in kinds {
        for error in errors {
            for on_failure in [OnFailure::Fail, OnFailure::Bypass] {
                for &operation in Operation::ALL {
                    let (cache, faults) = guard(|config| config.on_failure(on_failure));
                    faults.next(operation, Fault::Error(error.clone()));
                    let answer = ask(&*cache, operation).await;
                    let substitute =
                        substitute(operation).filter(|_| is_bypassed && on_failure == OnFailure::Bypass);
                    let what = format!("{operation:?} with {error} and {on_failure:?} is {answer:?}");
                    match (&answer, substitute) {
                        (Ok(answer), Some(Ok(expected))) => assert_eq!(answer, expected, "{what}"),
                        (Err(answer), Some(Err(()))) => assert!(answer.is_miss(), "{what}"),
                        (Err(answer), None) => assert_eq!(answer.to_string(), error.to_string(), "{what}"),
                        _ => panic!("{what}"),
                    }
                    let stats = cache.stats();
                    let counts = operation != Operation::Close;
                    assert_eq!(stats.bypassed, u64::from(substitute.is_some()), "{what}");
                    assert_eq!(stats.failures, u64::from(is_failure && counts), "{what}");
                    assert_eq!(stats.calls, u64::from(counts), "{what}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_circuit_is_open_every_method_is_answered_without_the_client() {
    for on_failure in [OnFailure::Fail, OnFailure::Bypass] {
        let (cache, faults) = opened(|config| config.on_failure(on_failure)).await;
        let calls = faults.all_calls();
        for &operation in Operation::ALL
            .iter()
            .filter(|operation| **operation != Operation::Close)
        {
            let answer = ask(&*cache, operation).await;
            let substitute = substitute(operation).filter(|_| on_failure == OnFailure::Bypass);
            let what = format!("{operation:?} with {on_failure:?} is {answer:?}");
            match (&answer, substitute) {
                (Ok(answer), Some(Ok(expected))) => assert_eq!(answer, expected, "{what}"),
                (Err(answer), Some(Err(()))) => assert!(answer.is_miss(), "{what}"),
                (Err(answer), None) => {
                    let reason = Unavailability::CircuitOpen;
                    assert!(
                        matches!(answer, CacheError::Unavailable { reason: r, .. } if *r == reason),
                        "{what}"
                    );
                    assert_eq!(answer.outcome(), Outcome::NotApplied, "{what}");
                }
                _ => panic!("{what}"),
            }
        }
        assert_eq!(faults.all_calls(), calls, "the client was asked");
        assert_eq!(cache.stats().shed, 20);
        assert_eq!(cache.state(), BreakerState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_does_not_hide_what_is_wrong_with_an_argument() {
    for on_failure in [OnFailure::Fail, OnFailure::Bypass] {
        let (cache, _) = opened(|config| config.on_failure(on_failure)).await;
        let too_long = Ttl::from(Ttl::MAX * 2);
        let errors = [
            cache.get("").await.unwrap_err(),
            cache.del(&[KEY, ""]).await.unwrap_err(),
            cache
                .set_many(&[("", "1".into())], Ttl::Forever)
                .await
                .unwrap_err(),
            cache.set(KEY, "1".into(), too_long).await.unwrap_err(),
            cache.expire(KEY, too_long).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, CacheError::InvalidInput { .. }), "{error}");
        }
        // What does no I/O needs no backend.
        assert_eq!(cache.get_many(&[]).await.unwrap(), []);
        assert_eq!(cache.del(&[]).await.unwrap(), 0);
        assert_eq!(cache.exists(&[]).await.unwrap(), 0);
        cache.set_many(&[], Ttl::Forever).await.unwrap();
        assert_eq!(cache.stats().shed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_is_closed_also_behind_an_open_circuit() {
    for on_failure in [OnFailure::Fail, OnFailure::Bypass] {
        let (cache, faults) = opened(|config| config.on_failure(on_failure)).await;
        faults.heal();
        cache.close().await.unwrap();
        for &operation in Operation::ALL
            .iter()
            .filter(|operation| **operation != Operation::Close)
        {
            let error = ask(&*cache, operation).await.unwrap_err();
            assert!(matches!(error, CacheError::Closed), "{operation:?}: {error}");
        }
        cache.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_refusal_says_since_when_and_why() {
    let (cache, _) = opened(|config| config).await;
    tokio::time::advance(ms(250)).await;
    let error = cache.get(KEY).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cache unavailable, the circuit breaker is open: for 250ms now, since 20 of 20 calls within 10s \
         failed and 0 were slow"
    );
    let cause = std::error::Error::source(&error).expect("the failure that opened it");
    assert_eq!(
        cause.to_string(),
        "cache unavailable, connection lost: a fault that a test asked for"
    );
    assert!(error.is_transient());
}

#[tokio::test(start_paused = true)]
async fn changes_inside_are_heard_through_the_guard() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    let (cache, _) = guard(|config| config);
    let heard = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&heard);
    let source = cache
        .invalidations()
        .expect("the embedded client reports changes");
    let _subscription = source.subscribe(Arc::new(move |_: &cache_core::Invalidation| {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    cache.set(KEY, "1".into(), Ttl::Forever).await.unwrap();
    assert_eq!(heard.load(Ordering::Relaxed), 1);
}
