//! A near tier of bytes below the read-through: its copies may be behind what another process has stored.

use std::sync::Arc;

use cache_core::{CacheClient, clock};
use cache_layers::read_through::RefreshAhead;
use cache_layers::{NearConfig, ReadThrough, Tiered};

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
