//! Several patterns in one pass, and filters.

use std::time::Duration;

use bytes::Bytes;
use cache_admin::{Engine, KeyType, Life, MemoryKeys, Options, Outcome, Selection};
use cache_core::{CacheClient as _, MemoryCache, Pattern, Ttl};

use crate::simulated::{Change, Simulated};

#[expect(clippy::unwrap_used, reason = "texts that are patterns")]
fn patterns(texts: &[&str]) -> Selection {
    Selection::any_of(texts.iter().map(|text| Pattern::new(*text).unwrap())).unwrap()
}

fn keys() -> Vec<String> {
    let kinds = ["a", "b", "c"];
    let natures = ["plain", "hash", "short", "forever", "hash:short"];
    let named = |number: usize| format!("{}:{}:{number}", kinds[number % 3], natures[number % 5]);
    (0..900).map(named).collect()
}

async fn left_after(cluster: Simulated, selection: Selection) -> Vec<Bytes> {
    let before = cluster.reachable().len();
    let options = Options::default().with_page_size(50);
    let report = Engine::new(cluster.clone()).invalidate(selection, &options).await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    let left = cluster.reachable();
    assert_eq!(u64::try_from(before - left.len()), Ok(report.total().removed));
    assert_eq!(report.total().matched, report.total().removed);
    left
}

#[tokio::test(start_paused = true)]
async fn several_patterns_are_removed_in_one_pass() {
    for by_slot in [false, true] {
        let cluster = Simulated::cluster(3);
        let cluster = if by_slot { cluster.by_slot() } else { cluster };
        let left = left_after(cluster.with_keys(keys()), patterns(&["a:*", "c:hash*"])).await;
        assert!(
            left.iter()
                .all(|key| !key.starts_with(b"a:") && !key.starts_with(b"c:hash"))
        );
        assert_eq!(left.len(), 900 - 300 - 120);
    }
}

#[tokio::test(start_paused = true)]
async fn several_hash_tags_are_asked_of_their_primaries_and_count_once() {
    for by_slot in [false, true] {
        let tagged = (0..40).map(|number| format!("{{one}}:x{number}"));
        let others = (0..40).map(|number| format!("{{two}}:x{number}"));
        let cluster = Simulated::cluster(3);
        let cluster = if by_slot { cluster.by_slot() } else { cluster };
        let cluster = cluster.with_keys(keys()).with_keys(tagged).with_keys(others);
        let selection = patterns(&["{one}:x*", "{one}:*", "{two}:x1*"]);
        let counted = Engine::new(cluster.clone())
            .count(&selection, 0, &Options::default().with_page_size(50))
            .await;
        assert_eq!(counted.report.total().matched, 40 + 11, "by slot: {by_slot}");
        assert!(counted.report.primaries.len() <= 2);
        assert_eq!(left_after(cluster, selection).await.len(), 900 + 29);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_go_only_where_every_filter_lets_them() {
    let has = |key: &Bytes, word: &str| String::from_utf8_lossy(key).contains(word);
    let cluster = || Simulated::cluster(3).with_keys(keys());
    let all = || Selection::new(Pattern::all());

    let left = left_after(cluster(), all().with_types([KeyType::Hash])).await;
    assert_eq!(left.len(), 540);
    assert!(left.iter().all(|key| !has(key, "hash")));

    let seconds = Duration::ZERO..=Duration::from_secs(10);
    let left = left_after(cluster(), all().with_life(Life::Within(seconds.clone()))).await;
    assert_eq!(left.len(), 540);
    assert!(left.iter().all(|key| !has(key, "short")));

    let both = all()
        .with_life(Life::Within(seconds))
        .with_types([KeyType::Hash, KeyType::Set]);
    let left = left_after(cluster(), both).await;
    assert_eq!(left.len(), 720);
    assert!(left.iter().all(|key| !has(key, "hash:short")));

    let left = left_after(cluster(), all().with_life(Life::Forever).with_size(0..=12)).await;
    assert!(left.iter().all(|key| !has(key, "forever") || key.len() > 12));
    assert!(left.iter().any(|key| has(key, "forever")));
}

#[tokio::test(start_paused = true)]
async fn a_filter_follows_keys_that_hop() {
    let slot = cache_core::slot::slot_of(b"moving");
    for at in (1..60).step_by(3) {
        let names = ["hash", "plain"];
        let cluster = Simulated::cluster(3)
            .with_keys((0..40).map(|number| format!("{}:{{moving}}:{number}", names[number % 2])));
        let to = (cluster.world().owner_of(slot).unwrap() + 1) % 3;
        let mut cluster = cluster.at(at, Change::Begin { slot, to });
        for hop in 0..20 {
            cluster = cluster.at(
                at + hop,
                Change::Hop {
                    slot,
                    nth: 7 * usize::try_from(hop).unwrap(),
                },
            );
        }
        let cluster = cluster.at(at + 25, Change::End { slot });
        let selection = Selection::new(Pattern::all())
            .with_life(Life::Within(Duration::ZERO..=Duration::from_secs(1_000)));
        let selection = selection.with_types([KeyType::Hash, KeyType::List]);
        let report = Engine::new(cluster.clone())
            .invalidate(&selection, &Options::default().with_page_size(3))
            .await;
        assert!(matches!(report.outcome, Outcome::Complete), "at {at}: {report:?}");
        let left = cluster.reachable();
        assert_eq!(left.len(), 20, "at {at}");
        assert!(left.iter().all(|key| key.starts_with(b"plain")), "at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_on_one_key_does_not_remove_it_to_find_out_where_it_is() {
    let cluster = Simulated::cluster(3).with_keys(["plain"]);
    let selection = Selection::new(Pattern::new("plain").unwrap()).with_types([KeyType::Hash]);
    assert_eq!(left_after(cluster, selection).await, ["plain"]);
}

#[tokio::test(start_paused = true)]
async fn the_embedded_cache_filters_what_it_knows() {
    let cache = std::sync::Arc::new(MemoryCache::default());
    cache.set("short", "".into(), Ttl::secs(5)).await.unwrap();
    cache.set("forever", "".into(), Ttl::Forever).await.unwrap();
    let engine = Engine::new(MemoryKeys::new(cache.clone()));
    let all = || Selection::new(Pattern::all());
    let none = engine
        .invalidate(all().with_types([KeyType::Hash]), &Options::default())
        .await;
    assert_eq!((none.total().removed, cache.len()), (0, 2));
    let unknown = engine
        .invalidate(all().with_size(0..=5), &Options::default())
        .await;
    let Outcome::Failed { error } = &unknown.outcome else {
        panic!("{unknown:?}")
    };
    assert_eq!(error.kind(), "unsupported");
    let strings = all()
        .with_life(Life::Forever)
        .with_types([KeyType::String, KeyType::Set]);
    let report = engine.invalidate(strings, &Options::default()).await;
    assert!(matches!(report.outcome, Outcome::Complete));
    assert_eq!(
        (report.total().removed, cache.exists(&["short"]).await.unwrap()),
        (1, 1)
    );
}
