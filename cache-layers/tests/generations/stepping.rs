//! A step makes all old keys unreachable, in one namespace and no other.

use std::sync::Arc;

use cache_core::{CacheClient, CacheClientExt, MemoryCache, Ttl};
use cache_mock::{Fault, FaultyCache, Operation};
use futures::future::join_all;

use crate::{COUNTER, billing, over};

#[tokio::test(start_paused = true)]
async fn after_a_bump_no_old_key_is_found_and_its_pattern_covers_just_these() {
    let memory = Arc::new(MemoryCache::default());
    let generations = over(memory.clone());
    let old = generations.current(&billing()).await.unwrap();
    let old_keys: Vec<_> = (0..100)
        .map(|number| old.keys().key([number.to_string()]))
        .collect();
    for key in &old_keys {
        memory.set(key, "old".into(), Ttl::Forever).await.unwrap();
    }
    let new = generations.bump(&billing()).await.unwrap();
    assert_eq!(new.number(), old.number() + 1);
    assert_eq!(generations.current(&billing()).await.unwrap(), new);
    let pattern = new.previous().pattern_all();
    for (number, old_key) in old_keys.iter().enumerate() {
        let key = new.keys().key([number.to_string()]);
        assert_eq!(memory.find(&key).await.unwrap(), None);
        assert!(pattern.matches(old_key.as_bytes()));
        assert!(!pattern.matches(key.as_bytes()));
    }
    assert!(!pattern.matches(COUNTER.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn namespaces_step_for_themselves() {
    let generations = over(MemoryCache::default());
    let (acme, globex) = (
        billing().tenant("acme").unwrap(),
        billing().tenant("globex").unwrap(),
    );
    let before = [
        generations.current(&acme).await.unwrap(),
        generations.current(&globex).await.unwrap(),
    ];
    generations.bump(&acme).await.unwrap();
    assert_ne!(generations.current(&acme).await.unwrap(), before[0]);
    assert_eq!(generations.current(&globex).await.unwrap(), before[1]);
    let counter = acme.prefix() + "#generation";
    let slot = cache_core::slot::slot_of;
    assert_eq!(slot(counter.as_bytes()), slot(b"acme"));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_has_a_generation_already_is_the_same_namespace() {
    let generations = over(MemoryCache::default());
    let now = generations.current(&billing()).await.unwrap();
    for given in [billing().generation(7), now.keys().clone()] {
        assert_eq!(generations.current(&given).await.unwrap(), now);
    }
    // A tenant within a generation is one of its own.
    let tenant = now.keys().tenant("acme").unwrap();
    let theirs = generations.current(&tenant).await.unwrap();
    assert!(theirs.keys().prefix().starts_with(&now.keys().prefix()));
}

#[tokio::test(start_paused = true)]
async fn steps_at_the_same_time_are_all_made() {
    let memory = Arc::new(MemoryCache::default());
    let processes: Vec<_> = (0..4).map(|_| over(memory.clone())).collect();
    let first = processes[0].current(&billing()).await.unwrap().number();
    let namespace = billing();
    let bumps = (0..100_usize).map(|number| processes[number % 4].bump(&namespace));
    let mut numbers: Vec<_> = join_all(bumps)
        .await
        .into_iter()
        .map(|bumped| bumped.unwrap().number())
        .collect();
    numbers.sort_unstable();
    let expected: Vec<_> = (first + 1..=first + 100).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_reply_was_lost_is_made_again() {
    let cache = FaultyCache::new(MemoryCache::default());
    let faults = cache.faults().clone();
    let generations = over(cache);
    let old = generations.current(&billing()).await.unwrap();
    for fault in [
        Fault::LostReply(super::NEAR / 5),
        Fault::LostRequest(super::NEAR / 5),
    ] {
        faults.next(Operation::Incr, fault);
        let new = generations.bump(&billing()).await.unwrap();
        assert!(new.number() > old.number());
    }
    faults.next(Operation::Incr, Fault::connection_lost());
    assert!(generations.bump(&billing()).await.unwrap_err().is_transient());
}
