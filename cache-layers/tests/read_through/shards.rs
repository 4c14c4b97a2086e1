//! A part of the cache is down: keys that are elsewhere do not notice.

use std::sync::Arc;

use cache_core::slot::slot_of;
use cache_core::{CacheClient, MemoryCache, clock};
use cache_layers::{Prefixed, ReadThrough};
use cache_mock::{Fault, Faults, FaultyCache, Operation};
use futures::future::join_all;

use crate::rig::{KEY, LEASE_KEY, Rig, ms, text};

/// The slots of the first of three primaries.
const DOWN: std::ops::RangeInclusive<u16> = 0..=5_460;

/// Without a hash tag, with one, with braces that are none.
fn keys(prefix: &str) -> Vec<String> {
    let forms = (0..100).flat_map(|number| {
        [
            format!("user:{number}"),
            format!("{{tenant-{number}}}:user"),
            format!("a{{b:{number}"),
            format!("a{{}}{{b}}:{number}"),
        ]
    });
    forms
        .filter(|key| !DOWN.contains(&slot_of(format!("{prefix}{key}").as_bytes())))
        .collect()
}

fn faulty(memory: &Arc<MemoryCache>, prefix: &str) -> (Arc<dyn CacheClient>, Faults) {
    let client = FaultyCache::new(Arc::clone(memory));
    let faults = client.faults().clone();
    let client: Arc<dyn CacheClient> = Arc::new(client);
    if prefix.is_empty() {
        return (client, faults);
    }
    (Arc::new(Prefixed::new(client, prefix).unwrap()), faults)
}

async fn load_all(rig: &Rig, process: &ReadThrough, keys: &[String]) {
    let calls = keys
        .iter()
        .map(|key| process.get_or_load(key, rig.upstream.gives_text("Ada", ms(10))));
    for answer in join_all(calls).await {
        assert_eq!(text(answer), "Ada");
    }
    process.settled().await;
}

#[tokio::test(start_paused = true)]
async fn keys_of_other_slots_are_loaded_once_stored_and_invalidated() {
    for prefix in ["", "shop:"] {
        for fault in [Fault::connection_lost(), Fault::Hang] {
            let rig = Rig::new();
            let (client, faults) = faulty(&rig.memory, prefix);
            faults.on_slots(DOWN, Operation::ALL, &fault);
            let (first, second) = (
                rig.over(Arc::clone(&client), |config| config),
                rig.over(client, |config| config),
            );
            let keys = keys(prefix);
            load_all(&rig, &first, &keys).await;
            load_all(&rig, &second, &keys).await;
            assert_eq!(rig.upstream.loads() as usize, keys.len(), "{prefix} {fault:?}");
            for process in [&first, &second] {
                let stats = process.stats();
                assert_eq!((stats.cache_failures, stats.without_lease), (0, 0), "{fault:?}");
            }
            for key in &keys {
                first.invalidate(&[key]).await.unwrap();
            }
            load_all(&rig, &second, &keys).await;
            assert_eq!(rig.upstream.loads() as usize, keys.len() * 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_fails_leaves_the_value_what_it_needs() {
    for fault in [Fault::connection_lost(), Fault::Hang] {
        let rig = Rig::new();
        let (process, faults) = rig.faulty_with(|config| config);
        faults.on_key(LEASE_KEY, Operation::ALL, &fault);
        let before = clock::now();
        let answer = process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(10)));
        assert_eq!(text(answer.await), "Ada");
        assert!(clock::now() - before <= ms(510), "{fault:?}");
        process.settled().await;
        assert_eq!(rig.stored(KEY).await.as_deref(), Some("Ada"), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_deleted_whatever_becomes_of_its_lease() {
    for fault in [Fault::connection_lost(), Fault::Hang] {
        let rig = Rig::new();
        let (process, faults) = rig.faulty_with(|config| config);
        load_all(&rig, &process, &[KEY.to_owned()]).await;
        faults.on_key(LEASE_KEY, Operation::ALL, &fault);
        process.invalidate(&[KEY]).await.unwrap();
        assert_eq!(rig.stored(KEY).await, None, "{fault:?}");
    }
}
