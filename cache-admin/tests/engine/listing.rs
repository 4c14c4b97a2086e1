//! Listing: every key that stays, over all primaries.

use std::collections::HashSet;

use bytes::Bytes;
use cache_admin::{Engine, Listing, Options, Outcome};
use cache_core::{Pattern, slot::slot_of};

use crate::simulated::{Change, Simulated};

fn cluster() -> Simulated {
    Simulated::cluster(3).with_keys((0..900).map(|number| format!("k:{number}")))
}

async fn collect(listing: &mut Listing) -> Vec<Bytes> {
    let mut keys = Vec::new();
    while let Some(key) = listing.next().await {
        keys.push(key);
    }
    keys
}

#[tokio::test(start_paused = true)]
async fn all_keys_of_all_primaries_are_listed() {
    let mut listing =
        Engine::new(cluster()).list(Pattern::all(), None, &Options::default().with_page_size(10));
    let keys: HashSet<_> = collect(&mut listing).await.into_iter().collect();
    assert_eq!(keys.len(), 900);
    assert!(!listing.has_more());
    assert!(matches!(listing.finish().await.outcome, Outcome::Complete));
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_it_says_whether_there_is_more() {
    for (limit, more) in [(0, true), (1, true), (899, true), (900, false), (901, false)] {
        let mut listing = Engine::new(cluster()).list(Pattern::all(), Some(limit), &Options::default());
        assert_eq!(collect(&mut listing).await.len(), limit.min(900));
        assert_eq!(listing.has_more(), more, "limit {limit}");
        let report = listing.finish().await;
        assert!(more || matches!(report.outcome, Outcome::Complete));
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_ends_the_work_early() {
    let cluster = cluster();
    let options = Options::default().with_page_size(10);
    let mut listing = Engine::new(cluster.clone()).list(Pattern::all(), Some(5), &options);
    assert_eq!(collect(&mut listing).await.len(), 5);
    assert!(matches!(listing.finish().await.outcome, Outcome::Cancelled));
    assert!(cluster.world().calls < 40, "{}", cluster.world().calls);
}

#[tokio::test(start_paused = true)]
async fn with_a_limit_no_key_comes_twice_although_a_slot_moves() {
    let slot = slot_of(b"k:7");
    for at in (1..100).step_by(4) {
        for to in 0..3 {
            let cluster = cluster().at(at, Change::Move { slot, to });
            let options = Options::default().with_page_size(10);
            let mut listing = Engine::new(cluster).list(Pattern::all(), Some(10_000), &options);
            let keys = collect(&mut listing).await;
            assert_eq!(keys.len(), 900, "at {at} to {to}");
            assert_eq!(
                keys.into_iter().collect::<HashSet<_>>().len(),
                900,
                "at {at} to {to}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_without_one_primary_says_so() {
    let cluster = cluster();
    cluster.now(Change::Stop(2));
    let mut listing = Engine::new(cluster).list(Pattern::all(), None, &Options::default());
    let keys = collect(&mut listing).await;
    assert!(keys.len() > 300 && keys.len() < 900);
    assert!(matches!(listing.finish().await.outcome, Outcome::Partial { .. }));
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_primaries_without_matches_are_not_walked_on() {
    let cluster = cluster().with_keys((0..20).map(|number| format!("t:{{tag}}:{number}")));
    let calls = cluster.clone();
    let options = Options::default().with_page_size(10);
    let mut listing = Engine::new(cluster).list(Pattern::new("t:*").unwrap(), Some(0), &options);
    assert!(collect(&mut listing).await.is_empty());
    assert!(listing.has_more());
    let before = calls.world().calls;
    assert!(matches!(listing.finish().await.outcome, Outcome::Cancelled));
    let further = calls.world().calls - before;
    assert!(further <= 3, "{further} calls after the limit");
}
