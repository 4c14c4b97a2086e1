//! Calls with many keys: what they read is kept, as what one call reads.

use cache_core::{Bytes, CacheClient, CacheError, Lookup, Ttl};
use cache_mock::{Fault, FaultyCache, Operation};
use std::sync::Arc;

use cache_layers::{NearConfig, Tiered};

use crate::rig::{Rig, ms, secs, value};

const KEYS: [&str; 4] = ["a", "b", "c", "missing"];

async fn rig() -> Rig {
    let rig = Rig::new();
    for key in &KEYS[..3] {
        rig.others_set(key, key).await;
    }
    rig
}

/// What each kind of call with many keys finds of [`KEYS`].
async fn read(rig: &Rig, kind: usize) -> Vec<Option<Bytes>> {
    let found = |result: Result<Bytes, CacheError>| match result {
        Ok(value) => Some(value),
        Err(CacheError::Miss) => None,
        Err(error) => panic!("{error}"),
    };
    match kind {
        0 => rig.tiered.get_many(&KEYS).await.unwrap(),
        1 => rig.tiered.get_each(&KEYS).await.into_iter().map(found).collect(),
        _ => {
            let lookups = rig.tiered.get_entries(&KEYS).await.into_iter();
            lookups
                .map(|lookup| found(lookup.unwrap().into_entry().map(|entry| entry.value)))
                .collect()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_a_batch_has_read_are_answered_near_by_every_call() {
    for first in 0..3 {
        let rig = rig().await;
        let wanted = KEYS.map(|key| (key != "missing").then(|| Bytes::from(key)));
        assert_eq!(read(&rig, first).await, wanted);
        assert_eq!(rig.line.batches(), 1);
        for second in 0..3 {
            assert_eq!(read(&rig, second).await, wanted, "{first} then {second}");
        }
        for key in &KEYS[..3] {
            assert_eq!(rig.read_and_where(key).await, (value(key), "near"));
        }
        assert_eq!(rig.read_and_where("missing").await, (None, "near"));
        assert_eq!(rig.tiered.exists(&["a", "missing", "b", "a"]).await.unwrap(), 3);
        assert_eq!(
            (rig.line.reads(), rig.line.batches(), rig.line.counts()),
            (0, 1, 0)
        );
        // One far call for the keys that are not near, and it does not ask for the others.
        rig.others_set("a", "2").await;
        assert_eq!(read(&rig, first).await[0], Some("2".into()));
        assert_eq!(
            rig.line.reads() + rig.line.batches(),
            2,
            "one key is a call of its own"
        );
        assert_eq!(rig.tiered.exists(&["a", "other"]).await.unwrap(), 1);
        assert_eq!(rig.line.counts(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn change_that_overtakes_a_batch_leaves_nothing_stale() {
    for kind in 0..3 {
        let rig = rig().await;
        rig.line.takes(ms(0), secs(1));
        let (first, ()) = futures::join!(read(&rig, kind), async {
            // The batch has been carried out, and its answer is on its way.
            tokio::time::sleep(ms(500)).await;
            rig.others_set("a", "2").await;
            rig.others_set("missing", "there").await;
        });
        assert_eq!(
            (&first[0], &first[3]),
            (&Some("a".into()), &None),
            "as it was then"
        );
        rig.line.takes(ms(0), ms(0));
        assert_eq!(rig.read_and_where("a").await, (value("2"), "far"));
        assert_eq!(rig.read_and_where("missing").await, (value("there"), "far"));
        assert_eq!(rig.read_and_where("b").await, (value("b"), "near"));
        assert!(rig.tiered.stats().poisoned > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn own_write_during_a_batch_is_seen_after_it() {
    let rig = rig().await;
    rig.line.takes(ms(0), secs(1));
    let write = async {
        tokio::time::sleep(ms(500)).await;
        rig.tiered
            .set("missing", "mine".into(), Ttl::Forever)
            .await
            .unwrap();
    };
    let (_, ()) = futures::join!(rig.tiered.get_many(&KEYS), write);
    rig.line.takes(ms(0), ms(0));
    assert_eq!(rig.read("missing").await, value("mine"));
    assert_eq!(rig.tiered.exists(&["missing"]).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn batch_beside_a_single_read_does_not_keep_it_from_being_kept() {
    let rig = rig().await;
    rig.line.takes(ms(0), secs(1));
    let late = async {
        tokio::time::sleep(ms(100)).await;
        rig.tiered.get_many(&KEYS).await.unwrap()
    };
    let (single, many) = futures::join!(rig.read("a"), late);
    assert_eq!((single, &many[0]), (value("a"), &Some("a".into())));
    rig.line.takes(ms(0), ms(0));
    assert_eq!(rig.read_and_where("a").await, (value("a"), "near"));
}

#[tokio::test(start_paused = true)]
async fn batch_that_began_while_changes_were_not_reported_keeps_nothing() {
    for kind in 0..3 {
        let rig = rig().await;
        rig.line.reports().cut();
        rig.line.takes(ms(0), secs(1));
        // Its report is lost, and changes are reported again before the batch has its answer.
        let change = async {
            tokio::time::sleep(ms(100)).await;
            rig.others_set("a", "newer").await;
            rig.line.reports().mend();
        };
        futures::join!(read(&rig, kind), change);
        rig.line.takes(ms(0), ms(0));
        assert_eq!(rig.read_and_where("a").await, (value("newer"), "far"));
    }
}

#[tokio::test(start_paused = true)]
async fn batch_keeps_a_key_whose_single_read_is_never_polled_again() {
    let rig = rig().await;
    rig.line.takes(ms(0), secs(1));
    let mut stuck = Box::pin(rig.tiered.get("a"));
    assert!(futures::poll!(&mut stuck).is_pending());
    // As long as it is recent, the batch leaves the key to it.
    tokio::time::sleep(secs(1)).await;
    let read = rig.tiered.get_many(&KEYS).await.unwrap();
    assert_eq!(read[0], Some("a".into()));
    rig.line.takes(ms(0), ms(0));
    assert_eq!(rig.read_and_where("a").await, (value("a"), "near"));
    drop(stuck);
    assert_eq!(rig.read_and_where("a").await, (value("a"), "near"));
}

#[tokio::test(start_paused = true)]
async fn lost_connection_during_a_batch_leaves_nothing() {
    let rig = rig().await;
    rig.line.takes(ms(0), secs(1));
    let cut = async {
        tokio::time::sleep(ms(500)).await;
        rig.line.reports().cut();
        rig.others_set("a", "2").await;
        rig.line.reports().mend();
    };
    let (_, ()) = futures::join!(rig.tiered.get_many(&KEYS), cut);
    rig.line.takes(ms(0), ms(0));
    assert_eq!(rig.read_and_where("a").await, (value("2"), "far"));
}

#[tokio::test(start_paused = true)]
async fn key_that_fails_fails_alone_and_is_read_again() {
    let rig = rig().await;
    let faulty = FaultyCache::new(rig.line.clone() as Arc<dyn CacheClient>);
    faulty
        .faults()
        .next(Operation::GetEntries, Fault::connection_lost_after(2));
    let cache = Tiered::new(Arc::new(faulty), NearConfig::default());
    let results = cache.get_each(&KEYS).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
    assert!(matches!(results[2], Err(CacheError::Unavailable { .. })));
    let results = cache.get_each(&KEYS).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    assert_eq!(rig.line.batches(), 2);
    assert!(matches!(
        cache.get_entries(&["", "a"]).await[..],
        [Err(CacheError::InvalidInput { .. }), Ok(Lookup::Found(_))]
    ));
}

#[tokio::test(start_paused = true)]
async fn batch_of_a_thousand_keys_is_kept_whole() {
    let rig = Rig::new();
    let keys: Vec<String> = (0..1_000).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        rig.others_set(key, key).await;
    }
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert!(
        rig.tiered
            .get_many(&all)
            .await
            .unwrap()
            .iter()
            .all(Option::is_some)
    );
    assert!(rig.tiered.get_each(&all).await.iter().all(Result::is_ok));
    assert_eq!((rig.line.reads(), rig.line.batches()), (0, 1));
    assert_eq!(rig.tiered.stats().hits, 1_000);
}
