//! A counter that is lost never leads back to an old generation.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, CacheError, MemoryCache, Ttl};
use cache_layers::{Generations, GenerationsConfig, WallClock};
use futures::future::join_all;

use crate::{COUNTER, billing, over};

/// A clock that stands still: at zero, as that of a machine that always starts in 1970.
#[derive(Debug)]
struct Stopped(Duration);

impl WallClock for Stopped {
    fn since_epoch(&self) -> Duration {
        self.0
    }
}

fn stopped(at: Duration) -> GenerationsConfig {
    let config = GenerationsConfig::builder().clock(Arc::new(Stopped(at)));
    config.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lost_counter_begins_at_a_number_that_was_not_used() {
    for config in [GenerationsConfig::default(), stopped(Duration::ZERO)] {
        let memory = Arc::new(MemoryCache::default());
        let generations = Generations::new(memory.clone(), config);
        let mut seen = HashSet::new();
        for round in 0..50 {
            let generation = if round % 2 == 0 {
                generations.current(&billing()).await.unwrap()
            } else {
                generations.bump(&billing()).await.unwrap()
            };
            assert!(seen.insert(generation.number()), "used before");
            for _ in 0..3 {
                let next = generations.bump(&billing()).await.unwrap();
                assert!(seen.insert(next.number()), "used before");
            }
            assert_eq!(memory.del(&[COUNTER]).await.unwrap(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_counter_begins_beyond_all_numbers_before_by_the_time_of_day() {
    let memory = Arc::new(MemoryCache::default());
    let mut before = 0;
    for second in [1_800_000_000, 1_800_000_001] {
        let now = Duration::from_secs(second);
        let generations = Generations::new(memory.clone(), stopped(now));
        let begun = generations.current(&billing()).await.unwrap().number();
        assert_eq!(u128::from(begun >> 20), now.as_millis());
        assert!(begun > before);
        before = generations.bump(&billing()).await.unwrap().number();
        memory.del(&[COUNTER]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_is_noticed() {
    let memory = Arc::new(MemoryCache::default());
    let generations = over(memory.clone());
    let old = generations.current(&billing()).await.unwrap();
    memory.del(&[COUNTER]).await.unwrap();
    let new = generations.current(&billing()).await.unwrap();
    assert_ne!(new.number(), old.number());
}

#[tokio::test(start_paused = true)]
async fn all_who_find_no_counter_agree_on_one() {
    let memory = Arc::new(MemoryCache::default());
    let processes: Vec<_> = (0..20).map(|_| over(memory.clone())).collect();
    let namespace = billing();
    let found = join_all(processes.iter().map(|process| process.current(&namespace))).await;
    let numbers: HashSet<_> = found.into_iter().map(|found| found.unwrap().number()).collect();
    assert_eq!(numbers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_of_somebody_who_died_before_the_counter_was_made_is_made_good() {
    let memory = Arc::new(MemoryCache::default());
    // What `incr` leaves behind where there is no counter.
    memory.incr(COUNTER).await.unwrap();
    assert_eq!(over(memory.clone()).existing(&billing()).await.unwrap(), None);
    let found = over(memory.clone()).current(&billing()).await.unwrap();
    assert!(found.number() > 1 << 40);
    assert_eq!(over(memory).current(&billing()).await.unwrap(), found);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_counter_is_an_error_and_stays_as_it_is() {
    let memory = Arc::new(MemoryCache::default());
    memory.set(COUNTER, "seven".into(), Ttl::Forever).await.unwrap();
    let generations = over(memory.clone());
    let error = generations.current(&billing()).await.unwrap_err();
    assert!(matches!(error, CacheError::Corrupt { .. }), "{error}");
    assert!(generations.bump(&billing()).await.is_err());
    assert_eq!(memory.get(COUNTER).await.unwrap(), "seven");
}
