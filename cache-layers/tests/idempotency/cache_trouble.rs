//! The cache fails: before the run, while it lasts, and after it.

use cache_core::{CacheClient as _, CacheError, Ttl, clock};
use cache_layers::idempotency::{Acquired, Completion, OnFailure};
use cache_mock::{Fault, Operation};

use crate::rig::{CLAIM_LIFE, KEY, Rig, SCOPE, STORED_AT, ask, claimed, ms, replayed, request, secs};

#[tokio::test(start_paused = true)]
async fn without_the_cache_nothing_runs_unless_chosen_otherwise() {
    let rig = Rig::default();
    for down in [
        Fault::connection_lost(),
        Fault::Hang,
        Fault::Error(CacheError::Closed),
    ] {
        let (process, faults) = rig.faulty();
        faults.always(Operation::ALL, &down);
        let before = clock::now();
        let refused = process.acquire(SCOPE, KEY, request("a")).await;
        assert!(refused.is_err(), "{down:?} {refused:?}");
        assert!(clock::now() - before <= secs(1), "{down:?}");

        let (process, faults) = rig.faulty_with(|config| config.on_failure(OnFailure::RunUnprotected));
        faults.always(Operation::ALL, &down);
        let before = clock::now();
        let claim = claimed(&process).await;
        assert!(!claim.is_protected());
        assert_eq!(claim.complete("once?").await.unwrap(), Completion::Unprotected);
        claimed(&process).await.release().await.unwrap();
        assert!(clock::now() - before <= secs(2), "{down:?}");
    }
    assert!(rig.memory.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_empty_key_is_refused_even_where_failures_run() {
    let rig = Rig::default();
    let process = rig.process_with(|config| config.on_failure(OnFailure::RunUnprotected));
    let error = process.acquire(SCOPE, "", request("a")).await.unwrap_err();
    assert!(matches!(error, CacheError::InvalidInput { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_the_claim_is_made_up_for() {
    // The reply was lost, the claim is ours.
    let rig = Rig::default();
    let (process, faults) = rig.faulty();
    faults.next(Operation::SetIfAbsent, Fault::LostReply(ms(50)));
    let claim = claimed(&process).await;
    assert!(matches!(ask(&rig.process()).await, Acquired::InProgress { .. }));
    claim.complete("order 7").await.unwrap();

    // The request was lost, nobody has the key.
    let rig = Rig::default();
    let (process, faults) = rig.faulty();
    faults.next(Operation::SetIfAbsent, Fault::LostRequest(ms(50)));
    claimed(&process).await.complete("order 7").await.unwrap();
    assert_eq!(replayed(&rig.process()).await, "order 7");

    // The request was lost, somebody else has the key.
    let rig = Rig::default();
    let (process, faults) = rig.faulty();
    let _other = claimed(&rig.process()).await;
    faults.next(Operation::SetIfAbsent, Fault::LostRequest(ms(50)));
    assert!(matches!(ask(&process).await, Acquired::InProgress { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_stays_in_doubt_is_given_back() {
    let rig = Rig::default();
    let (process, faults) = rig.faulty();
    faults.next(Operation::SetIfAbsent, Fault::LostReply(ms(50)));
    faults.next(Operation::GetEntry, Fault::connection_lost());
    assert!(process.acquire(SCOPE, KEY, request("a")).await.is_err());
    rig.until_given_back().await;
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_away_for_a_while_does_not_cost_a_claim() {
    let rig = Rig::default();
    let (process, faults) = rig.faulty();
    let claim = claimed(&process).await;
    // Both tries to extend it at a third of its life fail, and one a little later does not.
    tokio::time::sleep(secs(19)).await;
    faults.always(Operation::ALL, &Fault::connection_lost());
    tokio::time::sleep(secs(30)).await;
    faults.heal();
    tokio::time::sleep(CLAIM_LIFE).await;
    assert!(matches!(ask(&rig.process()).await, Acquired::InProgress { .. }));
    assert_eq!(claim.complete("order 7").await.unwrap(), Completion::Stored);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_cannot_be_stored_at_once_is_stored_when_the_cache_is_back() {
    for down in [
        Fault::connection_lost(),
        Fault::Hang,
        Fault::LostRequest(ms(10)),
        Fault::LostReply(ms(10)),
    ] {
        let rig = Rig::default();
        let (process, faults) = rig.faulty();
        let claim = claimed(&process).await;
        faults.always(&[Operation::CompareAndSet], &down);
        let before = clock::now();
        assert!(claim.complete("order 7").await.is_err(), "{down:?}");
        assert!(clock::now() - before <= secs(1), "{down:?}");
        tokio::time::sleep(secs(20)).await;
        faults.heal();
        tokio::time::sleep(secs(7)).await;
        assert_eq!(replayed(&rig.process()).await, "order 7", "{down:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_the_completion_is_found_out() {
    let rig = Rig::default();
    let (process, faults) = rig.faulty();
    let claim = claimed(&process).await;
    faults.next(Operation::CompareAndSet, Fault::LostReply(ms(10)));
    assert!(claim.complete("order 7").await.is_err());
    assert_eq!(replayed(&rig.process()).await, "order 7");
    // The second try sees that the first arrived, and is the last.
    tokio::time::sleep(secs(1)).await;
    let calls = faults.all_calls();
    tokio::time::sleep(CLAIM_LIFE).await;
    assert_eq!(faults.all_calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_given_back_at_once_is_given_back_later() {
    let rig = Rig::default();
    let (process, faults) = rig.faulty();
    let claim = claimed(&process).await;
    faults.always(Operation::ALL, &Fault::connection_lost());
    assert!(claim.release().await.is_err());
    tokio::time::sleep(secs(20)).await;
    faults.heal();
    tokio::time::sleep(secs(6)).await;
    rig.until_given_back().await;
}

#[tokio::test(start_paused = true)]
async fn a_response_larger_than_the_backend_takes_is_not_kept_and_does_not_run_again() {
    let rig = Rig::default();
    let (process, faults) = rig.faulty();
    let claim = claimed(&process).await;
    let too_large = CacheError::InvalidInput {
        argument: "value",
        reason: "too large".into(),
    };
    faults.next(Operation::CompareAndSet, Fault::Error(too_large));
    assert_eq!(claim.complete("large").await.unwrap(), Completion::NotKept);
    assert!(matches!(ask(&process).await, Acquired::NotReplayable));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_record_is_an_error_and_stays() {
    let rig = Rig::default();
    for foreign in ["", "foreign", "\u{7f}"] {
        rig.memory
            .set(STORED_AT, foreign.into(), Ttl::Forever)
            .await
            .unwrap();
        let error = rig.process().acquire(SCOPE, KEY, request("a")).await.unwrap_err();
        assert!(matches!(error, CacheError::Corrupt { .. }), "{error}");
        assert_eq!(rig.memory.get(STORED_AT).await.unwrap(), foreign);
    }
}
