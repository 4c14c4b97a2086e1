//! The read-through of decoded values: all that holds for bytes, decoded once, kept near and true.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cache_core::{Bytes, CacheClient, CacheError, Ttl};
use cache_layers::read_through::{
    Answer, Codec, Json, NearConfig, NearStatus, ReadError, RefreshAhead, TypedReadThrough,
};
use cache_layers::{Loaded, ReadThrough};
use cache_mock::{Fault, FaultyCache, Operation};
use futures::future::join_all;

use crate::rig::{KEY, LIFE, Loading, Rig, ms, secs};
use crate::wire::Wire;

/// JSON that counts how often it is read, and that has no form for the word "unspeakable".
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicU32>);

impl Counting {
    fn decoded(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Codec<String> for Counting {
    fn encode(&self, value: &String) -> Result<Bytes, CacheError> {
        if value == "unspeakable" {
            return Err(CacheError::InvalidInput {
                argument: "value",
                reason: "has no form".into(),
            });
        }
        Json.encode(value)
    }

    fn decode(&self, stored: &Bytes) -> Result<String, CacheError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Json.decode(stored)
    }
}

type Names = TypedReadThrough<String>;

fn over(rig: &Rig, client: Arc<dyn CacheClient>) -> (Names, Counting) {
    let codec = Counting::default();
    let config = rig.config().build().unwrap();
    let names = Names::new(client, codec.clone(), config, NearConfig::default());
    (names, codec)
}

fn names(rig: &Rig) -> (Names, Counting) {
    over(rig, rig.memory.clone())
}

/// A loader that takes 10 ms.
fn loader(rig: &Rig, name: &str) -> impl FnOnce() -> Loading<String> + Send + use<> {
    rig.upstream.gives(Loaded::of(name.to_owned()), ms(10))
}

async fn load(names: &Names, rig: &Rig, name: &'static str) -> Arc<String> {
    value(names.get_or_load(KEY, loader(rig, name)).await)
}

fn value(answer: Result<Answer<Arc<String>>, ReadError>) -> Arc<String> {
    answer.unwrap().value.expect("a value")
}

/// The entry as another process puts it.
async fn put(rig: &Rig, name: &str) {
    let json = serde_json::to_vec(name).unwrap();
    rig.process().put(KEY, Loaded::new(json)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hit_is_the_same_value_and_an_entry_is_decoded_once() {
    let rig = Rig::new();
    let (names, codec) = names(&rig);
    put(&rig, "Ada").await;
    let first = load(&names, &rig, "Bob").await;
    for _ in 0..100 {
        assert!(Arc::ptr_eq(&first, &load(&names, &rig, "Bob").await));
    }
    assert_eq!((&**first, codec.decoded(), rig.upstream.loads()), ("Ada", 1, 0));
    assert_eq!(names.near_status(), NearStatus::Tracked);
    let near = names.near_stats();
    assert_eq!((near.hits, near.misses, near.entries), (100, 1, 1));
    assert_eq!(names.stats().hits, 101);
}

#[tokio::test(start_paused = true)]
async fn callers_that_come_at_once_decode_once() {
    let rig = Rig::new();
    let slow = FaultyCache::new(rig.memory.clone());
    slow.faults().always(Operation::ALL, &Fault::Delay(ms(1)));
    let (names, codec) = over(&rig, Arc::new(slow));
    put(&rig, "Ada").await;
    let calls = (0..100).map(|_| load(&names, &rig, "Bob"));
    let values = join_all(calls).await;
    assert!(values.iter().all(|value| Arc::ptr_eq(value, &values[0])));
    assert_eq!((codec.decoded(), names.near_stats().joined), (1, 99));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_load_gets_what_was_loaded_and_nothing_is_decoded() {
    let rig = Rig::new();
    let (names, codec) = names(&rig);
    let calls = (0..100).map(|_| load(&names, &rig, "Ada"));
    let values = join_all(calls).await;
    assert!(values.iter().all(|value| Arc::ptr_eq(value, &values[0])));
    assert_eq!((codec.decoded(), rig.upstream.loads()), (0, 1));
    names.settled().await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
    assert_eq!(rig.upstream.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_by_another_process_is_seen_at_once_where_changes_are_reported() {
    let rig = Rig::new();
    let (names, _) = names(&rig);
    put(&rig, "Ada").await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
    put(&rig, "Eve").await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Eve");
    rig.memory.del(&[KEY]).await.unwrap();
    assert_eq!(*load(&names, &rig, "Bob").await, "Bob");
}

#[tokio::test(start_paused = true)]
async fn where_changes_are_not_reported_a_copy_lives_for_a_short_time() {
    let rig = Rig::new();
    let (names, codec) = over(&rig, Arc::new(Wire::deaf(rig.memory.clone())));
    assert!(matches!(names.near_status(), NearStatus::ShortLived { .. }));
    put(&rig, "Ada").await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
    put(&rig, "Eve").await;
    tokio::time::advance(ms(999)).await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
    tokio::time::advance(ms(1)).await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Eve");
    assert_eq!(codec.decoded(), 2);
}

#[tokio::test(start_paused = true)]
async fn own_puts_and_invalidations_and_loads_are_seen_at_once_in_either_case() {
    let rig = Rig::new();
    let deaf: Arc<dyn CacheClient> = Arc::new(Wire::deaf(rig.memory.clone()));
    for client in [rig.memory.clone(), deaf] {
        rig.memory.del(&[KEY]).await.unwrap();
        let (names, _) = over(&rig, client);
        names.put(KEY, Loaded::of("Ada".to_owned())).await.unwrap();
        assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
        names.put(KEY, Loaded::of("Eve".to_owned())).await.unwrap();
        assert_eq!(*load(&names, &rig, "Bob").await, "Eve");
        names.invalidate(&[KEY]).await.unwrap();
        assert_eq!(*load(&names, &rig, "Bob").await, "Bob");
        names.settled().await;
        assert_eq!(*load(&names, &rig, "Joe").await, "Bob");
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_does_not_outlive_its_entry() {
    let rig = Rig::new();
    let near = NearConfig::builder().untracked_life(secs(60)).build().unwrap();
    let config = rig.config().build().unwrap();
    let deaf = Arc::new(Wire::deaf(rig.memory.clone()));
    let names = Names::new(deaf, Counting::default(), config, near);
    put(&rig, "Ada").await;
    rig.memory.expire(KEY, Ttl::secs(2)).await.unwrap();
    assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
    tokio::time::advance(ms(1_999)).await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
    tokio::time::advance(ms(1)).await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Bob");
}

#[tokio::test(start_paused = true)]
async fn an_expired_entry_is_loaded_anew_though_its_copy_is_near() {
    let rig = Rig::new();
    let config = rig.config().stale_limit(secs(1_000)).build().unwrap();
    let near = NearConfig::builder().life(secs(10_000)).build().unwrap();
    let names = Names::new(rig.memory.clone(), Counting::default(), config, near);
    assert_eq!(*load(&names, &rig, "Ada").await, "Ada");
    names.settled().await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
    tokio::time::advance(LIFE).await;
    assert_eq!(*load(&names, &rig, "Bob").await, "Bob");
    names.settled().await;
    // Beyond its life and within the limit it is given where the load fails, and says so.
    tokio::time::advance(LIFE).await;
    let stale = names.get_or_load(KEY, rig.upstream.fails(ms(10))).await.unwrap();
    assert!(stale.is_stale());
    assert_eq!(**stale.value.as_ref().unwrap(), "Bob");
    assert_eq!(rig.upstream.loads(), 3);
    // And near, while no load is tried: the load took the copy away once, by writing to make sure of the entry.
    let misses = names.near_stats().misses;
    for _ in 0..3 {
        let answer = names.get_or_load(KEY, rig.upstream.fails(ms(10))).await;
        assert!(answer.unwrap().is_stale());
    }
    assert_eq!((rig.upstream.loads(), names.near_stats().misses), (3, misses + 1));
}

#[tokio::test(start_paused = true)]
async fn a_ripe_copy_is_given_at_once_and_refreshed_once_in_the_background() {
    let rig = Rig::new();
    let deaf: Arc<dyn CacheClient> = Arc::new(Wire::deaf(rig.memory.clone()));
    for client in [rig.memory.clone(), deaf] {
        rig.memory.del(&[KEY]).await.unwrap();
        let config = rig.config().refresh_ahead(RefreshAhead::AtFraction(0.5));
        let near = NearConfig::builder()
            .life(secs(10_000))
            .untracked_life(secs(10_000));
        let names = Names::new(
            client,
            Counting::default(),
            config.build().unwrap(),
            near.build().unwrap(),
        );
        load(&names, &rig, "Ada").await;
        names.settled().await;
        load(&names, &rig, "Bob").await;
        tokio::time::advance(LIFE / 2).await;
        for _ in 0..10 {
            assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
        }
        names.settled().await;
        assert_eq!(*load(&names, &rig, "Joe").await, "Bob", "seen at once");
        assert_eq!((names.stats().loads, names.stats().refreshes), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn that_there_is_none_is_kept_near_for_its_own_short_life() {
    let rig = Rig::new();
    let (names, _) = names(&rig);
    let nobody = || rig.upstream.gives(Loaded::absent(), ms(1));
    for _ in 0..3 {
        let answer = names.get_or_load(KEY, nobody()).await.unwrap();
        assert!(answer.value.is_none());
        names.settled().await;
    }
    assert_eq!((rig.upstream.loads(), names.near_stats().hits), (1, 1));
    tokio::time::advance(secs(10)).await;
    assert_eq!(*load(&names, &rig, "Ada").await, "Ada");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_loaded_anew_and_not_deleted_beforehand() {
    let rig = Rig::new();
    let config = rig.config().failure_hold(ms(0)).build().unwrap();
    let names = Names::new(
        rig.memory.clone(),
        Counting::default(),
        config,
        NearConfig::default(),
    );
    rig.process().put(KEY, Loaded::new("no JSON")).await.unwrap();
    let stored = rig.memory.get(KEY).await.unwrap();
    let failed = names.get_or_load(KEY, rig.upstream.fails(ms(10))).await;
    assert!(matches!(failed, Err(ReadError::Load(_))), "{failed:?}");
    names.settled().await;
    assert_eq!(
        rig.memory.get(KEY).await.unwrap(),
        stored,
        "a neighbour may use it"
    );
    assert_eq!(*load(&names, &rig, "Ada").await, "Ada");
    names.settled().await;
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("\"Ada\""));
    assert!(names.stats().undecodable > 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_encoded_is_returned_and_counted_and_not_stored() {
    let rig = Rig::new();
    let (names, _) = names(&rig);
    assert_eq!(*load(&names, &rig, "unspeakable").await, "unspeakable");
    names.settled().await;
    assert_eq!(names.stats().unencodable, 1);
    assert_eq!(rig.memory.exists(&[KEY]).await.unwrap(), 0);
    let put = names.put(KEY, Loaded::of("unspeakable".to_owned())).await;
    assert!(matches!(put, Err(CacheError::InvalidInput { .. })), "{put:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_what_is_near_costs_nothing_and_what_was_read_is_near_then() {
    let rig = Rig::new();
    let (names, codec) = names(&rig);
    let ask = async |keys: &[&str]| -> Vec<String> {
        let upstream = rig.upstream.clone();
        let load = move |missing: Vec<String>| {
            let loading = upstream.gives(Loaded::of(()), ms(1))();
            async move {
                let Loaded { .. } = loading.await?;
                let load = |key: String| Ok(Loaded::of(format!("loaded {key}")));
                Ok::<_, io::Error>(missing.into_iter().map(load).collect())
            }
        };
        let answers = names.get_or_load_many(keys, load).await;
        answers
            .into_iter()
            .map(|answer| value(answer).to_string())
            .collect()
    };
    names.put("b", Loaded::of("stored b".to_owned())).await.unwrap();
    assert_eq!(
        ask(&["c", "b", "a", "c"]).await,
        ["loaded c", "stored b", "loaded a", "loaded c"]
    );
    assert_eq!((rig.upstream.loads(), codec.decoded()), (1, 1));
    names.settled().await;
    ask(&["a", "b", "c"]).await;
    assert_eq!(codec.decoded(), 3);
    let misses = names.near_stats().misses;
    ask(&["a", "b", "c"]).await;
    assert_eq!((codec.decoded(), names.near_stats().misses), (3, misses));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_in_the_middle_of_a_far_read_strands_nobody() {
    let rig = Rig::new();
    let slow = FaultyCache::new(rig.memory.clone());
    slow.faults().always(Operation::ALL, &Fault::Delay(ms(100)));
    let (names, _) = over(&rig, Arc::new(slow));
    put(&rig, "Ada").await;
    let leaves = tokio::time::timeout(ms(50), load(&names, &rig, "Bob"));
    let (left, stayed) = tokio::join!(leaves, load(&names, &rig, "Bob"));
    assert!(left.is_err());
    assert_eq!(*stayed, "Ada");
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_values_are_loaded_and_none_is_kept() {
    let rig = Rig::new();
    let broken = FaultyCache::new(rig.memory.clone());
    broken.faults().always(Operation::ALL, &Fault::connection_lost());
    let (names, _) = over(&rig, Arc::new(broken));
    for number in 1..=3 {
        assert_eq!(*load(&names, &rig, "Ada").await, "Ada");
        names.settled().await;
        assert_eq!(rig.upstream.loads(), number);
    }
    assert_eq!(names.near_stats().entries, 0);
}

/// The same entries are read by both forms, and one lease is for both.
#[tokio::test(start_paused = true)]
async fn one_of_bytes_and_a_typed_one_on_the_same_keys_are_one_load() {
    let rig = Rig::new();
    let (names, _) = names(&rig);
    let bytes: ReadThrough = rig.process();
    let (typed, plain) = tokio::join!(
        load(&names, &rig, "Ada"),
        bytes.get_or_load(KEY, rig.upstream.gives_text("\"Bob\"", ms(10)))
    );
    assert_eq!(
        format!("{typed:?}"),
        String::from_utf8(plain.unwrap().value.unwrap().to_vec()).unwrap()
    );
    assert_eq!(rig.upstream.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_printed_shows_a_value() {
    let rig = Rig::new();
    let (names, _) = names(&rig);
    let bytes = rig.process();
    let _answer = load(&names, &rig, "hunter2").await;
    let under_way = bytes.get_or_load("other", rig.upstream.gives_text("hunter2", secs(1)));
    assert!(
        tokio::time::timeout(Duration::from_millis(1), under_way)
            .await
            .is_err()
    );
    let answer = names.get_or_load(KEY, loader(&rig, "Bob")).await;
    let said = format!(
        "{names:?} {bytes:?} {answer:?} {:?}",
        Loaded::of("hunter2".to_owned())
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_never_polled_again_holds_up_nobody() {
    let rig = Rig::new();
    put(&rig, "Ada").await;
    let client = FaultyCache::new(rig.memory.clone());
    let faults = client.faults().clone();
    let (names, _) = over(&rig, Arc::new(client));
    faults.always(Operation::ALL, &Fault::Delay(ms(10)));
    let mut stuck = Box::pin(names.get_or_load(KEY, loader(&rig, "Bob")));
    assert!(futures::poll!(&mut stuck).is_pending());
    let before = cache_core::clock::now();
    assert_eq!(*load(&names, &rig, "Bob").await, "Ada");
    assert_eq!(cache_core::clock::now() - before, ms(10));
    assert_eq!(faults.calls(Operation::GetEntry), 1);
}
