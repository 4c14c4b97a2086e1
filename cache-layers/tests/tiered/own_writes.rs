//! A caller sees its own writes at once, whatever became of them.

use std::sync::Arc;

use cache_core::{CacheClient, CacheError, Ttl};
use cache_layers::{NearConfig, Tiered};
use cache_mock::{Fault, FaultyCache, Operation};

use crate::line::Line;
use crate::rig::{KEY, LIFE, Rig, ms, text, value};

/// No report comes, and near entries live long: what is seen is the tier's own doing.
fn unreported() -> Rig {
    let config = NearConfig::builder().untracked_life(LIFE).build().unwrap();
    Rig::with(config, Line::silent)
}

#[tokio::test(start_paused = true)]
async fn a_caller_sees_its_own_write_at_once() {
    let rig = unreported();
    let cache = &rig.tiered;
    macro_rules! seen {
        ($before:expr, $write:expr, $after:expr) => {{
            let before: Option<&str> = $before;
            match before {
                Some(before) => rig.others_set(KEY, before).await,
                None => _ = rig.others.del(&[KEY]).await.unwrap(),
            }
            cache.del(&["other"]).await.unwrap();
            cache.expire(KEY, Ttl::Forever).await.unwrap();
            assert_eq!(rig.read(KEY).await.as_deref(), before);
            $write.await.unwrap();
            let after: Option<&str> = $after;
            assert_eq!(rig.read(KEY).await.as_deref(), after, "{}", stringify!($write));
        }};
    }
    seen!(Some("1"), cache.set(KEY, "2".into(), Ttl::Forever), Some("2"));
    seen!(
        Some("1"),
        cache.set_many(&[("other", "x".into()), (KEY, "2".into())], Ttl::Forever),
        Some("2")
    );
    seen!(
        None,
        cache.set_if_absent(KEY, "2".into(), Ttl::Forever),
        Some("2")
    );
    seen!(
        Some("1"),
        cache.compare_and_set(KEY, b"1", "2".into(), Ttl::Forever),
        Some("2")
    );
    seen!(Some("1"), cache.compare_and_delete(KEY, b"1"), None);
    let entries = [
        ("other", "x".into(), Ttl::Forever),
        (KEY, "2".into(), Ttl::Forever),
    ];
    let set_each = async || {
        cache
            .set_each(&entries)
            .await
            .into_iter()
            .collect::<Result<Vec<()>, _>>()
    };
    seen!(Some("1"), set_each(), Some("2"));
    seen!(Some("1"), cache.get_and_delete(KEY), None);
    seen!(Some("1"), cache.del(&["other", KEY]), None);
    seen!(Some("1"), cache.incr(KEY), Some("2"));
    seen!(Some("1"), cache.incr_by(KEY, 5, Ttl::Forever), Some("6"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_sees_the_life_that_it_has_set() {
    let rig = unreported();
    rig.others_set(KEY, "1").await;
    assert_eq!(rig.tiered.get_entry(KEY).await.unwrap().remaining, Ttl::Forever);
    rig.tiered.expire(KEY, Ttl::secs(2)).await.unwrap();
    assert_eq!(rig.tiered.get_entry(KEY).await.unwrap().remaining, Ttl::secs(2));
    assert_eq!(rig.tiered.get_and_expire(KEY, Ttl::secs(1)).await.unwrap(), "1");
    assert_eq!(rig.tiered.get_entry(KEY).await.unwrap().remaining, Ttl::secs(1));
    assert_eq!(rig.tiered.get_and_expire(KEY, Ttl::secs(2)).await.unwrap(), "1");
    tokio::time::advance(ms(2_000)).await;
    assert_eq!(rig.read(KEY).await, None);
}

#[tokio::test(start_paused = true)]
async fn get_each_answers_near_and_reads_the_rest_far_at_once() {
    let rig = unreported();
    rig.others_set(KEY, "1").await;
    assert_eq!(rig.read(KEY).await, value("1"));
    rig.others_set("other", "2").await;
    let results = rig.tiered.get_each(&["other", KEY, "", "none", KEY]).await;
    let texts: Vec<_> = results
        .into_iter()
        .map(|result| result.map_err(|error| error.kind()))
        .collect();
    let wanted = [
        Ok("2".into()),
        Ok("1".into()),
        Err("invalid_input"),
        Err("miss"),
        Ok("1".into()),
    ];
    assert_eq!(texts, wanted);
    assert_eq!((rig.line.reads(), rig.line.batches()), (1, 1));
    rig.tiered.get_each(&[KEY, KEY]).await;
    assert_eq!(rig.line.batches(), 1, "all of it was near");
}

#[tokio::test(start_paused = true)]
async fn read_under_way_when_get_and_delete_answers_is_not_kept() {
    let rig = unreported();
    rig.others_set(KEY, "1").await;
    rig.line.takes(ms(0), ms(100));
    let slow = tokio::spawn({
        let cache = Arc::clone(&rig.tiered);
        async move { text(cache.get(KEY).await) }
    });
    tokio::time::sleep(ms(10)).await;
    rig.line.takes(ms(1), ms(1));
    assert_eq!(rig.tiered.get_and_delete(KEY).await.unwrap(), "1");
    assert_eq!(rig.read(KEY).await, None, "the deleter joins no read from before");
    assert_eq!(slow.await.unwrap(), value("1"));
    assert_eq!(rig.read_and_where(KEY).await, (None, "far"));
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_reply_is_lost_is_seen_all_the_same() {
    let rig = unreported();
    let faulty = FaultyCache::new(rig.line.clone() as Arc<dyn CacheClient>);
    let faults = faulty.faults().clone();
    let config = NearConfig::builder().untracked_life(LIFE).build().unwrap();
    let cache = Tiered::new(Arc::new(faulty), config);
    rig.others_set(KEY, "1").await;
    assert_eq!(text(cache.get(KEY).await), value("1"));
    faults.next(Operation::Set, Fault::LostReply(ms(100)));
    let error = cache.set(KEY, "2".into(), Ttl::Forever).await.unwrap_err();
    assert!(matches!(error, CacheError::Timeout { .. }), "{error}");
    assert_eq!(text(cache.get(KEY).await), value("2"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_dropped_midway_is_seen_all_the_same() {
    let rig = unreported();
    rig.others_set(KEY, "1").await;
    assert_eq!(rig.read(KEY).await, value("1"));
    rig.line.takes(ms(10), ms(10));
    let dropped = tokio::time::timeout(ms(15), rig.tiered.set(KEY, "2".into(), Ttl::Forever)).await;
    assert!(
        dropped.is_err(),
        "it was carried out, and its reply is on its way"
    );
    assert_eq!(rig.read(KEY).await, value("2"));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_under_way_when_a_write_answers_is_neither_kept_nor_joined() {
    let rig = unreported();
    rig.others_set(KEY, "1").await;
    // The read has seen the old value, and its reply takes long.
    rig.line.takes(ms(0), ms(100));
    let slow = tokio::spawn({
        let cache = Arc::clone(&rig.tiered);
        async move { text(cache.get(KEY).await) }
    });
    tokio::time::sleep(ms(10)).await;
    rig.line.takes(ms(1), ms(1));
    rig.tiered.set(KEY, "2".into(), Ttl::Forever).await.unwrap();
    assert_eq!(
        rig.read(KEY).await,
        value("2"),
        "the writer joins no read from before"
    );
    assert_eq!(
        slow.await.unwrap(),
        value("1"),
        "who asked before the write may get the old one"
    );
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "near"));
}
