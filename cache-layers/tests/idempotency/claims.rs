//! The life of a claim: extended, dropped, expired, overtaken.

use std::sync::Arc;

use cache_core::{CacheClient as _, CacheError, MemoryCache};
use cache_layers::idempotency::{Acquired, Completion};
use cache_mock::{Fault, Operation};

use crate::rig::{CLAIM_LIFE, KEY, Rig, SCOPE, STORED_AT, ask, claimed, ms, over, replayed, request, secs};

#[tokio::test(start_paused = true)]
async fn a_long_run_keeps_its_claim() {
    let rig = Rig::default();
    let process = rig.process();
    let claim = claimed(&process).await;
    for _ in 0..28 {
        tokio::time::sleep(secs(30)).await;
        let retry = ask(&process).await;
        assert!(matches!(retry, Acquired::InProgress { .. }), "{retry:?}");
    }
    assert_eq!(claim.complete("late").await.unwrap(), Completion::Stored);
    assert_eq!(replayed(&process).await, "late");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hangs_gives_its_key_back_at_last() {
    let rig = Rig::default();
    let process = rig.process_with(|config| config.max_run(secs(300)));
    let hangs = claimed(&process).await;
    tokio::time::sleep(secs(300) + CLAIM_LIFE).await;
    let second = claimed(&process).await;
    assert_eq!(second.complete("second").await.unwrap(), Completion::Stored);
    assert_eq!(hangs.complete("first").await.unwrap(), Completion::Overtaken);
    assert_eq!(replayed(&process).await, "second");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_claim_is_given_back_in_the_background() {
    let rig = Rig::default();
    let process = rig.process();
    drop(claimed(&process).await);
    rig.until_given_back().await;
    drop(claimed(&process).await);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_it_runs_gives_the_claim_back() {
    let rig = Rig::default();
    let claim = claimed(&rig.process()).await;
    let run = tokio::spawn(async move {
        let _claim = claim;
        panic!("on purpose");
    });
    assert!(run.await.unwrap_err().is_panic());
    rig.until_given_back().await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_the_key_is_taken_leaves_no_claim_behind() {
    for step in 0..20 {
        let rig = Rig::default();
        let (process, faults) = rig.faulty();
        faults.next(Operation::SetIfAbsent, Fault::Delay(ms(10)));
        let left = tokio::time::timeout(ms(step), ask(&process)).await;
        if let Ok(acquired) = left {
            drop(acquired);
        }
        tokio::time::sleep(ms(20)).await;
        rig.until_given_back().await;
        assert_eq!(faults.pending(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_the_response_is_stored_has_it_stored() {
    let rig = Rig::default();
    let (process, faults) = rig.faulty();
    let claim = claimed(&process).await;
    faults.next(Operation::CompareAndSet, Fault::Delay(ms(100)));
    let left = tokio::time::timeout(ms(10), claim.complete("order 7")).await;
    assert!(left.is_err());
    tokio::time::sleep(ms(100)).await;
    assert_eq!(replayed(&process).await, "order 7");
}

#[tokio::test(start_paused = true)]
async fn a_late_completion_never_overwrites_a_newer_run() {
    let rig = Rig::default();
    let (cut_off, faults) = rig.faulty();
    let other = rig.process();
    let late = claimed(&cut_off).await;
    faults.always(Operation::ALL, &Fault::connection_lost());
    tokio::time::sleep(CLAIM_LIFE).await;
    let newer = claimed(&other).await;
    faults.heal();

    // While the newer one runs, and when it has run.
    assert_eq!(late.complete("late").await.unwrap(), Completion::Overtaken);
    let retry = ask(&other).await;
    assert!(matches!(retry, Acquired::InProgress { .. }), "{retry:?}");
    newer.complete("newer").await.unwrap();
    assert_eq!(replayed(&cut_off).await, "newer");
}

#[tokio::test(start_paused = true)]
async fn a_late_release_never_frees_a_newer_run() {
    let rig = Rig::default();
    let (cut_off, faults) = rig.faulty();
    let other = rig.process();
    let late = claimed(&cut_off).await;
    faults.always(Operation::ALL, &Fault::connection_lost());
    tokio::time::sleep(CLAIM_LIFE).await;
    let _newer = claimed(&other).await;
    faults.heal();
    late.release().await.unwrap();
    let retry = ask(&other).await;
    assert!(matches!(retry, Acquired::InProgress { .. }), "{retry:?}");
}

#[tokio::test(start_paused = true)]
async fn a_late_completion_is_stored_where_nobody_else_has_the_key() {
    let rig = Rig::default();
    let process = rig.process();
    let claim = claimed(&process).await;
    rig.memory.del(&[STORED_AT]).await.unwrap();
    assert_eq!(claim.complete("late").await.unwrap(), Completion::Stored);
    assert_eq!(replayed(&process).await, "late");
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_keeps_its_key_no_longer_than_a_claim_lives() {
    let memory = Arc::new(MemoryCache::default());
    let other = over(memory.clone(), |config| config);
    // What a killed process leaves behind is a record that nobody extends.
    drop(claimed(&other).await);
    let claim = claimed(&other).await;
    let record = memory.get(STORED_AT).await.unwrap();
    claim.release().await.unwrap();
    memory.set(STORED_AT, record, CLAIM_LIFE.into()).await.unwrap();

    tokio::time::sleep(CLAIM_LIFE - ms(1)).await;
    let retry = ask(&other).await;
    assert!(matches!(retry, Acquired::InProgress { .. }), "{retry:?}");
    tokio::time::sleep(ms(1)).await;
    drop(claimed(&other).await);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_never_polled_again_gives_its_claim_back() {
    let rig = Rig::default();
    let process = rig.process();
    let mut stuck = Box::pin(process.acquire(SCOPE, KEY, request("1")));
    assert!(futures::poll!(&mut stuck).is_pending());
    tokio::time::sleep(secs(2)).await;
    let again = process.acquire(SCOPE, KEY, request("1")).await.unwrap();
    assert!(matches!(again, Acquired::Run(_)), "{again:?}");
    let late = stuck.await;
    assert!(matches!(late, Err(CacheError::Timeout { .. })), "{late:?}");
}
