//! Primaries that cannot be reached: the outcome never claims more than was done.

use std::time::Duration;

use cache_admin::{Engine, Event, GapReason, Options, Outcome};
use cache_core::{Pattern, slot::slot_of};

use crate::simulated::{Change, Simulated};

fn cluster() -> Simulated {
    Simulated::cluster(3).with_keys((0..900).map(|number| format!("k:{number}")))
}

fn options() -> Options {
    Options::default().with_page_size(10)
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_primary_makes_the_run_partial_with_its_slots() {
    let cluster = cluster();
    cluster.now(Change::Stop(1));
    let before = cluster.sizes();
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options())
        .await;

    let Outcome::Partial { gaps } = &report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].primary.as_deref(), Some("10.0.0.2:6379"));
    assert_eq!(gaps[0].slots.as_ref().unwrap().to_string(), "5462-10923");
    assert!(matches!(&gaps[0].reason, GapReason::Failed(error) if error.is_transient()));
    assert_eq!(cluster.sizes(), [0, before[1], 0], "the others were worked off");
    assert_eq!(
        report.total().removed,
        u64::try_from(before[0] + before[2]).unwrap()
    );
    let failed = report
        .primaries
        .iter()
        .find(|primary| &*primary.address == "10.0.0.2:6379")
        .unwrap();
    assert!(failed.error.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_stops_at_any_moment_is_never_called_complete_unless_it_was_done() {
    for at in (1..400).step_by(7) {
        let cluster = cluster().at(at, Change::Stop(2));
        let options = options().with_patience(Duration::from_secs(2));
        let report = Engine::new(cluster.clone())
            .invalidate(&Pattern::all(), &options)
            .await;
        let gone = cluster.sizes()[2] == 0;
        assert!(
            gone || matches!(report.outcome, Outcome::Partial { .. }),
            "at {at}: {report:?}"
        );
        let removed = 900 - cluster.sizes().iter().sum::<usize>();
        assert_eq!(report.total().removed, u64::try_from(removed).unwrap(), "at {at}");
    }
}

/// One primary receives slots of two others, of which one stops: it lists keys of both, and points to their owners.
#[tokio::test(start_paused = true)]
async fn what_was_removed_counts_even_where_others_of_the_same_page_fail() {
    let mut beside_failures = 0;
    for at in 1..60 {
        let tags = ["b", "c", "f", "g"].map(|tag| (tag, slot_of(tag.as_bytes())));
        let keys = tags
            .iter()
            .flat_map(|(tag, _)| (0..10).map(move |number| format!("k:{{{tag}}}:{number}")));
        let cluster = Simulated::cluster(3).with_keys(keys);
        for (_, slot) in tags {
            cluster.now(Change::Begin { slot, to: 2 });
            for _ in 0..5 {
                cluster.now(Change::Hop { slot, nth: 0 });
            }
        }
        let cluster = cluster.at(at, Change::Stop(1));
        let options = options().with_patience(Duration::from_secs(2));
        let report = Engine::new(cluster.clone())
            .invalidate(&Pattern::all(), &options)
            .await;
        let left = cluster.sizes().iter().sum::<usize>();
        assert_eq!(
            report.total().removed,
            u64::try_from(40 - left).unwrap(),
            "at {at}: {report:?}"
        );
        beside_failures += u32::from(left > 0 && report.total().moved > 0);
    }
    assert!(
        beside_failures > 0,
        "nothing was followed while a primary was down"
    );
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_comes_back_within_the_patience_is_worked_off() {
    let cluster = cluster();
    cluster.now(Change::Stop(1));
    let later = cluster.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        later.now(Change::Start(1));
    });
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options())
        .await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(report.total().removed, 900);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_takes_over_within_the_patience_is_worked_off() {
    let cluster = cluster().at(8, Change::Stop(1));
    let later = cluster.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(16)).await;
        later.now(Change::FailOver(1));
    });
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options())
        .await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(report.total().removed, 900);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_waited_for() {
    let cluster = cluster();
    cluster.now(Change::Deny(0));
    let report = Engine::new(cluster).invalidate(&Pattern::all(), &options()).await;
    let Outcome::Partial { gaps } = &report.outcome else {
        panic!("{report:?}")
    };
    assert!(matches!(&gaps[0].reason, GapReason::Failed(error) if error.kind() == "denied"));
    assert!(report.elapsed < Duration::from_secs(5), "{:?}", report.elapsed);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_reaches_nobody_has_failed() {
    let cluster = cluster();
    cluster.now(Change::Silence);
    let report = Engine::new(cluster).invalidate(&Pattern::all(), &options()).await;
    assert!(matches!(report.outcome, Outcome::Failed { .. }), "{report:?}");

    let server = Simulated::single().with_keys(["k"]);
    server.now(Change::Stop(0));
    let report = Engine::new(server).invalidate(&Pattern::all(), &options()).await;
    assert!(matches!(report.outcome, Outcome::Failed { .. }), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_layout_that_cannot_be_confirmed_at_the_end_is_partial() {
    let cluster = cluster().at(2, Change::Silence);
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options())
        .await;
    assert!(matches!(report.outcome, Outcome::Partial { .. }), "{report:?}");
    assert_eq!(report.total().removed, 900);
}

#[tokio::test(start_paused = true)]
async fn a_single_server_that_dies_half_way_is_partial_without_slots() {
    let server = Simulated::single()
        .with_keys((0..900).map(|number| format!("k:{number}")))
        .at(40, Change::Stop(0));
    let report = Engine::new(server.clone())
        .invalidate(&Pattern::all(), &options())
        .await;
    let Outcome::Partial { gaps } = &report.outcome else {
        panic!("{report:?}")
    };
    assert!(gaps[0].slots.is_none());
    let removed = 900 - server.sizes()[0];
    assert!(removed > 0);
    assert_eq!(report.total().removed, u64::try_from(removed).unwrap());
}

/// A primary that does not serve `slot`.
fn receiver(cluster: &Simulated, slot: u16) -> usize {
    cluster.world().owner_of(slot).map_or(0, |owner| (owner + 1) % 3)
}

/// A slot whose handover stands still half-way; the giver and the receiver.
fn handover() -> (Simulated, u16, usize) {
    let of_the_slot = (0..40).map(|number| format!("k:{{moving}}:{number}"));
    let cluster = cluster().with_keys(of_the_slot);
    let slot = slot_of(b"moving");
    let to = receiver(&cluster, slot);
    cluster.now(Change::Begin { slot, to });
    for nth in 0..15 {
        cluster.now(Change::Hop { slot, nth });
    }
    (cluster, slot, to)
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_leaves_the_slot_on_its_way_open() {
    for pattern in ["k:{moving}:*", "k:*"] {
        for verify in [true, false] {
            let (cluster, slot, to) = handover();
            cluster.now(Change::Stop(to));
            let options = options()
                .with_verify(verify)
                .with_patience(Duration::from_secs(2));
            let report = Engine::new(cluster.clone())
                .invalidate(&Pattern::new(pattern).unwrap(), &options)
                .await;
            let Outcome::Partial { gaps } = &report.outcome else {
                panic!("{pattern}, verify {verify}: {report:?}")
            };
            let receiver = format!("10.0.0.{}:6379", to + 1);
            let gap = gaps
                .iter()
                .find(|gap| matches!(gap.reason, GapReason::Unproved(_)))
                .unwrap_or_else(|| panic!("{pattern}, verify {verify}: {gaps:?}"));
            assert_eq!(gap.primary.as_deref(), Some(&*receiver));
            assert_eq!(gap.slots.as_ref().unwrap().to_string(), slot.to_string());
            assert!(report.elapsed < Duration::from_secs(10), "{:?}", report.elapsed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_comes_back_in_a_later_pass_is_asked_for_what_was_on_its_way() {
    for (pattern, left) in [("k:{moving}:*", 900), ("k:*", 0)] {
        for verify in [true, false] {
            for back in 2..6 {
                let (cluster, _, to) = handover();
                cluster.now(Change::Stop(to));
                let starter = cluster.clone();
                let options = options().with_verify(verify).with_observer(move |event: &Event| {
                    if matches!(event, Event::Pass { number, .. } if *number == back) {
                        starter.now(Change::Start(to));
                    }
                });
                let report = Engine::new(cluster.clone())
                    .invalidate(&Pattern::new(pattern).unwrap(), &options)
                    .await;
                let case = format!("{pattern}, verify {verify}, back in pass {back}: {report:?}");
                assert!(matches!(report.outcome, Outcome::Complete), "{case}");
                assert_eq!(cluster.reachable().len(), left, "{case}");
                assert_eq!(
                    report.total().removed,
                    940 - u64::try_from(left).unwrap(),
                    "{case}"
                );
            }
        }
    }
}

/// The receiver fails in the very pass in which the keys hop, whenever that is.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_while_keys_hop_never_makes_a_complete_that_is_none() {
    let slot = slot_of(b"moving");
    for pattern in ["k:{moving}:*", "k:*"] {
        for at in (1..150).step_by(13) {
            let mut cluster = cluster().with_keys((0..40).map(|number| format!("k:{{moving}}:{number}")));
            let to = receiver(&cluster, slot);
            cluster = cluster.at(at, Change::Begin { slot, to });
            for hop in 0..20 {
                cluster = cluster.at(at + hop, Change::Hop { slot, nth: 7 });
            }
            cluster = cluster.at(at + 10, Change::Stop(to));
            let options = options().with_patience(Duration::from_secs(2));
            let pattern = Pattern::new(pattern).unwrap();
            let report = Engine::new(cluster.clone()).invalidate(&pattern, &options).await;
            let left = cluster
                .reachable()
                .iter()
                .filter(|key| pattern.matches(key))
                .count();
            assert!(
                left == 0 || matches!(report.outcome, Outcome::Partial { .. }),
                "{pattern} at {at}: {left} left, {report:?}"
            );
        }
    }
}
