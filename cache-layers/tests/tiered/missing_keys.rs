//! Keys that do not exist: that is kept near too, where the backend reports when a key is created.

use cache_core::{CacheClient, Lookup, Ttl};

use crate::line::Line;
use crate::rig::{KEY, LIFE, Rig, ms, secs, value};
use cache_layers::NearConfig;

#[tokio::test(start_paused = true)]
async fn missing_key_is_answered_near_until_somebody_creates_it() {
    let rig = Rig::new();
    assert_eq!(rig.read_and_where(KEY).await, (None, "far"));
    assert_eq!(rig.read_and_where(KEY).await, (None, "near"));
    assert!(rig.tiered.get_entry(KEY).await.unwrap_err().is_miss());
    assert!(matches!(
        rig.tiered.get_entries(&[KEY]).await[..],
        [Ok(Lookup::Absent(absence))] if absence.tracked
    ));
    assert_eq!(rig.tiered.exists(&[KEY]).await.unwrap(), 0);
    assert_eq!((rig.line.reads(), rig.line.counts()), (1, 0));

    rig.others_set(KEY, "1").await;
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "far"));
    rig.others.del(&[KEY]).await.unwrap();
    assert_eq!(rig.read_and_where(KEY).await, (None, "far"));
    assert_eq!(rig.read_and_where(KEY).await, (None, "near"));
}

#[tokio::test(start_paused = true)]
async fn creation_that_overtakes_the_answer_is_not_forgotten() {
    let rig = Rig::new();
    rig.line.takes(ms(0), secs(1));
    let create = async {
        tokio::time::sleep(ms(500)).await;
        rig.others_set(KEY, "1").await;
    };
    let (first, ()) = futures::join!(rig.read(KEY), create);
    assert_eq!(first, None, "as it was when the server answered");
    rig.line.takes(ms(0), ms(0));
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "far"));
}

#[tokio::test(start_paused = true)]
async fn own_creation_is_seen_at_once_by_every_read() {
    let rig = Rig::new();
    // No report will come: what is seen is the tier's own doing.
    rig.line.reports().hold();
    for key in ["a", "b", "c", "d"] {
        assert_eq!(rig.read(key).await, None);
    }
    let cache = &rig.tiered;
    cache.set("a", "1".into(), Ttl::Forever).await.unwrap();
    assert!(cache.set_if_absent("b", "1".into(), Ttl::Forever).await.unwrap());
    cache.incr("c").await.unwrap();
    cache.set_each(&[("d", "1".into(), Ttl::Forever)]).await;
    for key in ["a", "b", "c", "d"] {
        assert_eq!(rig.read(key).await, value("1"), "{key}");
    }
    assert_eq!(cache.exists(&["a", "b", "c", "d"]).await.unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn missing_key_is_read_each_time_where_its_creation_is_not_reported() {
    let long = NearConfig::builder().untracked_life(LIFE).build().unwrap();
    let silent = Rig::with(long, Line::silent);
    let interrupted = Rig::new();
    interrupted.line.reports().cut();
    for rig in [silent, interrupted] {
        for _ in 0..2 {
            assert_eq!(rig.read_and_where(KEY).await, (None, "far"));
        }
        let batches = rig.line.batches();
        for _ in 0..2 {
            assert_eq!(rig.tiered.get_many(&[KEY, "other"]).await.unwrap(), [None, None]);
        }
        assert_eq!(rig.line.batches() - batches, 2);
        assert_eq!(rig.tiered.stats().entries, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn lost_connection_takes_away_what_was_known_to_be_missing() {
    let rig = Rig::new();
    assert_eq!(rig.read(KEY).await, None);
    rig.line.reports().cut();
    rig.others_set(KEY, "1").await;
    assert_eq!(rig.read(KEY).await, value("1"));
}

#[tokio::test(start_paused = true)]
async fn missing_key_is_asked_for_again_when_its_life_is_over() {
    let config = NearConfig::builder().life(LIFE).build().unwrap();
    let rig = Rig::with(config, Line::new);
    assert_eq!(rig.read(KEY).await, None);
    tokio::time::sleep(LIFE - ms(1)).await;
    assert_eq!(rig.read_and_where(KEY).await, (None, "near"));
    tokio::time::sleep(ms(1)).await;
    assert_eq!(rig.read_and_where(KEY).await, (None, "far"));
}
