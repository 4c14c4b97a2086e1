//! A cluster at rest: what matches goes, what does not stays, and the numbers add up.

use bytes::Bytes;
use cache_admin::{Engine, Options, Outcome};
use cache_core::{Pattern, slot::slot_of};

use crate::simulated::Simulated;

fn keys(prefix: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{prefix}:{number}"))
}

#[tokio::test(start_paused = true)]
async fn every_matching_key_goes_from_every_primary_and_no_other() {
    let cluster = Simulated::cluster(3)
        .with_keys(keys("a", 3_000))
        .with_keys(keys("b", 2_000));
    let before = cluster.sizes();
    let options = Options::default().with_page_size(100);
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::new("a:*").unwrap(), &options)
        .await;

    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(report.passes, 2, "one to remove, one to verify");
    let total = report.total();
    assert_eq!((total.matched, total.removed, total.late), (3_000, 3_000, 0));
    assert_eq!(cluster.reachable().len(), 2_000);
    assert!(cluster.reachable().iter().all(|key| key.starts_with(b"b:")));
    for ((primary, before), after) in report.primaries.iter().zip(before).zip(cluster.sizes()) {
        assert_eq!(primary.keys_before, Some(u64::try_from(before).unwrap()));
        assert_eq!(primary.keys_after, Some(u64::try_from(after).unwrap()));
        assert_eq!(primary.counts.removed, u64::try_from(before - after).unwrap());
        assert_eq!(primary.counts.matched, primary.counts.removed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hash_tag_is_asked_of_the_one_primary() {
    let tagged = (0..50).map(|number| format!("app:{{acme}}:{number}"));
    let cluster = Simulated::cluster(3)
        .with_keys(tagged)
        .with_keys(keys("app:{other}", 50));
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::new("app:{acme}:*").unwrap(), &Options::default())
        .await;

    assert!(matches!(report.outcome, Outcome::Complete));
    assert_eq!(report.total().removed, 50);
    assert_eq!(report.primaries.len(), 1);
    let owner = cluster.world().owner_of(slot_of(b"acme")).unwrap();
    let expected = format!("10.0.0.{}:6379", owner + 1);
    assert!(cluster.world().scanned.iter().all(|address| *address == expected));
}

#[tokio::test(start_paused = true)]
async fn a_single_server_is_one_place_even_for_a_hash_tag() {
    let server = Simulated::single()
        .with_keys(keys("{t}", 10))
        .with_keys(keys("x", 10));
    let report = Engine::new(server.clone())
        .invalidate(&Pattern::new("{t}:*").unwrap(), &Options::default())
        .await;
    assert!(matches!(report.outcome, Outcome::Complete));
    assert_eq!(report.total().removed, 10);
    assert_eq!(server.reachable().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn one_key_without_wildcards_is_removed_and_counted() {
    let cluster = Simulated::cluster(3).with_keys(["plain", "plain:not"]);
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::new("plain").unwrap(), &Options::default())
        .await;
    assert!(matches!(report.outcome, Outcome::Complete));
    assert_eq!((report.total().matched, report.total().removed), (1, 1));
    assert_eq!(cluster.reachable(), ["plain:not"]);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_no_text_are_removed() {
    let key = Bytes::from_static(b"a:\xff\x00\n");
    let cluster = Simulated::cluster(3).with_keys([key]);
    let pattern = Pattern::new(&b"a:\xff*"[..]).unwrap();
    let report = Engine::new(cluster.clone())
        .invalidate(&pattern, &Options::default())
        .await;
    assert_eq!(report.total().removed, 1);
    assert!(cluster.reachable().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_verification_there_is_one_pass() {
    let cluster = Simulated::cluster(2).with_keys(keys("a", 100));
    let options = Options::default().with_verify(false);
    let report = Engine::new(cluster).invalidate(&Pattern::all(), &options).await;
    assert!(matches!(report.outcome, Outcome::Complete));
    assert_eq!((report.passes, report.total().removed), (1, 100));
}

#[tokio::test(start_paused = true)]
async fn orphans_are_counted_once_and_are_no_reason_to_go_on_for_ever() {
    let cluster = Simulated::cluster(3).with_keys(["here"]);
    let owner = cluster.world().owner_of(slot_of(b"lost")).unwrap();
    let cluster = cluster.with_orphan((owner + 1) % 3, "lost");
    let report = Engine::new(cluster)
        .invalidate(&Pattern::all(), &Options::default())
        .await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    let total = report.total();
    assert_eq!(
        (total.matched, total.removed, total.orphans, total.gone),
        (2, 1, 1, 0)
    );
    assert_eq!(report.passes, 2);
}
