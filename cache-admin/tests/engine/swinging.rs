//! Slots that leave and are back before anybody looks again.

use std::sync::atomic::{AtomicBool, Ordering};

use cache_admin::{Engine, Event, Options, Outcome, Report};
use cache_core::{Pattern, slot::slot_of};

use crate::simulated::{Change, Simulated};

/// A slot of the first primary, with 40 keys. The others hold none, so that they are done long before it.
fn cluster() -> (Simulated, u16) {
    let cluster = Simulated::cluster(3).by_slot();
    let all_of_the_first = |key: &String| cluster.world().owner_of(slot_of(key.as_bytes())) == Some(0);
    let tags = (0..).map(|number| format!("t{number}"));
    // Behind most others in the walk.
    let tag = tags
        .clone()
        .find(|tag| (5_000..5_400).contains(&slot_of(tag.as_bytes())))
        .unwrap_or_default();
    let others = tags
        .filter(all_of_the_first)
        .take(300)
        .map(|tag| format!("other:{{{tag}}}"));
    let others: Vec<String> = others.collect();
    let moving = (0..40).map(|number| format!("k:{{{tag}}}:{number}"));
    (
        cluster.clone().with_keys(others).with_keys(moving),
        slot_of(tag.as_bytes()),
    )
}

/// In so many passes the slot is with the second primary from when that one is done until the first one is.
async fn purge(cluster: &Simulated, pattern: &Pattern, slot: u16, passes: u32, verify: bool) -> Report {
    let (world, swings) = (cluster.clone(), AtomicBool::new(false));
    let options = Options::default()
        .with_page_size(7)
        .with_verify(verify)
        .with_observer(move |event: &Event| match event {
            Event::Pass { number, .. } => swings.store(*number <= passes, Ordering::Relaxed),
            Event::Swept { primary, .. } if swings.load(Ordering::Relaxed) => {
                let to = usize::from(!primary.starts_with("10.0.0.1:"));
                world.now(Change::Move { slot, to });
            }
            _ => {}
        });
    Engine::new(cluster.clone()).invalidate(pattern, &options).await
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_away_whenever_it_is_looked_for_is_not_missed() {
    for (verify, passes) in [(false, 1), (true, 1), (true, 2), (true, 5)] {
        let (cluster, slot) = cluster();
        let report = purge(&cluster, &Pattern::new("k:*").unwrap(), slot, passes, verify).await;
        let left = cluster
            .reachable()
            .iter()
            .filter(|key| key.starts_with(b"k:"))
            .count();
        assert!(
            matches!(report.outcome, Outcome::Complete) && left == 0,
            "verify {verify}, away in {passes} passes: {left} left, {report:?}"
        );
        assert_eq!(report.total().removed, 40);
        assert_eq!(report.slots_moved, 0, "nobody saw it move");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_never_comes_to_rest_makes_the_run_partial() {
    let (cluster, slot) = cluster();
    let report = purge(&cluster, &Pattern::new("k:*").unwrap(), slot, u32::MAX, true).await;
    let Outcome::Partial { gaps } = &report.outcome else {
        panic!("{report:?}")
    };
    let named = |address| gaps.iter().find(|gap| gap.primary.as_deref() == Some(address));
    assert!(named("10.0.0.1:6379").is_some_and(|gap| gap.slots.as_ref().unwrap().contains(slot)));
    assert!(named("10.0.0.3:6379").is_none(), "it was given nothing: {gaps:?}");
}

/// One primary is given one slot after the other, in every pass: only what moved is visited again.
#[tokio::test(start_paused = true)]
async fn a_resharding_that_goes_on_does_not_void_everything() {
    let cluster = Simulated::cluster(3)
        .by_slot()
        .with_keys((0..900).map(|number| format!("k:{number}")));
    let mover = cluster.clone();
    let slots = std::sync::Mutex::new(5_462..10_000);
    let options = Options::default()
        .with_page_size(50)
        .with_observer(move |event: &Event| {
            if let Event::Page { .. } = event
                && let Some(slot) = slots.lock().unwrap().next()
                && slot < 5_562
            {
                mover.now(Change::Move { slot, to: 0 });
            }
        });
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options)
        .await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(cluster.reachable().len(), 0);
    // A walk over everything is 20 pages.
    assert!(report.total().pages < 100, "{report:?}");
}
