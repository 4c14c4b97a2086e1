//! At full speed nobody waits for anybody: primaries are worked at the same time, and so are the pages of one.

use std::time::Duration;

use cache_admin::{Engine, Options, Outcome, Pace};
use cache_core::{Pattern, clock};

use crate::simulated::Simulated;

/// Pages of each primary.
const PAGES: u32 = 20;
const PAGE: u32 = 10;
const KEYS: usize = 200;

/// How long a removal takes of so many keys on each of `primaries`, where a page and a removal take so many
/// milliseconds.
async fn takes(primaries: usize, scan: u64, unlink: u64, pace: Pace) -> Duration {
    let cluster = Simulated::cluster(primaries);
    let mut held = vec![0; primaries];
    let keys: Vec<String> = (0..)
        .map(|number| format!("k:{number}"))
        .filter(|key| {
            let owner = cluster
                .world()
                .owner_of(cache_core::slot::slot_of(key.as_bytes()));
            let Some(held) = owner.and_then(|owner| held.get_mut(owner)) else {
                return false;
            };
            *held += 1;
            *held <= KEYS
        })
        .take(KEYS * primaries)
        .collect();
    let cluster = cluster.with_keys(keys);
    assert_eq!(cluster.sizes(), vec![KEYS; primaries]);
    cluster.world().scan_takes = Duration::from_millis(scan);
    cluster.world().unlink_takes = Duration::from_millis(unlink);
    let options = Options::default()
        .with_verify(false)
        .with_pace(pace)
        .with_page_size(PAGE);
    let began = clock::now();
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options)
        .await;
    let took = clock::now() - began;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(cluster.reachable(), [""; 0]);
    took
}

fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

#[tokio::test(start_paused = true)]
async fn five_primaries_take_no_longer_than_one() {
    for pace in [Pace::Full, Pace::Gentle] {
        let (one, five) = (takes(1, 10, 10, pace).await, takes(5, 10, 10, pace).await);
        assert!(
            five <= one + one / 10,
            "{pace:?}: {five:?}, and one takes {one:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_is_fetched_while_the_one_before_is_removed() {
    let took = takes(1, 10, 10, Pace::Full).await;
    assert!(
        took >= millis(PAGES * 10) && took <= millis((PAGES + 3) * 10),
        "{took:?}"
    );
    let gentle = takes(1, 10, 10, Pace::Gentle).await;
    assert!(gentle >= millis(PAGES * 30), "it rests after each: {gentle:?}");
}

#[tokio::test(start_paused = true)]
async fn two_pages_are_removed_at_a_time_where_that_is_what_takes_long() {
    let took = takes(1, 1, 20, Pace::Full).await;
    assert!(
        took >= millis(PAGES * 10) && took <= millis((PAGES + 4) * 10),
        "{took:?}"
    );
}
