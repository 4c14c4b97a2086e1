//! Dry runs: nothing is removed, the count is right, the sample is one.

use std::collections::HashSet;

use cache_admin::{Engine, Options, Outcome};
use cache_core::{Pattern, slot::slot_of};

use crate::simulated::{Change, Simulated};

fn cluster() -> Simulated {
    Simulated::cluster(3)
        .with_keys((0..900).map(|number| format!("k:{number}")))
        .with_keys((0..100).map(|number| format!("other:{number}")))
}

#[tokio::test(start_paused = true)]
async fn a_count_is_exact_and_removes_nothing() {
    let cluster = cluster();
    let pattern = Pattern::new("k:*").unwrap();
    let counted = Engine::new(cluster.clone())
        .count(&pattern, 10, &Options::default().with_page_size(10))
        .await;
    assert!(matches!(counted.report.outcome, Outcome::Complete));
    assert_eq!(
        (counted.report.total().matched, counted.report.total().removed),
        (900, 0)
    );
    assert_eq!(counted.report.passes, 1);
    assert_eq!(cluster.reachable().len(), 1_000);
    let sample: HashSet<_> = counted.sample.iter().collect();
    assert_eq!(sample.len(), 10);
    assert!(sample.iter().all(|key| pattern.matches(key)));
}

#[tokio::test(start_paused = true)]
async fn the_sample_is_drawn_from_all_primaries() {
    let counted = Engine::new(cluster())
        .count(&Pattern::all(), 60, &Options::default())
        .await;
    let thirds: HashSet<_> = counted.sample.iter().map(|key| slot_of(key) / 5_462).collect();
    assert_eq!(
        thirds.len(),
        3,
        "60 keys all from fewer than three primaries: a chance of 1 in 10^10"
    );
}

#[tokio::test(start_paused = true)]
async fn a_walk_that_starts_anew_does_not_count_twice() {
    for at in (1..120).step_by(2) {
        let cluster = cluster().at(at, Change::Stop(0)).at(at + 1, Change::Start(0));
        let options = Options::default().with_page_size(10);
        let counted = Engine::new(cluster)
            .count(&Pattern::new("k:*").unwrap(), 900, &options)
            .await;
        assert!(matches!(counted.report.outcome, Outcome::Complete));
        assert_eq!(counted.report.total().matched, 900, "at {at}");
        let sample: HashSet<_> = counted.sample.iter().collect();
        assert_eq!((counted.sample.len(), sample.len()), (900, 900), "at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_slots_that_a_primary_does_not_serve_are_orphans() {
    let cluster = cluster();
    let owner = cluster.world().owner_of(slot_of(b"k:lost")).unwrap();
    let cluster = cluster.with_orphan((owner + 1) % 3, "k:lost");
    let counted = Engine::new(cluster)
        .count(&Pattern::all(), 0, &Options::default())
        .await;
    assert_eq!(
        (counted.report.total().matched, counted.report.total().orphans),
        (1_000, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_all_primaries_are_counted_together() {
    let cluster = cluster();
    assert_eq!(Engine::new(cluster.clone()).key_count().await.unwrap(), 1_000);
    cluster.now(Change::Stop(1));
    assert!(Engine::new(cluster).key_count().await.is_err());
}
