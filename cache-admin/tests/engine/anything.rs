//! Whatever happens in whatever order: what is called complete is complete, and no foreign key is touched.

use std::time::Duration;

use bytes::Bytes;
use cache_admin::{Engine, Options, Outcome, Pace, Selection};
use cache_core::{Pattern, slot::slot_of};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};

use crate::simulated::{Change, Simulated};

const TAGS: [&str; 4] = ["a", "b", "c", "d"];

fn slot() -> impl Strategy<Value = u16> {
    (0..TAGS.len()).prop_map(|index| slot_of(TAGS[index].as_bytes()))
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (slot(), 0_usize..3).prop_map(|(slot, to)| Change::Move { slot, to }),
        3 => (slot(), 0_usize..3).prop_map(|(slot, to)| Change::Begin { slot, to }),
        6 => (slot(), any::<u8>()).prop_map(|(slot, nth)| Change::Hop { slot, nth: usize::from(nth) }),
        3 => slot().prop_map(|slot| Change::End { slot }),
        1 => (0_usize..3).prop_map(Change::FailOver),
        1 => (0_usize..3).prop_map(Change::Stop),
        1 => (0_usize..3).prop_map(Change::Start),
    ]
}

/// What happens at which call: single changes, and slots that leave and come back.
fn changes() -> impl Strategy<Value = Vec<(u64, Change)>> {
    let single = (1_u64..90, change()).prop_map(|change| vec![change]);
    let swing =
        (1_u64..90, 1_u64..30, slot(), 0_usize..3, 0_usize..3).prop_map(|(at, away, slot, to, back)| {
            let moves = [(at, to), (at + away, back)];
            moves.map(|(at, to)| (at, Change::Move { slot, to })).to_vec()
        });
    vec(prop_oneof![6 => single, 1 => swing], 0..30).prop_map(|changes| changes.concat())
}

/// Without a verifying visit nothing is promised of keys that hop while others look.
fn is_whole(change: &Change) -> bool {
    !matches!(
        change,
        Change::Begin { .. } | Change::Hop { .. } | Change::End { .. }
    )
}

/// Keys of few slots, so that the changes hit them; half of them match `x:*`.
fn keys() -> impl Strategy<Value = Vec<Bytes>> {
    vec((any::<bool>(), 0..TAGS.len(), any::<u8>()), 0..120).prop_map(|picked| {
        let name = |(matching, tag, number): (bool, usize, u8)| {
            let kind = if matching { 'x' } else { 'y' };
            Bytes::from(format!("{kind}:{{{}}}:{number}", TAGS[tag]))
        };
        let mut keys: Vec<Bytes> = picked.into_iter().map(name).collect();
        keys.sort();
        keys.dedup();
        keys
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_called_complete_is_complete_and_foreign_keys_stay(
        keys in keys(),
        changes in changes(),
        page_size in 1_u32..12,
        [by_slot, full, verify, tagged] in any::<[bool; 4]>(),
    ) {
        let mut cluster = Simulated::cluster(3);
        if by_slot {
            cluster = cluster.by_slot();
        }
        cluster = cluster.with_keys(keys.clone());
        for (at, change) in changes.into_iter().filter(|(_, change)| verify || is_whole(change)) {
            cluster = cluster.at(at, change);
        }
        let pattern = Pattern::new("x:*").expect("a pattern");
        let selection = if tagged {
            let tags = TAGS.iter().map(|tag| Pattern::new(format!("x:{{{tag}}}:*")).expect("a pattern"));
            Selection::any_of(tags).expect("patterns")
        } else {
            pattern.clone().into()
        };
        let pace = if full { Pace::Full } else { Pace::Gentle };
        let patience = Duration::from_secs(1);
        let options = Options::default()
            .with_page_size(page_size)
            .with_pace(pace)
            .with_verify(verify)
            .with_patience(patience);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let report = runtime.expect("a runtime").block_on(Engine::new(cluster.clone()).invalidate(selection, &options));

        let left = cluster.reachable();
        let foreign: Vec<&Bytes> = keys.iter().filter(|key| !pattern.matches(key)).collect();
        let foreign_left: Vec<&Bytes> = left.iter().filter(|key| !pattern.matches(key)).collect();
        proptest::prop_assert_eq!(foreign_left, foreign);
        let missed: Vec<&Bytes> = left.iter().filter(|key| pattern.matches(key)).collect();
        if matches!(report.outcome, Outcome::Complete) {
            proptest::prop_assert!(missed.is_empty(), "missed {:?} in {:?}", missed, report);
        }
        let total = report.total();
        proptest::prop_assert_eq!(total.matched, total.removed + total.gone + total.orphans);
        let removed = keys.iter().filter(|key| pattern.matches(key)).count() - missed.len();
        proptest::prop_assert_eq!(total.removed, u64::try_from(removed).expect("a count"));
    }
}
