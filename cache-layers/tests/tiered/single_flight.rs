//! One far read for all who want a key at once.

use std::pin::pin;
use std::sync::Arc;

use cache_core::{CacheClient, CacheError, clock};
use cache_layers::{NearConfig, Tiered};
use cache_mock::{Fault, FaultyCache, Operation};
use futures::future::join_all;

use crate::rig::{KEY, Rig, SHORT, ms, text, value};

#[tokio::test(start_paused = true)]
async fn a_hundred_cold_reads_of_a_key_are_one_far_read() {
    let rig = Rig::new();
    rig.others_set(KEY, "1").await;
    rig.line.takes(ms(5), ms(5));
    let reads = join_all((0..100).map(|_| rig.read(KEY))).await;
    assert!(reads.iter().all(|read| *read == value("1")));
    assert_eq!(rig.line.reads(), 1);
    let stats = rig.tiered.stats();
    assert_eq!((stats.misses, stats.joined, stats.hits), (1, 99, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_too_each_key_is_read_far_once() {
    let rig = Arc::new(Rig::new());
    for number in 0..2_000_u64 {
        let key: Arc<str> = format!("user:{number}").into();
        rig.others_set(&key, "1").await;
        let calls = (0..8).map(|_| {
            let (rig, key) = (Arc::clone(&rig), Arc::clone(&key));
            tokio::spawn(async move { rig.read(&key).await })
        });
        for read in join_all(calls).await {
            assert_eq!(read.unwrap(), value("1"));
        }
        assert_eq!(rig.line.reads(), number + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_miss_and_an_error_are_everybodys_and_an_error_is_not_kept() {
    let rig = Rig::new();
    rig.line.takes(ms(5), ms(5));
    let reads = join_all((0..10).map(|_| rig.read(KEY))).await;
    assert!(reads.iter().all(Option::is_none));
    assert_eq!(rig.line.reads(), 1);
    assert_eq!(rig.read_and_where(KEY).await, (None, "near"));

    let faulty = FaultyCache::new(rig.line.clone() as Arc<dyn CacheClient>);
    faulty
        .faults()
        .next(Operation::GetEntries, Fault::LostReply(ms(50)));
    let faults = faulty.faults().clone();
    let cache = Tiered::new(Arc::new(faulty), NearConfig::default());
    rig.others_set(KEY, "1").await;
    for answer in join_all((0..10).map(|_| cache.get(KEY))).await {
        assert!(matches!(answer, Err(CacheError::Timeout { .. })));
    }
    assert_eq!(faults.calls(Operation::GetEntries), 1);
    assert_eq!(text(cache.get(KEY).await), value("1"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_dropped_strands_nobody() {
    let rig = Rig::new();
    rig.others_set(KEY, "1").await;
    rig.line.takes(ms(50), ms(50));
    let first = rig.read(KEY);
    let leader = tokio::time::timeout(ms(30), first);
    let followers = join_all((0..10).map(|_| rig.read(KEY)));
    let (leader, followers) = tokio::join!(leader, followers);
    assert!(leader.is_err(), "the one that began the far read was dropped");
    assert!(followers.iter().all(|read| *read == value("1")));
    assert_eq!(rig.line.reads(), 1, "the others went on with it");
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "near"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_never_polled_again_holds_up_nobody() {
    let rig = Rig::new();
    rig.others_set(KEY, "1").await;
    rig.line.takes(ms(50), ms(50));
    let mut stuck = pin!(rig.read(KEY));
    assert!(futures::poll!(stuck.as_mut()).is_pending());
    let before = clock::now();
    assert_eq!(rig.read(KEY).await, value("1"));
    assert_eq!((clock::now() - before, rig.line.reads()), (ms(100), 1));
    assert_eq!(rig.read_and_where(KEY).await, (value("1"), "near"));
    assert_eq!(stuck.await, value("1"));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_began_long_ago_is_not_joined() {
    let rig = Rig::silent();
    rig.others_set(KEY, "1").await;
    rig.line.takes(ms(50), ms(50));
    let mut stuck = pin!(rig.read(KEY));
    assert!(futures::poll!(stuck.as_mut()).is_pending());
    tokio::time::sleep(SHORT).await;
    rig.others_set(KEY, "2").await;
    assert_eq!(rig.read(KEY).await, value("2"));
    stuck.await;
    assert_eq!(rig.line.reads(), 2);
    assert_eq!(rig.read_and_where(KEY).await, (value("2"), "near"));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_dropped_and_whenever_the_others_are_answered() {
    for dropped in 0..5_usize {
        for at in [0, 1, 49, 50, 51, 99, 100] {
            let rig = Rig::new();
            rig.others_set(KEY, "1").await;
            rig.line.takes(ms(50), ms(50));
            let calls = (0..5).map(|caller| {
                let patience = if caller <= dropped { ms(at) } else { ms(100_000) };
                tokio::time::timeout(patience, rig.read(KEY))
            });
            for (caller, read) in join_all(calls).await.into_iter().enumerate() {
                match read {
                    Ok(read) => assert_eq!(read, value("1")),
                    Err(_) => assert!(caller <= dropped),
                }
            }
            assert_eq!(rig.read(KEY).await, value("1"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn different_keys_do_not_wait_for_each_other() {
    let rig = Rig::new();
    rig.others_set(KEY, "1").await;
    rig.others_set("other", "2").await;
    rig.line.takes(ms(0), ms(1_000));
    let slow = rig.read(KEY);
    let fast = async {
        tokio::task::yield_now().await;
        rig.line.takes(ms(0), ms(0));
        rig.read("other").await
    };
    let both = async {
        tokio::select! {
            biased;
            _ = slow => panic!("the slow one takes a second"),
            read = fast => read,
        }
    };
    assert_eq!(both.await, value("2"));
}
