//! Slots that move and primaries that are replaced in the middle of a run.

use cache_admin::{Engine, Event, Options, Outcome};
use cache_core::{Pattern, slot::slot_of};

use crate::simulated::{Change, Simulated};

/// Keys of one slot, and others all over the cluster.
fn cluster() -> Simulated {
    let of_the_slot = (0..40).map(|number| format!("k:{{moving}}:{number}"));
    let others = (0..400).map(|number| format!("k:{number}"));
    Simulated::cluster(3).with_keys(of_the_slot).with_keys(others)
}

async fn purge(cluster: &Simulated) -> cache_admin::Report {
    let options = Options::default().with_page_size(7);
    Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options)
        .await
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_moves_at_any_moment_is_not_missed() {
    let slot = slot_of(b"moving");
    for at in (1..150).step_by(4) {
        for to in 0..3 {
            let cluster = cluster().at(at, Change::Move { slot, to });
            let report = purge(&cluster).await;
            assert!(
                matches!(report.outcome, Outcome::Complete),
                "at {at} to {to}: {report:?}"
            );
            assert_eq!(cluster.reachable(), [""; 0], "at {at} to {to}");
            assert_eq!(report.total().removed, 440, "at {at} to {to}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_moves_key_by_key_at_any_moment_is_not_missed() {
    let slot = slot_of(b"moving");
    for at in (1..150).step_by(2) {
        let mut cluster = cluster();
        let to = (cluster.world().owner_of(slot).unwrap() + 1) % 3;
        cluster = cluster.at(at, Change::Begin { slot, to });
        for hop in 0..20 {
            cluster = cluster.at(
                at + u64::try_from(hop).unwrap(),
                Change::Hop { slot, nth: hop * 7 },
            );
        }
        cluster = cluster.at(at + 25, Change::End { slot });
        let report = purge(&cluster).await;
        assert!(matches!(report.outcome, Outcome::Complete), "at {at}: {report:?}");
        assert_eq!(cluster.reachable(), [""; 0], "at {at}");
        assert_eq!(report.total().removed, 440, "at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handover_that_stands_still_half_way_is_purged_on_both_sides() {
    let slot = slot_of(b"moving");
    for pattern in ["*", "k:{moving}:*"] {
        let cluster = cluster();
        let to = (cluster.world().owner_of(slot).unwrap() + 1) % 3;
        cluster.now(Change::Begin { slot, to });
        for nth in 0..15 {
            cluster.now(Change::Hop { slot, nth });
        }
        let options = Options::default().with_page_size(7);
        let report = Engine::new(cluster.clone())
            .invalidate(&Pattern::new(pattern).unwrap(), &options)
            .await;
        assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
        let left = cluster
            .reachable()
            .iter()
            .filter(|key| slot_of(key) == slot)
            .count();
        assert_eq!(left, 0, "{pattern}");
        assert!(report.total().moved >= 15);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_at_any_moment_starts_that_primary_anew() {
    for at in (1..150).step_by(2) {
        let cluster = cluster().at(at, Change::FailOver(1));
        let report = purge(&cluster).await;
        assert!(matches!(report.outcome, Outcome::Complete), "at {at}: {report:?}");
        assert_eq!(cluster.reachable(), [""; 0], "at {at}");
        assert_eq!(report.total().removed, 440, "at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_report_says_how_many_slots_moved() {
    let slot = slot_of(b"moving");
    let cluster = cluster();
    let to = (cluster.world().owner_of(slot).unwrap() + 1) % 3;
    let report = purge(&cluster.at(20, Change::Move { slot, to })).await;
    assert_eq!(report.slots_moved, 1);
}

#[tokio::test(start_paused = true)]
async fn keys_written_behind_the_first_pass_are_late() {
    let cluster = cluster();
    let writer = cluster.clone();
    let options = Options::default().with_observer(move |event: &Event| {
        if matches!(event, Event::Pass { number: 2, .. }) {
            writer.now(Change::Write("k:new".into()));
        }
    });
    let report = Engine::new(cluster).invalidate(&Pattern::all(), &options).await;
    assert!(matches!(report.outcome, Outcome::Complete));
    let total = report.total();
    assert_eq!((total.removed, total.late), (441, 1), "{report:?}");
}
