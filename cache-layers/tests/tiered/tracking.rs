//! When changes are not reported: for a while, or at all. And what the tier does with lists, and closed.

use std::sync::Arc;

use cache_core::{Bytes, CacheClient, CacheError, Invalidation, Ttl};
use cache_layers::{NearConfig, NearStatus};

use crate::line::Line;
use crate::rig::{KEY, Rig, SHORT, ms, secs, value};

#[tokio::test(start_paused = true)]
async fn a_lost_connection_empties_the_tier_and_bypasses_it_until_it_is_back() {
    let rig = Rig::new();
    assert_eq!(rig.tiered.status(), NearStatus::Tracked);
    rig.others_set(KEY, "1").await;
    rig.read(KEY).await;
    rig.line.reports().cut();
    rig.others_set(KEY, "2").await;
    assert!(matches!(rig.tiered.status(), NearStatus::Bypassed { .. }));
    for _ in 0..3 {
        assert_eq!(rig.read_and_where(KEY).await, (value("2"), "far"));
    }
    assert_eq!(rig.tiered.stats().entries, 0);
    rig.line.reports().mend();
    assert_eq!(rig.tiered.status(), NearStatus::Tracked);
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "far"));
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "near"));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_over_a_connection_that_is_lost_is_not_kept() {
    // Whenever it is lost, and also if it is back before the reply arrives.
    for lost_after in 0..=21 {
        let rig = Rig::new();
        rig.others_set(KEY, "1").await;
        rig.line.takes(ms(10), ms(10));
        let fault = async {
            tokio::time::sleep(ms(lost_after)).await;
            rig.line.reports().cut();
            rig.others_set(KEY, "2").await;
            rig.line.reports().mend();
        };
        tokio::join!(rig.read(KEY), fault);
        assert_eq!(rig.read(KEY).await, value("2"), "lost after {lost_after} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_message_of_an_old_connection_does_no_harm() {
    let rig = Rig::new();
    rig.others_set(KEY, "1").await;
    rig.read(KEY).await;
    rig.line.reports().cut();
    rig.line.reports().mend();
    rig.read(KEY).await;
    // Late: it costs a far read, and takes nothing from the truth.
    rig.line.reports().tell(&Invalidation::Keys(vec![KEY.to_owned()]));
    rig.line.reports().tell(&Invalidation::ConnectionLost);
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "far"));
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "near"));
}

#[tokio::test(start_paused = true)]
async fn without_reports_an_entry_lives_a_short_life_and_the_status_says_why() {
    let rig = Rig::silent();
    let status = rig.tiered.status();
    assert!(matches!(&status, NearStatus::ShortLived { reason, .. } if reason.contains("no changes")));
    assert!(rig.tiered.invalidations().is_none());
    short_lived(&rig).await;

    let rig = Rig::new();
    rig.line.reports().refuse("ERR unknown subcommand 'tracking'");
    let status = rig.tiered.status();
    assert!(
        matches!(&status, NearStatus::ShortLived { reason, .. } if reason.contains("unknown subcommand"))
    );
    short_lived(&rig).await;
}

/// An entry is near for the short life, which is the worst staleness.
async fn short_lived(rig: &Rig) {
    rig.others_set(KEY, "1").await;
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "far"));
    rig.others_set(KEY, "2").await;
    tokio::time::advance(SHORT - ms(1)).await;
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "near"));
    assert!(!rig.tiered.get_entry(KEY).await.unwrap().tracked);
    tokio::time::advance(ms(1)).await;
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "far"));
}

#[tokio::test(start_paused = true)]
async fn an_untracked_life_of_zero_keeps_nothing() {
    let config = || NearConfig::builder().untracked_life(secs(0)).build().unwrap();
    let rig = Rig::with(config(), Line::silent);
    assert!(matches!(rig.tiered.status(), NearStatus::Bypassed { .. }));
    rig.others_set(KEY, "1").await;
    for _ in 0..2 {
        assert_eq!(rig.read_and_where(KEY).await, (value("1"), "far"));
        assert!(!rig.tiered.get_entry(KEY).await.unwrap().tracked);
    }
    assert_eq!(rig.tiered.stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_answered_near_where_it_can_be_and_by_one_far_call() {
    let rig = Rig::new();
    for key in ["a", "b", "c"] {
        rig.others_set(key, key).await;
    }
    rig.read("b").await;
    rig.read("c").await;
    let keys = ["c", "a", "gone", "b", "a", "c"];
    let read: Vec<Option<Bytes>> = rig.tiered.get_many(&keys).await.unwrap();
    let wanted = ["c", "a", "", "b", "a", "c"].map(|text| (!text.is_empty()).then(|| Bytes::from(text)));
    assert_eq!(read, wanted);
    assert_eq!(rig.line.batches(), 1);
    let all_near = rig.tiered.get_many(&["c", "b", "c"]).await.unwrap();
    assert_eq!(all_near.len(), 3);
    assert_eq!(rig.tiered.get_many(&[]).await.unwrap(), [] as [Option<Bytes>; 0]);
    assert_eq!(
        rig.line.batches(),
        1,
        "no far call for what is near, nor for nothing"
    );
    assert_eq!(
        rig.read_and_where("a").await,
        (value("a"), "near"),
        "what a list read is kept"
    );
    let reads = rig.line.reads();
    for refused in [
        rig.tiered.get_many(&["a", ""]).await.map(drop),
        rig.tiered.get("").await.map(drop),
        rig.tiered.get_entry("").await.map(drop),
    ] {
        assert!(matches!(
            refused,
            Err(CacheError::InvalidInput { argument: "key", .. })
        ));
    }
    assert_eq!(
        (rig.line.reads(), rig.line.batches()),
        (reads, 1),
        "refused before anything is sent"
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_tier_answers_nothing_near() {
    let rig = Rig::new();
    rig.others_set(KEY, "1").await;
    rig.read(KEY).await;
    // A read that is under way ends with an error, and so do those who joined it.
    rig.line.takes(secs(1), ms(0));
    let under_way = tokio::spawn({
        let cache = Arc::clone(&rig.tiered);
        async move { cache.get("other").await }
    });
    tokio::task::yield_now().await;
    rig.tiered.close().await.unwrap();
    assert!(matches!(under_way.await.unwrap(), Err(CacheError::Closed)));
    assert!(matches!(rig.tiered.get(KEY).await, Err(CacheError::Closed)));
    assert!(matches!(rig.tiered.get_entry(KEY).await, Err(CacheError::Closed)));
    assert!(matches!(
        rig.tiered.get_many(&[KEY]).await,
        Err(CacheError::Closed)
    ));
    assert!(matches!(
        rig.tiered.set(KEY, "2".into(), Ttl::Forever).await,
        Err(CacheError::Closed)
    ));
    rig.tiered.close().await.unwrap();
    assert_eq!(rig.tiered.stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_holds_no_key_and_no_value() {
    let rig = Rig::new();
    rig.others_set("a-secret-key", "a-secret-value").await;
    rig.read("a-secret-key").await;
    rig.line.takes(ms(0), ms(10));
    let under_way = rig.tiered.get("another-secret-key");
    let shown = async { format!("{:?}{:?}", rig.tiered, rig.tiered.invalidations()) };
    let (_, shown) = tokio::join!(under_way, shown);
    assert!(shown.contains("1 entries"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}
