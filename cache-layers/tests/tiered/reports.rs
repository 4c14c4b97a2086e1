//! What was changed by others: the reports of it keep the tier true, in whichever order they come.

use std::sync::{Arc, Mutex};

use cache_core::{Bytes, CacheClient, Invalidation, MemoryCache, Ttl};
use cache_layers::{NearConfig, Tiered};

use crate::line::Line;
use crate::rig::{KEY, LIFE, Rig, ms, secs, text, value};

#[tokio::test(start_paused = true)]
async fn a_far_hit_fills_the_near_tier_for_the_shorter_of_both_lives() {
    // The far life is the shorter one.
    let rig = Rig::new();
    rig.others.set(KEY, "1".into(), Ttl::secs(10)).await.unwrap();
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "far"));
    tokio::time::advance(secs(4)).await;
    let entry = rig.tiered.get_entry(KEY).await.unwrap();
    assert_eq!((entry.remaining, entry.tracked), (Ttl::secs(6), true));
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "near"));
    tokio::time::advance(ms(5_999)).await;
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "near"));
    tokio::time::advance(ms(1)).await;
    assert_eq!(rig.read_and_where(KEY).await, (None, "far"));

    // The near life is the shorter one.
    rig.others.set(KEY, "2".into(), Ttl::Forever).await.unwrap();
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "far"));
    tokio::time::advance(LIFE - ms(1)).await;
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "near"));
    assert_eq!(rig.tiered.get_entry(KEY).await.unwrap().remaining, Ttl::Forever);
    tokio::time::advance(ms(1)).await;
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "far"));
}

#[tokio::test(start_paused = true)]
async fn no_copy_outlives_the_far_entry_however_slow_the_reply() {
    let rig = Rig::with(
        NearConfig::builder().untracked_life(LIFE).build().unwrap(),
        Line::silent,
    );
    rig.others.set(KEY, "1".into(), Ttl::secs(10)).await.unwrap();
    rig.line.takes(ms(0), secs(4));
    assert_eq!(rig.read(KEY).await, value("1"));
    rig.line.takes(ms(0), ms(0));
    tokio::time::advance(ms(5_999)).await;
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "near"));
    tokio::time::advance(ms(1)).await;
    assert_eq!(rig.read_and_where(KEY).await, (None, "far"));
}

#[tokio::test(start_paused = true)]
async fn what_is_evicted_near_is_read_far_again() {
    let config = NearConfig::builder().max_entries(10).build().unwrap();
    let rig = Rig::with(config, Line::new);
    let keys: Vec<String> = (0..100).map(|number| format!("user:{number}")).collect();
    for key in &keys {
        rig.others_set(key, key).await;
    }
    for _ in 0..3 {
        for key in &keys {
            assert_eq!(rig.read(key).await.as_ref(), Some(key));
            assert!(rig.tiered.stats().entries <= 10);
        }
    }
    assert!(rig.tiered.stats().evictions > 100, "{:?}", rig.tiered.stats());
}

#[tokio::test(start_paused = true)]
async fn an_older_far_value_does_not_replace_a_newer_near_one() {
    let rig = Rig::new();
    rig.others_set(KEY, "1").await;
    // A read that has seen the old value is slow to come back; a newer one overtakes it.
    rig.line.takes(ms(0), ms(100));
    let slow = tokio::spawn({
        let cache = Arc::clone(&rig.tiered);
        async move { text(cache.get(KEY).await) }
    });
    tokio::time::sleep(ms(10)).await;
    rig.line.takes(ms(0), ms(1));
    rig.others_set(KEY, "2").await;
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "far"));
    assert_eq!(slow.await.unwrap(), value("1"));
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "near"));
    assert_eq!(rig.tiered.stats().poisoned, 1);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_set_del_expire_or_eviction_removes_the_near_entry() {
    let rig = Rig::new();
    let others = &rig.others;
    let filled = async || {
        rig.others_set(KEY, "1").await;
        rig.read(KEY).await;
        assert_eq!(rig.read_and_where(KEY).await, (value("1"), "near"));
    };
    filled().await;
    others.set(KEY, "2".into(), Ttl::Forever).await.unwrap();
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "far"));
    filled().await;
    others.del(&[KEY]).await.unwrap();
    assert_eq!(rig.read_and_where(KEY).await, (None, "far"));
    filled().await;
    others.expire(KEY, Ttl::secs(5)).await.unwrap();
    assert_eq!(rig.tiered.get_entry(KEY).await.unwrap().remaining, Ttl::secs(5));

    // A backend that is full.
    let others = Arc::new(MemoryCache::new(1 << 20, 2));
    let cache = Tiered::new(Line::new(&others), NearConfig::default());
    others.set(KEY, "1".into(), Ttl::Forever).await.unwrap();
    others.set("b", "1".into(), Ttl::Forever).await.unwrap();
    for key in [KEY, "b"] {
        assert_eq!(text(cache.get(key).await), value("1"));
    }
    others.set("c", "1".into(), Ttl::Forever).await.unwrap();
    others.set("d", "1".into(), Ttl::Forever).await.unwrap();
    for key in [KEY, "b"] {
        let far = text(others.get(key).await);
        assert_eq!(text(cache.get(key).await), far);
    }
    assert!(others.evictions() >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_flush_empties_the_near_tier() {
    let rig = Rig::new();
    for number in 0..2_000 {
        let key = format!("user:{number}");
        rig.others_set(&key, "1").await;
        rig.read(&key).await;
    }
    assert_eq!(rig.tiered.stats().entries, 2_000);
    rig.others.clear();
    let stats = rig.tiered.stats();
    assert_eq!((stats.entries, stats.bytes, stats.resets), (0, 0, 1));
    assert_eq!(rig.read_and_where("user:0").await, (None, "far"));
}

#[tokio::test(start_paused = true)]
async fn one_message_with_many_keys_removes_them_all() {
    let rig = Rig::new();
    let keys: Vec<String> = (0..100).map(|number| format!("user:{number}")).collect();
    for key in &keys {
        rig.others_set(key, "1").await;
        rig.read(key).await;
    }
    rig.line.reports().tell(&Invalidation::Keys(keys[10..].to_vec()));
    assert_eq!(rig.tiered.stats().entries, 10);
    for (number, key) in keys.iter().enumerate() {
        let wanted = if number < 10 { "near" } else { "far" };
        assert_eq!(rig.read_and_where(key).await, (value("1"), wanted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_between_the_reply_and_the_insert_leaves_nothing_stale() {
    // The reply has left the backend, the change is reported, then the reply reaches the tier.
    for (there, back) in [(0, 10), (10, 10), (10, 0), (0, 0)] {
        for change_after in 0..=21 {
            let rig = Rig::new();
            rig.others_set(KEY, "1").await;
            rig.line.takes(ms(there), ms(back));
            let change = async {
                tokio::time::sleep(ms(change_after)).await;
                rig.others_set(KEY, "2").await;
            };
            tokio::join!(rig.read(KEY), change);
            assert_eq!(rig.read(KEY).await, value("2"), "{there}/{back}/{change_after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn until_its_report_arrives_a_change_is_not_seen_and_from_then_on_it_is() {
    let rig = Rig::new();
    rig.others_set(KEY, "1").await;
    rig.read(KEY).await;
    rig.line.reports().hold();
    rig.others_set(KEY, "2").await;
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "near"));
    rig.line.reports().deliver();
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "far"));
}

#[tokio::test(start_paused = true)]
async fn those_above_hear_of_a_change_after_the_tier_has_dropped_it() {
    let rig = Rig::new();
    rig.others_set(KEY, "1").await;
    rig.read(KEY).await;
    // What somebody above finds near at the moment at which it hears of the change.
    let found = Arc::new(Mutex::new(Vec::new()));
    let above = {
        let (tiered, found) = (Arc::downgrade(&rig.tiered), Arc::clone(&found));
        move |_: &Invalidation| {
            let entries = tiered.upgrade().map(|tiered| tiered.stats().entries);
            found.lock().unwrap().push(entries);
        }
    };
    let subscription = rig.tiered.invalidations().unwrap().subscribe(Arc::new(above));
    rig.others_set(KEY, "2").await;
    rig.read(KEY).await;
    rig.line.reports().cut();
    assert_eq!(*found.lock().unwrap(), [Some(0), Some(0)]);
    drop(subscription);
    rig.line.reports().mend();
    rig.others_set(KEY, "3").await;
    assert_eq!(found.lock().unwrap().len(), 2, "nobody is told any more");
}

#[tokio::test(start_paused = true)]
async fn a_tier_above_a_tier_is_kept_true_too() {
    let rig = Rig::new();
    let above = Tiered::new(rig.tiered.clone(), NearConfig::default());
    rig.others_set(KEY, "1").await;
    assert_eq!(text(above.get(KEY).await), value("1"));
    assert_eq!(text(above.get(KEY).await), value("1"));
    assert_eq!(above.stats().hits, 1);
    rig.others_set(KEY, "2").await;
    assert_eq!(text(above.get(KEY).await), value("2"));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_holds_no_more_memory_than_it_counts_for() {
    let rig = Rig::new();
    // A slice of a large buffer, as a client may hand it out.
    let buffer = Bytes::from(vec![b'v'; 1 << 20]);
    rig.others
        .set(KEY, buffer.slice(..10), Ttl::Forever)
        .await
        .unwrap();
    let first = rig.tiered.get(KEY).await.unwrap();
    assert_eq!(first.as_ptr(), buffer.as_ptr(), "the caller gets what was read");
    let second = rig.tiered.get(KEY).await.unwrap();
    assert_eq!(second, first);
    assert_ne!(second.as_ptr(), buffer.as_ptr(), "the tier keeps a copy");
}
