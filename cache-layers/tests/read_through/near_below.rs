//! A near tier of bytes below the read-through: its copies may be behind what another process has stored.

use std::sync::Arc;

use cache_core::{CacheClient, MemoryCache, Ttl, clock};
use cache_layers::read_through::{Json, RefreshAhead};
use cache_layers::{Loaded, NearConfig, ReadThrough, ReadThroughConfig, Tiered, TypedReadThrough};

use crate::rig::{KEY, LIFE, Rig, ms, secs, text};
use crate::wire::Wire;

/// A process whose near tier hears of no change and keeps what it read for a minute.
fn behind(rig: &Rig, stale_limit: u64) -> ReadThrough {
    let near = NearConfig::builder().untracked_life(secs(60)).build().unwrap();
    let wire: Arc<dyn CacheClient> = Arc::new(Wire::deaf(rig.memory.clone()));
    rig.over(Arc::new(Tiered::new(wire, near)), |config| {
        config
            .refresh_ahead(RefreshAhead::Before(secs(20)))
            .stale_limit(secs(stale_limit))
    })
}

/// Two processes that both have the old value near, at `age`.
async fn two_with_copies(rig: &Rig, stale_limit: u64, age: u64) -> [ReadThrough; 2] {
    let processes = [behind(rig, stale_limit), behind(rig, stale_limit)];
    let load = || rig.upstream.gives_text("old", ms(0));
    processes[0].get_or_load(KEY, load()).await.unwrap();
    processes[0].settled().await;
    tokio::time::sleep(secs(age - 1)).await;
    for process in &processes {
        let access = process.get_or_load(KEY, load()).await;
        process.settled().await;
        assert_eq!(text(access), "old");
    }
    tokio::time::sleep(secs(1)).await;
    processes
}

#[tokio::test(start_paused = true)]
async fn copy_from_before_a_refresh_causes_no_second_refresh() {
    let rig = Rig::new();
    let [first, second] = two_with_copies(&rig, 0, 80).await;
    let load = || rig.upstream.gives_text("new", ms(0));
    assert_eq!(text(first.get_or_load(KEY, load()).await), "old");
    first.settled().await;
    assert_eq!(rig.upstream.loads(), 2);
    // Its copy is still the old value, and the lease is free again.
    assert_eq!(text(second.get_or_load(KEY, load()).await), "old");
    second.settled().await;
    assert_eq!(rig.upstream.loads(), 2, "the refresh was done already");
    assert_eq!(text(second.get_or_load(KEY, load()).await), "new");
}

#[tokio::test(start_paused = true)]
async fn stale_copy_of_a_value_that_was_loaded_again_causes_no_second_load() {
    let rig = Rig::new();
    let processes = [behind(&rig, 1_000), behind(&rig, 1_000)];
    let load = |value| rig.upstream.gives_text(value, ms(0));
    processes[0].get_or_load(KEY, load("old")).await.unwrap();
    processes[0].settled().await;
    tokio::time::sleep(secs(79)).await;
    for process in &processes {
        assert_eq!(text(process.get_or_load(KEY, load("old")).await), "old");
    }
    tokio::time::sleep(LIFE - secs(79)).await;
    let begun = clock::now();
    for process in &processes {
        assert_eq!(text(process.get_or_load(KEY, load("new")).await), "new");
        process.settled().await;
    }
    assert!(clock::now() - begun < secs(1));
    assert_eq!(rig.upstream.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_typed_read_through_keeps_is_not_kept_a_second_time_below() {
    let memory = Arc::new(MemoryCache::default());
    let below = Arc::new(Tiered::new(memory.clone(), NearConfig::default()));
    let (config, near) = (ReadThroughConfig::default(), NearConfig::default());
    let reads = TypedReadThrough::<String>::new(below.clone(), Json, config, near);
    let get = async |keys: &[&str]| {
        let load = |keys: Vec<String>| async {
            Ok::<_, std::io::Error>(keys.into_iter().map(|key| Ok(Loaded::of(key))).collect())
        };
        let answers = reads.get_or_load_many(keys, load).await;
        reads.settled().await;
        let values = answers.into_iter().map(|answer| answer.unwrap().value.unwrap());
        values.map(|value| String::clone(&value)).collect::<Vec<_>>()
    };
    let load = || async { Ok::<_, std::io::Error>(Loaded::of("value".to_owned())) };
    for _ in 0..3 {
        reads.get_or_load(KEY, load).await.unwrap();
        assert_eq!(get(&["a", "b"]).await, ["a", "b"]);
    }
    assert_eq!(reads.near_stats().entries, 3);
    assert!(reads.near_stats().hits > 0);
    // What stands beside the keys, such as a lease, is no value.
    let stats = below.stats();
    assert_eq!((stats.hits, stats.entries), (0, 0), "{stats:?}");

    // Those who read the client themselves are served from below as before.
    memory.set("own", "value".into(), Ttl::Forever).await.unwrap();
    for _ in 0..2 {
        below.get("own").await.unwrap();
    }
    assert_eq!((below.stats().hits, below.stats().entries), (1, 1));

    // A change made elsewhere takes the one copy away.
    memory.del(&["a"]).await.unwrap();
    assert_eq!(reads.near_stats().entries, 2);
}
