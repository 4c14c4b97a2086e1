//! Servers that walk slot by slot: only what is due is looked at, and the order is checked.

use cache_admin::{Engine, Event, Options, Outcome};
use cache_core::{Pattern, slot::slot_of};

use crate::simulated::{Change, Simulated};

fn keys() -> impl Iterator<Item = String> {
    (0..3_000).map(|number| format!("k:{number}"))
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_moved_is_visited_again_without_the_others() {
    let slot = slot_of(b"moving");
    let cluster = Simulated::cluster(3).by_slot().with_keys(keys());
    let to = (cluster.world().owner_of(slot).unwrap() + 1) % 3;
    let (mover, once) = (cluster.clone(), std::sync::Once::new());
    let options = Options::default()
        .with_page_size(10)
        .with_verify(false)
        .with_observer(move |event: &Event| {
            if matches!(event, Event::Swept { .. }) {
                once.call_once(|| mover.now(Change::Move { slot, to }));
            }
            if matches!(event, Event::Pass { number: 2, .. }) {
                mover.world().began.clear();
            }
        });
    let report = Engine::new(cluster.clone())
        .count(&Pattern::all(), 0, &options)
        .await
        .report;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!((report.passes, report.slots_moved), (2, 1));
    assert_eq!(cluster.world().began, [slot]);
}

#[tokio::test(start_paused = true)]
async fn a_hash_tag_begins_at_its_slot() {
    let slot = slot_of(b"acme");
    let cluster = Simulated::cluster(3)
        .by_slot()
        .with_keys(keys())
        .with_keys((0..50).map(|number| format!("{{acme}}:{number}")));
    let report = Engine::new(cluster.clone())
        .invalidate(
            &Pattern::new("{acme}:*").unwrap(),
            &Options::default().with_page_size(100),
        )
        .await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(report.total().removed, 50);
    // A page to remove and one to verify, each of which goes on once at most.
    let began = cluster.world().began.clone();
    assert!(
        began.len() <= 4 && began.iter().all(|began| (slot..slot + 200).contains(began)),
        "{began:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn servers_that_do_not_keep_the_order_are_walked_as_a_whole() {
    let slot = slot_of(b"moving");
    for at in (1..120).step_by(7) {
        for to in 0..3 {
            let cluster = Simulated::cluster(3)
                .lying()
                .with_keys(keys().take(400))
                .with_keys((0..40).map(|number| format!("k:{{moving}}:{number}")))
                .at(at, Change::Move { slot, to });
            let options = Options::default().with_page_size(7);
            let report = Engine::new(cluster.clone())
                .invalidate(&Pattern::all(), &options)
                .await;
            assert!(matches!(report.outcome, Outcome::Complete), "at {at}: {report:?}");
            assert_eq!(cluster.reachable().len(), 0, "at {at} to {to}");
            assert_eq!(report.total().removed, 440);
        }
    }
}

/// Without the check of the order, its walk would begin and end in the wrong places.
#[tokio::test(start_paused = true)]
async fn a_hash_tag_is_looked_for_everywhere_where_the_order_is_not_kept() {
    let cluster = Simulated::cluster(3)
        .lying()
        .with_keys(keys().take(400))
        .with_keys((0..40).map(|number| format!("k:{{moving}}:{number}")));
    let options = Options::default().with_page_size(7);
    let pattern = Pattern::new("k:{moving}:*").unwrap();
    let report = Engine::new(cluster.clone()).invalidate(&pattern, &options).await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!((report.total().removed, cluster.reachable().len()), (40, 400));
}
