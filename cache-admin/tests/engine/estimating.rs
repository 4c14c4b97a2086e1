//! Estimates: what is drawn, what is counted after all, and that the range holds.

use std::sync::Arc;

use cache_admin::{Engine, KeyType, MemoryKeys, Method, Options, Selection};
use cache_core::{CacheClient as _, MemoryCache, Pattern, Ttl};

use crate::simulated::{Change, Simulated};

fn pattern(text: &str) -> Selection {
    let pattern = Pattern::new(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    Selection::new(pattern)
}

/// 3,000 keys in many slots, and 3,000 in the one of a hash tag.
fn cluster() -> Simulated {
    Simulated::cluster(3)
        .by_slot()
        .with_keys((0..3_000).map(|number| format!("k:{number}")))
        .with_keys((0..3_000).map(|number| format!("big:{{acme}}:{number}")))
}

/// Each range holds 95 times in 100: 30 of 40 is less than ever happens.
#[tokio::test(start_paused = true)]
async fn the_range_holds_also_where_one_slot_has_half_of_the_keys() {
    let cluster = cluster();
    let engine = Engine::new(cluster.clone());
    let mut held = 0;
    for _ in 0..40 {
        let estimate = engine
            .estimate(pattern("big:*"), 500, &Options::default())
            .await
            .unwrap();
        assert!(matches!(estimate.method, Method::Drawn { keys: 497..=500, .. }));
        assert_eq!(estimate.keys, 6_000);
        assert!(estimate.range.contains(&estimate.matched));
        let width = estimate.range.end() - estimate.range.start();
        assert!((400..700).contains(&width), "{estimate:?}");
        held += u32::from(estimate.range.contains(&3_000));
    }
    assert!(held >= 30, "{held} of 40");
    let world = cluster.world();
    assert_eq!(
        (world.scanned.len(), world.drawn <= 40 * 500),
        (0, true),
        "{}",
        world.drawn
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_few_or_pinned_to_a_slot_is_counted() {
    let cluster = cluster();
    let engine = Engine::new(cluster.clone());
    for (text, budget, matched) in [("k:*", 6_000, 3_000), ("big:{acme}:*", 10, 3_000)] {
        let estimate = engine
            .estimate(pattern(text), budget, &Options::default())
            .await
            .unwrap();
        assert_eq!(estimate.method, Method::Counted, "{text}");
        assert_eq!(
            (estimate.matched, estimate.range),
            (matched, matched..=matched),
            "{text}"
        );
    }
    assert_eq!(cluster.world().drawn, 0);
    assert_eq!(cluster.reachable().len(), 6_000);
}

#[tokio::test(start_paused = true)]
async fn filters_hold_for_what_is_drawn() {
    let cluster = Simulated::cluster(3)
        .with_keys((0..2_000).map(|number| format!("k:hash:{number}")))
        .with_keys((0..2_000).map(|number| format!("k:text:{number}")));
    let engine = Engine::new(cluster);
    let hashes = pattern("k:*").with_types([KeyType::Hash]);
    let estimate = engine.estimate(hashes, 1_000, &Options::default()).await.unwrap();
    // Half of them, with a standard deviation of 63.
    assert!((1_600..=2_400).contains(&estimate.matched), "{estimate:?}");
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_does_not_answer_is_an_error_and_not_a_smaller_number() {
    let cluster = cluster();
    cluster.now(Change::Stop(1));
    let engine = Engine::new(cluster);
    for budget in [100, 1_000_000] {
        assert!(
            engine
                .estimate(pattern("k:*"), budget, &Options::default())
                .await
                .is_err()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_embedded_client_is_counted() {
    let cache = Arc::new(MemoryCache::default());
    for number in 0..300 {
        cache
            .set(&format!("k:{number}"), "v".into(), Ttl::Forever)
            .await
            .unwrap();
    }
    let engine = Engine::new(MemoryKeys::new(cache));
    let estimate = engine
        .estimate(pattern("k:1*"), 10, &Options::default())
        .await
        .unwrap();
    assert_eq!((estimate.matched, estimate.method), (111, Method::Counted));
    assert_eq!(estimate.range, 111..=111);
}
