//! Pages over servers whose keys and slots do not stand still: each key that stays is on one of them.

#![expect(
    clippy::expect_used,
    reason = "what is set up here is sound, or the test is over"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cache_admin::paging::{Page, PageRequest, Position};
use cache_admin::{Engine, KeyAttributes, KeyType, Selection};
use cache_core::slot::slot_of;
use cache_core::{CacheError, Pattern};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};

use crate::simulated::{Change, Simulated};

const TAGS: [&str; 4] = ["a", "b", "c", "d"];

/// More pages than any listing here takes while the cluster is at rest.
const MANY: usize = 20_000;

fn slot() -> impl Strategy<Value = u16> {
    (0..TAGS.len()).prop_map(|index| slot_of(TAGS[index].as_bytes()))
}

/// Each moves a slot once at most, to one place: a slot that moves on while it is listed is listed anew, but keys
/// that hop twice between two pages are promised to nobody.
fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (slot(), any::<u8>()).prop_map(|(slot, nth)| Change::Hop { slot, nth: usize::from(nth) }),
        3 => slot().prop_map(|slot| Change::End { slot }),
        2 => (0_usize..3).prop_map(Change::FailOver),
        2 => (0_usize..3).prop_map(Change::Restart),
        1 => (0_usize..3).prop_map(Change::Stop),
        2 => (0_usize..3).prop_map(Change::Start),
        1 => any::<u8>().prop_map(|number| Change::Write(Bytes::from(format!("x:{{a}}:new{number}")))),
    ]
}

fn moves() -> impl Strategy<Value = Vec<(u64, Change)>> {
    let places = vec((1_u64..60, 0_usize..3, any::<bool>()), TAGS.len());
    places.prop_map(|places| {
        let with_tag = places.into_iter().zip(TAGS);
        let change = |((at, to, at_once), tag): ((u64, usize, bool), &str)| {
            let slot = slot_of(tag.as_bytes());
            let change = match at_once {
                true => Change::Move { slot, to },
                false => Change::Begin { slot, to },
            };
            (at, change)
        };
        with_tag.map(change).collect()
    })
}

fn keys() -> impl Strategy<Value = Vec<Bytes>> {
    vec((any::<bool>(), 0..TAGS.len() + 1, any::<u8>()), 0..120).prop_map(|picked| {
        let name = |(matching, tag, number): (bool, usize, u8)| {
            let kind = if matching { 'x' } else { 'y' };
            // Some in slots of their own.
            match TAGS.get(tag) {
                Some(tag) => Bytes::from(format!("{kind}:{{{tag}}}:{number}")),
                None => Bytes::from(format!("{kind}:{number}")),
            }
        };
        let keys: BTreeSet<Bytes> = picked.into_iter().map(name).collect();
        keys.into_iter().collect()
    })
}

/// All pages, each position by way of its bytes; a page that fails is asked for again, and after a while all
/// that stopped is started.
async fn list(cluster: &Simulated, request: PageRequest) -> Vec<Page> {
    let engine = Engine::new(cluster.clone());
    let mut request = request;
    let mut pages = Vec::new();
    let mut failures = 0;
    for _ in 0..MANY {
        match engine.page(&request).await {
            Err(error) => {
                assert!(matches!(error, CacheError::Unavailable { .. }), "{error}");
                failures += 1;
                if failures > 20 {
                    for node in 0..3 {
                        cluster.now(Change::Start(node));
                    }
                }
            }
            Ok(page) => {
                let next = page.next.clone();
                pages.push(page);
                let Some(next) = next else {
                    return pages;
                };
                let bytes = next.to_bytes();
                assert!(bytes.len() <= Position::MAX_LEN);
                request = request.at(Position::from_bytes(&bytes).expect("a position"));
            }
        }
    }
    panic!("there is no end of pages");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(future)
}

fn names(pages: &[Page]) -> BTreeSet<Bytes> {
    let keys = pages.iter().flat_map(|page| &page.keys);
    keys.map(|listed| listed.key.clone()).collect()
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).expect("a pattern")
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(60))]

    #[test]
    fn each_key_that_stays_is_on_a_page(
        keys in keys(),
        changes in vec((1_u64..300, change()), 0..25),
        moves in moves(),
        limit in 1_usize..20,
        work in 1_u64..200,
        by_slot in any::<bool>(),
        joins in any::<bool>(),
    ) {
        let mut cluster = Simulated::cluster(3);
        if by_slot {
            cluster = cluster.by_slot();
        }
        cluster = cluster.with_keys(keys.clone());
        for (at, change) in changes.into_iter().chain(moves) {
            cluster = cluster.at(at, change);
        }
        if joins {
            cluster = cluster.at(20, Change::Join);
        }
        let request = PageRequest::new(pattern("x:*")).with_limit(limit).with_work(work, Duration::from_secs(1));
        let pages = block_on(list(&cluster, request));
        let listed = names(&pages);
        for key in keys.iter().filter(|key| key.starts_with(b"x:")) {
            proptest::prop_assert!(listed.contains(key), "missed {:?}", key);
        }
        proptest::prop_assert!(listed.iter().all(|key| key.starts_with(b"x:")));
        proptest::prop_assert!(pages.iter().all(|page| !page.is_partial && page.gaps.is_empty()));
    }

    #[test]
    fn a_single_server_that_is_started_anew_is_listed_from_the_start(
        keys in keys(),
        restarts in vec(1_u64..60, 0..4),
        limit in 1_usize..20,
    ) {
        let mut server = Simulated::single().with_keys(keys.clone());
        for at in restarts {
            server = server.at(at, Change::Restart(0));
        }
        let request = PageRequest::new(pattern("*")).with_limit(limit);
        let listed = names(&block_on(list(&server, request)));
        proptest::prop_assert_eq!(listed, keys.into_iter().collect::<BTreeSet<_>>());
    }
}

fn many(count: usize) -> Vec<Bytes> {
    (0..count)
        .map(|number| Bytes::from(format!("x:{number}")))
        .collect()
}

#[test]
fn a_cluster_at_rest_is_listed_once_and_positions_are_short() {
    for (by_slot, limit) in [
        (true, 100),
        (false, 100),
        (true, 2),
        (false, 2),
        (true, 1),
        (false, 1),
    ] {
        let mut cluster = Simulated::cluster(3);
        if by_slot {
            cluster = cluster.by_slot();
        }
        let cluster = cluster.with_keys(many(2_000));
        let pages = block_on(list(&cluster, PageRequest::new(pattern("x:*")).with_limit(limit)));
        let listed: usize = pages.iter().map(|page| page.keys.len()).sum();
        assert_eq!((listed, names(&pages).len()), (2_000, 2_000));
        for page in &pages {
            assert!(page.keys.len() <= limit, "{} on a page", page.keys.len());
            let next = page.next.as_ref().map(Position::to_bytes).unwrap_or_default();
            assert!(next.len() <= 90, "{} bytes", next.len());
        }
    }
}

#[test]
fn a_page_looks_at_no_fewer_keys_than_it_holds() {
    let keys: Vec<Bytes> = (0..300)
        .map(|number| Bytes::from(format!("x:{{a}}:{number}")))
        .collect();
    let cluster = Simulated::cluster(3).by_slot().with_keys(keys);
    for limit in [1, 7, 1_000] {
        let pages = block_on(list(&cluster, PageRequest::new(pattern("x:*")).with_limit(limit)));
        for page in pages {
            let held = u64::try_from(page.keys.len()).expect("few");
            assert!(page.looked_at >= held, "{} of {held}", page.looked_at);
        }
    }
}

#[test]
fn the_work_for_a_page_is_bounded_and_a_page_may_be_empty() {
    let cluster = Simulated::cluster(3).by_slot().with_keys(many(20_000));
    let request = PageRequest::new(pattern("nothing:*")).with_work(2_000, Duration::from_secs(1));
    let pages = block_on(list(&cluster, request));
    assert!(pages.len() > 5 && names(&pages).is_empty());
    for page in &pages {
        assert!(page.looked_at <= 4_000, "{} keys looked at", page.looked_at);
    }
}

#[test]
fn a_primary_that_does_not_answer_fails_the_page_or_is_passed_over_and_told_of() {
    for by_slot in [true, false] {
        let mut cluster = Simulated::cluster(3);
        if by_slot {
            cluster = cluster.by_slot();
        }
        let cluster = cluster.with_keys(many(300));
        cluster.now(Change::Stop(1));
        let engine = Engine::new(cluster.clone());
        let request = PageRequest::new(pattern("x:*")).with_limit(1_000);
        block_on(async {
            let mut request = request.clone();
            let error = loop {
                match engine.page(&request).await {
                    Err(error) => break error,
                    Ok(page) => request = request.at(page.next.expect("it is not the end")),
                }
            };
            assert!(error.is_transient(), "{error}");
        });
        let pages = block_on(list(&cluster, request.past_gaps(true)));
        let last = pages.last().expect("a page");
        assert!(last.is_partial && last.next.is_none());
        let gaps = pages
            .iter()
            .fold(cache_admin::SlotSet::new(), |gaps, page| gaps.joined(&page.gaps));
        assert_eq!(gaps.ranges(), [5_462..=10_923]);
        let expected = many(300).into_iter().filter(|key| !gaps.contains(slot_of(key)));
        assert_eq!(names(&pages), expected.collect());
    }
}

#[test]
fn a_pattern_that_pins_a_slot_asks_its_primary_only() {
    let cluster = Simulated::cluster(3)
        .by_slot()
        .with_keys(["x:{a}:1", "x:{a}:2", "x:{b}:1"]);
    let pages = block_on(list(&cluster, PageRequest::new(pattern("x:{a}:*"))));
    assert_eq!(names(&pages).len(), 2);
    assert_eq!(cluster.world().scanned.len(), 1);
}

#[test]
fn servers_that_claim_to_walk_slot_by_slot_and_do_not_are_found_out() {
    let cluster = Simulated::cluster(3).lying().with_keys(many(400));
    let pages = block_on(list(&cluster, PageRequest::new(pattern("x:*")).with_limit(20)));
    assert_eq!(names(&pages), many(400).into_iter().collect());
}

#[test]
fn filters_and_several_patterns_hold_and_what_is_asked_for_is_told() {
    let keys = ["x:hash:1", "x:2", "y:hash:3", "z:4", "x:hash:short:5"];
    let cluster = Simulated::cluster(3).by_slot().with_keys(keys);
    let selection = Selection::any_of([pattern("x:*"), pattern("y:*")]).expect("patterns");
    let selection = selection
        .with_types([KeyType::Hash, KeyType::Set])
        .with_life(cache_admin::Life::Within(
            Duration::from_secs(100)..=Duration::MAX,
        ));
    let size = KeyAttributes {
        size: true,
        ..KeyAttributes::default()
    };
    let pages = block_on(list(&cluster, PageRequest::new(selection).with_traits(size)));
    assert_eq!(
        names(&pages),
        BTreeSet::from(["x:hash:1".into(), "y:hash:3".into()])
    );
    let listed = pages.iter().flat_map(|page| &page.keys);
    assert!(listed.into_iter().all(|key| key.description.size == Some(8)));
}

#[test]
fn what_cannot_be_told_is_an_error_and_no_end_of_empty_pages() {
    let cluster = Simulated::cluster(3).with_keys(["x:1"]);
    for node in 0..3 {
        cluster.now(Change::Deny(node));
    }
    let engine = Engine::new(cluster);
    let request = PageRequest::new(pattern("x:*")).past_gaps(true);
    let error = block_on(engine.page(&request)).unwrap_err();
    assert!(matches!(error, CacheError::Denied { .. }), "{error}");
}
