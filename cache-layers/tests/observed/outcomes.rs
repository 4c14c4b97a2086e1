//! What a call is counted as.

use std::time::Duration;

use cache_core::{CacheClient as _, MemoryCache, Ttl};
use cache_layers::ObservedConfig;
use cache_layers::observed::{Tier, Timing};
use cache_mock::{Fault, Operation};

use crate::every_call::{KEY, OTHER_KEY, VALUE, observed};
use crate::rig::Rig;

const FOREVER: Ttl = Ttl::Forever;

#[tokio::test]
async fn a_read_is_a_hit_or_a_miss() {
    let rig = Rig::new();
    let cache = rig.observe(Tier::Edge, MemoryCache::default());
    cache.get(KEY).await.unwrap_err();
    cache.set(KEY, VALUE.into(), FOREVER).await.unwrap();
    cache.get(KEY).await.unwrap();
    cache.get(KEY).await.unwrap();
    cache.get_entry(KEY).await.unwrap();
    cache.ttl(OTHER_KEY).await.unwrap_err();
    assert!(!cache.expire(OTHER_KEY, FOREVER).await.unwrap());
    let expected = [
        ("hit edge get", 2),
        ("hit edge get_entry", 1),
        ("miss edge expire", 1),
        ("miss edge get", 1),
        ("miss edge ttl", 1),
        ("ok edge set", 1),
    ];
    let counted = rig.values("cache.operations");
    assert_eq!(counted, expected.map(|(labels, n)| (labels.to_owned(), n)).into());
    assert_eq!(
        rig.values("cache.operation.duration"),
        counted,
        "all of them were timed"
    );
}

#[tokio::test]
async fn a_batch_is_a_hit_where_all_keys_are() {
    let rig = Rig::new();
    let cache = rig.observe(Tier::Edge, MemoryCache::default());
    cache.set(KEY, VALUE.into(), FOREVER).await.unwrap();
    cache.get_many(&[KEY, KEY]).await.unwrap();
    cache.get_many(&[KEY, OTHER_KEY, "c"]).await.unwrap();
    cache.get_many(&[OTHER_KEY, "d"]).await.unwrap();
    cache.get_many(&[]).await.unwrap();
    cache.get(KEY).await.unwrap();
    cache.get_entry(KEY).await.unwrap();
    let expected = [
        ("hit edge get", 1),
        ("hit edge get_entry", 1),
        ("hit edge get_many", 1),
        ("miss edge get_many", 1),
        ("ok edge get_many", 1),
        ("ok edge set", 1),
        ("partial edge get_many", 1),
    ];
    assert_eq!(
        rig.values("cache.operations"),
        expected.map(|(labels, n)| (labels.to_owned(), n)).into()
    );
    // Key by key, two of the second batch were misses.
    assert_eq!(
        rig.values("cache.lookups"),
        [("hit edge".to_owned(), 5), ("miss edge".to_owned(), 4)].into()
    );
}

#[tokio::test]
async fn call_for_each_key_is_one_call_with_its_failed_keys() {
    let rig = Rig::new();
    let (cache, faults) = observed(&rig, Tier::Far);
    let entries = [(KEY, VALUE.into(), FOREVER), (OTHER_KEY, VALUE.into(), FOREVER)];
    cache.set_each(&entries).await;
    cache.get_each(&[KEY, OTHER_KEY]).await;
    cache.get_each(&[KEY, "none"]).await;
    cache.get_each(&["none"]).await;
    cache.get_each(&[]).await;
    cache.get_each(&[KEY, "none", ""]).await;
    faults.next(Operation::GetEach, Fault::connection_lost());
    cache.get_each(&[KEY, "none"]).await;
    faults.next(Operation::SetEach, Fault::connection_lost_after(1));
    cache.set_each(&entries).await;
    cache.get_and_expire(KEY, FOREVER).await.unwrap();
    cache.get_and_delete(KEY).await.unwrap();
    cache.get_and_delete(KEY).await.unwrap_err();
    let expected = [
        ("error far get_each unavailable", 1),
        ("hit far get_and_delete", 1),
        ("hit far get_and_expire", 1),
        ("hit far get_each", 1),
        ("miss far get_and_delete", 1),
        ("miss far get_each", 1),
        ("ok far get_each", 1),
        ("ok far set_each", 1),
        ("partial far get_each", 1),
        ("partial_failure far get_each", 1),
        ("partial_failure far set_each", 1),
    ];
    assert_eq!(
        rig.values("cache.operations"),
        expected.map(|(labels, n)| (labels.to_owned(), n)).into()
    );
    assert_eq!(
        rig.values("cache.failed_keys"),
        [("far get_each".to_owned(), 3), ("far set_each".to_owned(), 1)].into()
    );
    // Of the keys that have an answer: 2 + 1 + 1 + 2 hits, 1 + 1 + 1 + 1 misses.
    assert_eq!(
        rig.values("cache.lookups"),
        [("hit far".to_owned(), 6), ("miss far".to_owned(), 4)].into()
    );
}

#[tokio::test]
async fn a_conditional_write_is_ok_or_unmet() {
    let rig = Rig::new();
    let cache = rig.observe(Tier::Edge, MemoryCache::default());
    for expected in [true, false] {
        let done = cache.set_if_absent(KEY, VALUE.into(), FOREVER).await.unwrap();
        assert_eq!(done, expected);
    }
    assert!(
        !cache
            .compare_and_set(KEY, b"no", VALUE.into(), FOREVER)
            .await
            .unwrap()
    );
    assert!(!cache.compare_and_delete(KEY, b"no").await.unwrap());
    let expected = [
        ("ok edge set_if_absent", 1),
        ("unmet edge compare_and_delete", 1),
        ("unmet edge compare_and_set", 1),
        ("unmet edge set_if_absent", 1),
    ];
    assert_eq!(
        rig.values("cache.operations"),
        expected.map(|(labels, n)| (labels.to_owned(), n)).into()
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_counted_by_its_kind_and_timed() {
    let rig = Rig::new();
    let (cache, faults) = observed(&rig, Tier::Far);
    faults.next(Operation::Get, Fault::connection_lost());
    faults.next(Operation::Get, Fault::LostReply(Duration::from_secs(3)));
    for _ in 0..2 {
        cache.get(KEY).await.unwrap_err();
    }
    cache.set(KEY, VALUE.into(), FOREVER).await.unwrap();
    cache.incr(KEY).await.unwrap_err();
    cache.get("").await.unwrap_err();
    let counted = rig.values("cache.operations");
    for labels in [
        "error far get unavailable",
        "error far get timeout",
        "error far incr rejected",
        "error far get invalid_input",
    ] {
        assert_eq!(counted.get(labels), Some(&1), "{labels} in {counted:?}");
    }
    let points = rig.points();
    let timeout = points
        .iter()
        .find(|point| {
            point.metric == "db.client.operation.duration"
                && point
                    .labels
                    .get("error.type")
                    .is_some_and(|kind| kind == "timeout")
        })
        .expect("the duration of the failure");
    assert!((timeout.seconds - 3.0).abs() < 0.01, "{timeout:?}");
    assert_eq!(timeout.labels["db.system.name"], "memory");
}

#[tokio::test]
async fn at_an_edge_that_stands_on_a_system_calls_are_what_that_system_was_asked() {
    let rig = Rig::new();
    let config = ObservedConfig::builder().system("valkey");
    let cache = rig.observe_as(config, MemoryCache::default());
    cache.get("key").await.unwrap_err();
    let points = rig.points();
    let timed: Vec<_> = points
        .iter()
        .filter(|point| point.metric.ends_with("duration"))
        .collect();
    assert_eq!(timed.len(), 1, "every call is timed, once: {timed:?}");
    assert_eq!(timed[0].metric, "db.client.operation.duration");
    assert_eq!(timed[0].labels["db.system.name"], "valkey");
    assert_eq!(timed[0].labels["cache.tier"], "edge");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_future_is_dropped_is_cancelled_and_one_never_polled_is_none() {
    let rig = Rig::new();
    let (cache, faults) = observed(&rig, Tier::Far);
    faults.next(Operation::Get, Fault::Hang);
    tokio::time::timeout(Duration::from_millis(250), cache.get(KEY))
        .await
        .unwrap_err();
    drop(cache.set(KEY, VALUE.into(), FOREVER));
    assert_eq!(
        rig.values("cache.operations"),
        [("cancelled far get".to_owned(), 1)].into()
    );
    let points = rig.points();
    let duration = points
        .iter()
        .find(|point| point.instrument == "histogram")
        .unwrap();
    assert!((duration.seconds - 0.25).abs() < 0.01, "{duration:?}");
}

#[tokio::test]
async fn a_sample_of_the_calls_is_timed_and_all_are_counted() {
    let rig = Rig::new();
    let cache = rig.observe_with(Tier::Edge, Timing::OneIn(16), MemoryCache::default());
    for _ in 0..32_000 {
        cache.get(KEY).await.unwrap_err();
    }
    assert_eq!(
        rig.values("cache.operations"),
        [("miss edge get".to_owned(), 32_000)].into()
    );
    let timed = rig.values("cache.operation.duration")["miss edge get"];
    assert!((1_700..2_300).contains(&timed), "{timed} of 32000");
}

#[tokio::test]
async fn layers_of_the_same_tier_count_together_and_their_counts_outlive_them() {
    let rig = Rig::new();
    for round in 1..=3 {
        let cache = rig.observe(Tier::Edge, MemoryCache::default());
        cache.ping().await.unwrap();
        drop(cache);
        assert_eq!(
            rig.values("cache.operations"),
            [("ok edge ping".to_owned(), round)].into()
        );
    }
}

#[tokio::test]
async fn without_a_meter_provider_calls_work_all_the_same() {
    let config = cache_layers::ObservedConfig::builder().build().unwrap();
    let cache = cache_layers::Observed::new(std::sync::Arc::new(MemoryCache::default()), config);
    cache.set(KEY, VALUE.into(), FOREVER).await.unwrap();
    assert_eq!(cache.get(KEY).await.unwrap(), VALUE);
}
