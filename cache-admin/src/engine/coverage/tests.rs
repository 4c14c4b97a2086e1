//! What counts as visited.

use super::*;
use crate::engine::report::GapReason;

fn slots(range: std::ops::RangeInclusive<u16>) -> SlotSet {
    [range].into_iter().collect()
}

fn address(text: &str) -> Arc<str> {
    Arc::from(text)
}

#[test]
fn a_visit_under_another_owner_does_not_count() {
    let (a, b) = (address("a"), address("b"));
    let mut coverage = Coverage::new(true, None, 1);
    coverage.assign([(&a, &slots(0..=8_000), None), (&b, &slots(8_001..=16_383), None)]);
    let due = coverage.due();
    assert!(coverage.visited(&a, &due, &SlotSet::new(), 1));
    assert!(coverage.visited(&b, &due, &SlotSet::new(), 1));
    assert!(coverage.due().is_empty());

    let void = coverage.assign([(&a, &slots(0..=7_999), None), (&b, &slots(8_000..=16_383), None)]);
    assert_eq!(void.moved.to_string(), "8000");
    assert!(!void.doubtful);
    assert_eq!(coverage.due().to_string(), "8000");
}

#[test]
fn a_slot_that_nobody_serves_is_a_gap() {
    let a = address("a");
    let mut coverage = Coverage::new(true, None, 1);
    coverage.assign([(&a, &slots(0..=16_000), None)]);
    coverage.visited(&a, &coverage.due(), &SlotSet::new(), 1);
    let gaps = coverage.gaps(&GapReason::Moving);
    assert_eq!(gaps.len(), 1);
    assert!(matches!(gaps[0].reason, GapReason::Unserved));
    assert_eq!(gaps[0].slots.as_ref().unwrap().to_string(), "16001-16383");
}

#[test]
fn a_slot_for_which_its_owner_points_elsewhere_is_not_done() {
    let a = address("a");
    let mut coverage = Coverage::new(true, Some(&slots(7..=7)), 1);
    coverage.assign([(&a, &SlotSet::all(), None)]);
    assert!(!coverage.visited(&a, &coverage.due(), &slots(7..=7), 1));
    assert!(coverage.is_restless());
    assert_eq!(coverage.due().to_string(), "7");
    assert!(coverage.visited(&a, &coverage.due(), &SlotSet::new(), 1));
    assert!(coverage.due().is_empty());
}

#[test]
fn outside_of_a_cluster_another_address_voids_everything() {
    let (a, b) = (address("a"), address("b"));
    let mut coverage = Coverage::new(false, Some(&slots(7..=7)), 1);
    coverage.assign([(&a, &slots(0..=0), None)]);
    coverage.visited(&a, &coverage.due(), &SlotSet::new(), 1);
    assert!(coverage.due().is_empty());
    coverage.assign([(&b, &slots(0..=0), None)]);
    assert!(!coverage.due().is_empty());
    assert!(coverage.gaps(&GapReason::Moving)[0].slots.is_none());
}

/// The proof of a slot needs whoever may have received keys of it.
#[test]
fn a_slot_waits_for_a_sweep_of_all_others_that_began_after_its_first_visit() {
    let (a, b) = (address("a"), address("b"));
    let mut coverage = Coverage::new(true, None, 2);
    coverage.widen();
    coverage.assign([(&a, &slots(0..=8_000), None), (&b, &slots(8_001..=16_383), None)]);
    let none = SlotSet::new();
    for pass in 1..=2 {
        coverage.visited(&a, &coverage.due(), &none, pass);
    }
    assert_eq!(coverage.due().to_string(), "0-16383", "b was not swept");
    assert!(!coverage.needs(&a) && coverage.needs(&b));
    coverage.visited(&b, &coverage.due(), &none, 3);
    assert_eq!(coverage.due().to_string(), "8001-16383");
    coverage.visited(&b, &coverage.due(), &none, 4);
    assert_eq!(
        coverage.due().to_string(),
        "8001-16383",
        "a was swept before, not after"
    );
    assert!(coverage.needs(&a));
    coverage.visited(&a, &coverage.due(), &none, 5);
    assert!(coverage.due().is_empty());
}

#[test]
fn a_slot_of_which_nothing_is_given_away_waits_for_nobody() {
    let (a, b) = (address("a"), address("b"));
    let mut coverage = Coverage::new(true, None, 1);
    coverage.widen();
    coverage.assign([(&a, &slots(0..=8_000), None), (&b, &slots(8_001..=16_383), None)]);
    coverage.settle(&slots(0..=16_383));
    coverage.visited(&a, &coverage.due(), &SlotSet::new(), 1);
    assert_eq!(
        coverage.owed(&a).to_string(),
        "0-8000",
        "what was said before the visit is void"
    );
    coverage.settle(&slots(0..=7_999));
    assert_eq!(coverage.due().to_string(), "8000-16383");
}

/// What was visited before a process died counts as a first visit where the owner is the same.
#[test]
fn what_an_earlier_process_visited_is_verified_only() {
    let (a, b) = (address("a"), address("b"));
    let mut coverage = Coverage::new(true, None, 2);
    coverage.widen();
    coverage.assign([(&a, &slots(0..=8_000), None), (&b, &slots(8_001..=16_383), None)]);
    coverage.restore(&a, &slots(0..=9_000), true);
    assert_eq!(coverage.visited_under(&a).to_string(), "0-8000");
    let none = SlotSet::new();
    for owner in [&a, &b] {
        coverage.visited(owner, &coverage.due(), &none, 2);
    }
    assert_eq!(coverage.due().to_string(), "8001-16383");
}

/// It may have been given one that was its own before, and that looks as if it had stayed.
#[test]
fn a_visit_to_an_owner_that_was_given_slots_meanwhile_does_not_count_and_those_before_do() {
    let (a, b) = (address("a"), address("b"));
    let (low, high) = (slots(0..=8_000), slots(8_001..=16_383));
    let mut coverage = Coverage::new(true, None, 2);
    let look =
        |coverage: &mut Coverage, of_a, of_b| coverage.assign([(&a, &low, of_a), (&b, &high, of_b)]).doubtful;
    let none = SlotSet::new();
    let visit = |coverage: &mut Coverage, pass| {
        for owner in [&a, &b] {
            coverage.visited(owner, &coverage.due(), &none, pass);
        }
    };
    assert!(!look(&mut coverage, Some(1), Some(2)));
    visit(&mut coverage, 1);
    assert!(!look(&mut coverage, Some(1), Some(2)));
    visit(&mut coverage, 2);
    assert!(look(&mut coverage, Some(3), Some(2)));
    assert_eq!(coverage.due().to_string(), "0-8000");
    visit(&mut coverage, 3);
    // It does not say.
    assert!(look(&mut coverage, None, Some(2)));
    visit(&mut coverage, 4);
    assert!(
        look(&mut coverage, Some(3), Some(2)),
        "what was not known proves nothing"
    );
    visit(&mut coverage, 5);
    assert!(
        !look(&mut coverage, Some(3), Some(2)),
        "one visit was missing, and not two"
    );
    assert!(coverage.due().is_empty());
}

/// Nobody may ask for epochs: then owners are all there is to go by.
#[test]
fn without_epochs_owners_decide() {
    let a = address("a");
    let mut coverage = Coverage::new(true, None, 1);
    for pass in 0..3 {
        assert!(!coverage.assign([(&a, &SlotSet::all(), None)]).doubtful);
        coverage.visited(&a, &coverage.due(), &SlotSet::new(), pass);
    }
    assert!(coverage.due().is_empty());
}
