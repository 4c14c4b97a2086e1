//! Who runs, and what the others are told.

use cache_core::{CacheClient as _, Ttl};
use cache_layers::idempotency::{Acquired, Completion};

use crate::rig::{
    CLAIM_LIFE, KEY, RESPONSE_LIFE, Rig, SCOPE, STORED_AT, ask, claimed, ms, replayed, request, secs,
};

#[tokio::test(start_paused = true)]
async fn of_concurrent_first_requests_one_runs_and_the_others_wait_for_its_response() {
    let rig = Rig::default();
    let processes = [rig.process(), rig.process(), rig.process()];
    let asked = futures::future::join_all((0..100).map(|number| ask(&processes[number % 3]))).await;
    let mut claims = Vec::new();
    for acquired in asked {
        match acquired {
            Acquired::Run(claim) => claims.push(claim),
            Acquired::InProgress { remaining } => assert_eq!(remaining, CLAIM_LIFE),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(claims.len(), 1);
    let completion = claims.pop().unwrap().complete("order 7").await.unwrap();
    assert_eq!(completion, Completion::Stored);
    for process in &processes {
        assert_eq!(replayed(process).await, "order 7");
    }
}

#[tokio::test(start_paused = true)]
async fn another_request_under_the_same_key_is_a_mismatch_at_every_stage() {
    let rig = Rig::default();
    let process = rig.process();
    let other = || process.acquire(SCOPE, KEY, request("b"));
    let claim = claimed(&process).await;
    assert!(matches!(other().await.unwrap(), Acquired::Mismatch));
    claim.complete("order 7").await.unwrap();
    assert!(matches!(other().await.unwrap(), Acquired::Mismatch));
    assert_eq!(replayed(&process).await, "order 7");
}

#[tokio::test(start_paused = true)]
async fn a_released_key_is_free_at_once_for_any_request() {
    let rig = Rig::default();
    let process = rig.process();
    claimed(&process).await.release().await.unwrap();
    assert!(rig.memory.is_empty());
    let other = process.acquire(SCOPE, KEY, request("b")).await.unwrap();
    assert!(matches!(other, Acquired::Run(_)), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_response_lives_as_long_as_configured_and_then_the_request_runs_again() {
    let rig = Rig::default();
    let process = rig.process();
    claimed(&process).await.complete("order 7").await.unwrap();
    assert_eq!(
        rig.memory.ttl(STORED_AT).await.unwrap(),
        Ttl::After(RESPONSE_LIFE)
    );
    tokio::time::sleep(RESPONSE_LIFE - ms(1)).await;
    assert_eq!(replayed(&process).await, "order 7");
    tokio::time::sleep(ms(1)).await;
    drop(claimed(&process).await);
}

#[tokio::test(start_paused = true)]
async fn of_a_response_that_is_too_large_only_that_it_was_given_is_kept() {
    let rig = Rig::default();
    let process = rig.process_with(|config| config.max_response(10));
    let largest = "0123456789";
    assert_eq!(
        claimed(&process).await.complete(largest).await.unwrap(),
        Completion::Stored
    );
    assert_eq!(replayed(&process).await, largest);

    let again = |key| process.acquire(SCOPE, key, request("a"));
    let Acquired::Run(claim) = again("another").await.unwrap() else {
        panic!("a new key");
    };
    assert_eq!(claim.complete("0123456789x").await.unwrap(), Completion::NotKept);
    assert!(matches!(again("another").await.unwrap(), Acquired::NotReplayable));
    let mismatch = process.acquire(SCOPE, "another", request("b")).await.unwrap();
    assert!(matches!(mismatch, Acquired::Mismatch));
}

#[tokio::test(start_paused = true)]
async fn an_empty_response_is_one() {
    let rig = Rig::default();
    let process = rig.process();
    claimed(&process).await.complete("").await.unwrap();
    assert_eq!(replayed(&process).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_told_how_long_a_killed_process_would_keep_it() {
    let rig = Rig::default();
    let process = rig.process();
    let _claim = claimed(&process).await;
    tokio::time::sleep(secs(15)).await;
    let Acquired::InProgress { remaining } = ask(&process).await else {
        panic!("it runs");
    };
    assert_eq!(remaining, CLAIM_LIFE - secs(15));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_shown_holds_a_response() {
    let rig = Rig::default();
    let process = rig.process();
    claimed(&process).await.complete("secret").await.unwrap();
    let shown = format!("{process:?} {:?}", ask(&process).await);
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("Replay { len: 6 }"), "{shown}");
}
