//! How long a process may not notice, and what asking costs.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheError, MemoryCache, clock};
use cache_layers::{Generations, GenerationsConfig};
use cache_mock::{Fault, FaultyCache, Operation};
use futures::future::join_all;
use futures::poll;

use crate::wire::Wire;
use crate::{NEAR, billing, over};

#[tokio::test(start_paused = true)]
async fn another_process_notices_at_once_where_changes_are_reported() {
    let memory = Arc::new(MemoryCache::default());
    let (here, there) = (over(memory.clone()), over(memory));
    there.current(&billing()).await.unwrap();
    let new = here.bump(&billing()).await.unwrap();
    assert_eq!(there.current(&billing()).await.unwrap(), new);
}

#[tokio::test(start_paused = true)]
async fn another_process_notices_within_the_near_life_where_they_are_not() {
    let memory = Arc::new(MemoryCache::default());
    let (here, there) = (over(memory.clone()), over(Wire::deaf(memory)));
    let old = there.current(&billing()).await.unwrap();
    let new = here.bump(&billing()).await.unwrap();
    tokio::time::sleep(NEAR - Duration::from_millis(1)).await;
    assert_eq!(there.current(&billing()).await.unwrap(), old, "kept near");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(there.current(&billing()).await.unwrap(), new);
}

#[tokio::test(start_paused = true)]
async fn who_stepped_itself_knows_at_once_also_where_it_was_not_told_that_it_did() {
    let cache = FaultyCache::new(Wire::deaf(Arc::new(MemoryCache::default())));
    let faults = cache.faults().clone();
    let generations = over(cache);
    let old = generations.current(&billing()).await.unwrap();
    let new = generations.bump(&billing()).await.unwrap();
    assert_ne!(new, old);
    assert_eq!(generations.current(&billing()).await.unwrap(), new);
    for _ in 0..2 {
        faults.next(Operation::Incr, Fault::LostReply(NEAR / 10));
    }
    generations.bump(&billing()).await.unwrap_err();
    assert_ne!(generations.current(&billing()).await.unwrap(), new);
}

#[tokio::test(start_paused = true)]
async fn with_no_near_life_every_call_asks() {
    let memory = Arc::new(MemoryCache::default());
    let config = GenerationsConfig::builder()
        .near_life(Duration::ZERO)
        .build()
        .unwrap();
    let asking = Generations::new(Arc::new(Wire::deaf(memory.clone())), config);
    for _ in 0..3 {
        let new = over(memory.clone()).bump(&billing()).await.unwrap();
        assert_eq!(asking.current(&billing()).await.unwrap(), new);
    }
}

#[tokio::test(start_paused = true)]
async fn the_near_life_counts_from_the_question_not_from_the_answer() {
    let memory = Arc::new(MemoryCache::default());
    let wire = Arc::new(Wire::deaf(memory.clone()));
    let (here, there) = (over(memory), over(wire.clone()));
    here.current(&billing()).await.unwrap();
    wire.delay_next_entry(400);
    let asked = clock::now();
    let old = there.current(&billing()).await.unwrap();
    let new = here.bump(&billing()).await.unwrap();
    tokio::time::sleep_until(asked + NEAR - Duration::from_millis(1)).await;
    assert_eq!(there.current(&billing()).await.unwrap(), old);
    tokio::time::sleep_until(asked + NEAR).await;
    assert_eq!(there.current(&billing()).await.unwrap(), new);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_overtakes_the_answer_is_not_missed() {
    let memory = Arc::new(MemoryCache::default());
    let wire = Arc::new(Wire::new(memory.clone()));
    let (here, there) = (over(memory), over(wire.clone()));
    here.current(&billing()).await.unwrap();
    wire.delay_next_entry(50);
    let namespace = billing();
    let (seen, new) = tokio::join!(there.current(&namespace), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        here.bump(&namespace).await.unwrap()
    });
    assert_eq!(seen.unwrap(), new);
    assert_eq!(there.current(&namespace).await.unwrap(), new);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_ask_once_per_near_life() {
    let memory = Arc::new(MemoryCache::default());
    over(memory.clone()).current(&billing()).await.unwrap();
    let cache = FaultyCache::new(memory);
    let faults = cache.faults().clone();
    faults.always(&[Operation::GetEntry], &Fault::Delay(Duration::from_millis(5)));
    let generations = over(cache);
    for round in 1..=3 {
        let namespace = billing();
        let calls = join_all((0..100).map(|_| generations.current(&namespace))).await;
        assert!(calls.into_iter().all(|call| call.is_ok()));
        assert_eq!(faults.calls(Operation::GetEntry), round);
        tokio::time::sleep(NEAR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_leaves_strands_nobody() {
    let cache = FaultyCache::new(MemoryCache::default());
    cache
        .faults()
        .next(Operation::GetEntry, Fault::Delay(Duration::from_millis(50)));
    let generations = over(cache);
    let namespace = billing();
    let (left, stayed) = tokio::join!(
        tokio::time::timeout(Duration::from_millis(5), generations.current(&namespace)),
        generations.current(&namespace),
    );
    assert!(left.is_err());
    assert!(stayed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_cannot_say_is_an_error_and_not_the_last_generation_known() {
    let cache = FaultyCache::new(MemoryCache::default());
    let faults = cache.faults().clone();
    let generations = over(cache);
    generations.current(&billing()).await.unwrap();
    faults.always(Operation::ALL, &Fault::connection_lost());
    assert!(generations.current(&billing()).await.is_ok(), "kept near");
    tokio::time::sleep(NEAR).await;
    assert!(generations.current(&billing()).await.unwrap_err().is_transient());
}

#[tokio::test(start_paused = true)]
async fn every_call_ends_by_its_deadline_however_many_wait() {
    let cache = FaultyCache::new(Wire::deaf(Arc::new(MemoryCache::default())));
    let faults = cache.faults().clone();
    let generations = over(cache);
    faults.always(Operation::ALL, &Fault::LostRequest(Duration::from_secs(3)));
    let before = clock::now();
    for result in join_all((0..50).map(|_| async { generations.current(&billing()).await })).await {
        assert!(matches!(result, Err(CacheError::Timeout { .. })), "{result:?}");
    }
    assert_eq!(clock::now() - before, Duration::from_millis(500));
    assert_eq!(faults.calls(Operation::GetEntry), 1, "one read for all");
    assert!(generations.bump(&billing()).await.is_err());
    assert!(generations.existing(&billing()).await.is_err());
    assert_eq!(clock::now() - before, Duration::from_millis(1_500));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_never_polled_again_holds_up_nobody() {
    let cache = FaultyCache::new(Wire::deaf(Arc::new(MemoryCache::default())));
    let faults = cache.faults().clone();
    let generations = over(cache);
    generations.bump(&billing()).await.unwrap();
    faults.always(Operation::ALL, &Fault::Delay(Duration::from_millis(50)));
    let namespace = billing();
    let mut stuck = pin!(generations.current(&namespace));
    assert!(poll!(stuck.as_mut()).is_pending());
    let before = clock::now();
    generations.current(&namespace).await.unwrap();
    assert_eq!(clock::now() - before, Duration::from_millis(50));
}
