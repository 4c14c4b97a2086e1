//! What others find in the cache, and what is made of what they left there.

use cache_core::{Bytes, CacheClient, MemoryCache, Ttl};
use cache_layers::Loaded;

use crate::rig::{KEY, LIFE, Rig, ms, text};

async fn raw(cache: &MemoryCache, key: &str) -> Bytes {
    cache.get(key).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn another_version_or_another_keys_envelope_is_a_miss_and_never_an_error() {
    let rig = Rig::new();
    let process = rig.process();
    process.put("other", Loaded::new("Bob")).await.unwrap();
    let others = raw(&rig.memory, "other").await;
    let mut newer = others.to_vec();
    newer[3] = 2;
    let foreign: [Bytes; 4] = ["plain text".into(), "".into(), others, newer.into()];
    for stored in foreign {
        rig.memory
            .set(KEY, stored.clone(), Ttl::After(LIFE))
            .await
            .unwrap();
        // It stays while it is being loaded, and if the load fails: a neighbour may use it.
        let process = rig.process_with(|config| config.failure_hold(ms(0)));
        assert!(process.get_or_load(KEY, rig.upstream.fails(ms(1))).await.is_err());
        process.settled().await;
        assert_eq!(raw(&rig.memory, KEY).await, stored);
        let answer = process
            .get_or_load(KEY, rig.upstream.gives_text("Ada", ms(1)))
            .await;
        assert_eq!(text(answer), "Ada");
        process.settled().await;
        assert_eq!(rig.stored(KEY).await.as_deref(), Some("Ada"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_leaves_the_value_and_nothing_else() {
    let rig = Rig::new();
    let process = rig.process();
    process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", ms(1)))
        .await
        .unwrap();
    process.settled().await;
    assert_eq!(rig.memory.len(), 1);
    assert!(raw(&rig.memory, KEY).await.starts_with(b"\xC5\x52\x54\x01\x00"));
}

#[tokio::test(start_paused = true)]
async fn put_is_read_by_every_process_and_invalidate_is_too() {
    let rig = Rig::new();
    let (one, two) = (rig.process(), rig.process());
    one.put(KEY, Loaded::new("Ada")).await.unwrap();
    let read = two.get_or_load(KEY, rig.upstream.gives_text("Bob", ms(1))).await;
    assert_eq!(text(read), "Ada");
    one.invalidate(&[KEY]).await.unwrap();
    let read = two.get_or_load(KEY, rig.upstream.gives_text("Bob", ms(1))).await;
    assert_eq!(text(read), "Bob");
    assert_eq!(rig.upstream.loads(), 1);
}
