//! What others find in the cache, and what is made of what they left there.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use cache_core::{Bytes, CacheClient, CacheError, MemoryCache, Ttl};
use cache_layers::read_through::Codec;
use cache_layers::{Loaded, NearConfig, TypedReadThrough};
use futures::FutureExt as _;

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

/// A caller that, each time it is woken, looks how long what the cache has is.
struct Caller {
    memory: Arc<MemoryCache>,
    seen: AtomicUsize,
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        let found = self.memory.get(KEY).now_or_never();
        let size = found.map_or(0, |value| value.map_or(0, |value| value.len()));
        self.seen.store(size, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn the_value_is_on_its_way_to_the_cache_before_a_caller_here_is_woken() {
    let rig = Rig::new();
    let process = rig.process();
    let caller = Arc::new(Caller {
        memory: rig.memory.clone(),
        seen: AtomicUsize::new(0),
    });
    let waker = Waker::from(Arc::clone(&caller));
    let value = Bytes::from(vec![b'v'; 1_000]);
    let mut call = pin!(process.get_or_load(KEY, rig.upstream.gives(Loaded::new(value), ms(10))));
    loop {
        if let Poll::Ready(answer) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
            assert_eq!(answer.unwrap().value.unwrap().len(), 1_000);
            break;
        }
        tokio::time::sleep(ms(1)).await;
    }
    let seen = caller.seen.load(Ordering::SeqCst);
    assert!(seen > 1_000, "{seen} bytes when it was woken");
}

/// Of a service with a bug.
#[derive(Debug)]
struct Bug;

impl Codec<u64> for Bug {
    fn encode(&self, _: &u64) -> Result<Bytes, CacheError> {
        panic!("a bug of the codec")
    }
    fn decode(&self, _: &Bytes) -> Result<u64, CacheError> {
        panic!("a bug of the codec")
    }
}

#[tokio::test(start_paused = true)]
async fn a_codec_that_panics_costs_callers_nothing_but_the_storing() {
    let rig = Rig::new();
    let config = rig.config().build().unwrap();
    let numbers = TypedReadThrough::new(rig.memory.clone(), Bug, config, NearConfig::default());
    let answer = numbers
        .get_or_load(KEY, rig.upstream.gives(Loaded::of(7), ms(1)))
        .await;
    assert_eq!(answer.unwrap().value.as_deref(), Some(&7));
    numbers.settled().await;
}
