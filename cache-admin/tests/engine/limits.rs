//! At most so many keys, and at most so many in a second.

use cache_admin::{Engine, GapReason, Options, Outcome, Pace};
use cache_core::{Pattern, clock};

use crate::simulated::{Change, Simulated};

fn cluster() -> Simulated {
    Simulated::cluster(3).with_keys((0..3_000).map(|number| format!("k:{number}")))
}

#[tokio::test(start_paused = true)]
async fn no_more_keys_go_than_allowed_and_the_rest_is_said() {
    for (max, page) in [(0, 10), (1, 10), (999, 10), (1_000, 1_000), (2_999, 7)] {
        let cluster = cluster();
        let options = Options::default()
            .with_page_size(page)
            .with_max_keys(max)
            .with_pace(Pace::Full);
        let report = Engine::new(cluster.clone())
            .invalidate(&Pattern::all(), &options)
            .await;
        let Outcome::Partial { gaps } = &report.outcome else {
            panic!("{report:?}")
        };
        assert!(
            gaps.iter().any(|gap| matches!(gap.reason, GapReason::Limit)),
            "{gaps:?}"
        );
        let left = cluster.reachable().len();
        assert_eq!(u64::try_from(3_000 - left).unwrap(), max);
        assert_eq!(report.total().removed, max);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_just_enough_is_complete() {
    let options = Options::default().with_page_size(10).with_max_keys(3_000);
    let report = Engine::new(cluster()).invalidate(&Pattern::all(), &options).await;
    assert!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    assert_eq!(report.total().removed, 3_000);
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_not_used_up_by_keys_that_were_gone() {
    // Listed by one primary and gone with a slot before they are removed there.
    for at in (1..60).step_by(4) {
        let slot = cache_core::slot::slot_of(b"moving");
        let cluster = cluster().with_keys((0..50).map(|number| format!("k:{{moving}}:{number}")));
        let to = (cluster.world().owner_of(slot).unwrap() + 1) % 3;
        let cluster = cluster.at(at, Change::Move { slot, to });
        let options = Options::default().with_page_size(50).with_max_keys(3_050);
        let report = Engine::new(cluster.clone())
            .invalidate(&Pattern::all(), &options)
            .await;
        assert!(matches!(report.outcome, Outcome::Complete), "at {at}: {report:?}");
        assert_eq!(cluster.reachable().len(), 0, "at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_for_all_primaries_together_whether_keys_match_or_not() {
    for pattern in ["*", "nothing:*"] {
        let cluster = cluster();
        let began = clock::now();
        let options = Options::default().with_rate(1_000).with_verify(false);
        let report = Engine::new(cluster.clone())
            .invalidate(&Pattern::new(pattern).unwrap(), &options)
            .await;
        assert!(matches!(report.outcome, Outcome::Complete));
        let took = clock::now() - began;
        // 3,000 keys in pages of 100, of which the first begins at once and three are not full.
        assert!((2_800..=3_300).contains(&took.as_millis()), "{pattern}: {took:?}");
        assert!(cluster.world().counts.iter().all(|count| *count <= 100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_gentle_run_begins_with_small_calls() {
    let cluster = cluster();
    let options = Options::default().with_verify(false);
    let _ = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options)
        .await;
    let counts = cluster.world().counts.clone();
    assert_eq!(counts[..3], [100; 3]);
    // Ten more after each call that nobody had to wait behind: a page is two calls.
    assert!(counts.iter().all(|count| *count < 400), "{counts:?}");

    let cluster = self::cluster();
    let options = options.with_pace(Pace::Full);
    let _ = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options)
        .await;
    let counts = cluster.world().counts.clone();
    // Each primary's first page tells how long it takes.
    assert!(counts.contains(&1_000), "{counts:?}");
    assert!(
        counts.iter().all(|count| [100, 400, 1_000].contains(count)),
        "{counts:?}"
    );
}

/// What a refused removal did not use up is there for the others.
#[tokio::test(start_paused = true)]
async fn keys_that_could_not_be_removed_use_nothing_up() {
    let keys = (0..300).map(|number| format!("k:{number}"));
    let cluster = Simulated::cluster(3).with_keys(keys);
    cluster.now(Change::Keep(1));
    let before = cluster.sizes();
    let removable = before[0] + before[2];
    let options = Options::default()
        .with_page_size(10)
        .with_max_keys(u64::try_from(removable).unwrap());
    let report = Engine::new(cluster.clone())
        .invalidate(&Pattern::all(), &options)
        .await;
    assert_eq!(cluster.sizes(), [0, before[1], 0], "{report:?}");
    assert_eq!(report.total().removed, u64::try_from(removable).unwrap());
}
