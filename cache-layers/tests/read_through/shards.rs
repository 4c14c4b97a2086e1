//! A part of the cache is down: keys that are elsewhere do not notice.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::slot::slot_of;
use cache_core::{CacheClient, CacheError, MemoryCache, clock};
use cache_layers::read_through::{Json, NearConfig, ReadError, TypedReadThrough};
use cache_layers::{Loaded, Prefixed, ReadThrough};
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

/// 90 keys of healthy slots and 10 of slots that are down, mixed.
fn batch() -> (Vec<String>, Vec<String>) {
    let is_down = |key: &String| DOWN.contains(&slot_of(key.as_bytes()));
    let all = |down: bool, count| {
        let keys = (0..).map(|number| format!("user:{number}"));
        keys.filter(move |key| is_down(key) == down).take(count)
    };
    let (healthy, down): (Vec<_>, Vec<_>) = (all(false, 90).collect(), all(true, 10).collect());
    let mixed = down.iter().zip(healthy.chunks(9));
    let mixed = mixed.flat_map(|(down, healthy)| std::iter::once(down).chain(healthy));
    (mixed.cloned().collect(), down)
}

/// The two read-throughs, asked for the same.
enum Process {
    Bytes(ReadThrough),
    Typed(TypedReadThrough<String>),
}

/// What one batch came to: the answers, which keys were loaded, and how long the caller waited.
type Came = (Vec<Result<String, ReadError>>, Vec<String>, Duration);

impl Process {
    fn over(rig: &Rig, client: Arc<dyn CacheClient>, typed: bool) -> Self {
        if typed {
            let config = rig.config().build().unwrap();
            return Self::Typed(TypedReadThrough::new(client, Json, config, NearConfig::default()));
        }
        Self::Bytes(rig.over(client, |config| config))
    }

    /// Every key that is loaded is `KEY`, in JSON; those of `failing` fail.
    async fn ask(&self, keys: &[String], failing: &[String]) -> Came {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let loaded = Arc::new(Mutex::new(Vec::new()));
        let (calls, failing) = (Arc::clone(&loaded), failing.to_vec());
        let load = move |missing: Vec<String>| {
            calls.lock().unwrap().extend(missing.clone());
            let load = |key: String| {
                if failing.contains(&key) {
                    return Err(io::Error::other("no such key"));
                }
                Ok(key)
            };
            missing.into_iter().map(load).collect::<Vec<_>>()
        };
        let begun = clock::now();
        let (answers, took) = match self {
            Self::Bytes(process) => {
                let form = |key: String| Loaded::new(format!("\"{key}\""));
                let load = move |missing| {
                    let answers = load(missing).into_iter().map(|answer| answer.map(form));
                    let answers = answers.collect();
                    async { Ok::<_, io::Error>(answers) }
                };
                let answers = process.get_or_load_many(&keys, load).await.into_iter();
                let text = |value: cache_core::Bytes| serde_json::from_slice(&value).unwrap();
                let answers = answers.map(|answer| answer.map(|answer| text(answer.value.unwrap())));
                let came = (answers.collect(), clock::now() - begun);
                process.settled().await;
                came
            }
            Self::Typed(process) => {
                let load = move |missing| {
                    let answers = load(missing).into_iter().map(|answer| answer.map(Loaded::of));
                    let answers = answers.collect();
                    async { Ok::<_, io::Error>(answers) }
                };
                let answers = process.get_or_load_many(&keys, load).await.into_iter();
                let answers =
                    answers.map(|answer| answer.map(|answer| String::clone(&answer.value.unwrap())));
                let came = (answers.collect(), clock::now() - begun);
                process.settled().await;
                came
            }
        };
        let loaded = std::mem::take(&mut *loaded.lock().unwrap());
        (answers, loaded, took)
    }
}

fn faults_of_a_shard() -> [Fault; 3] {
    // One is certain, one is not, and one is never answered.
    [Fault::connection_lost(), Fault::LostRequest(ms(100)), Fault::Hang]
}

#[tokio::test(start_paused = true)]
async fn warm_keys_of_a_batch_are_hits_while_a_shard_is_down() {
    for (typed, fault) in [false, true]
        .into_iter()
        .flat_map(|typed| faults_of_a_shard().map(|f| (typed, f)))
    {
        let rig = Rig::new();
        let (client, faults) = faulty(&rig.memory, "");
        let (keys, down) = batch();
        // Another process has loaded all of them: nothing is near.
        let warm = Process::over(&rig, rig.memory.clone(), typed);
        assert_eq!(warm.ask(&keys, &[]).await.1.len(), 100);

        let process = Process::over(&rig, client, typed);
        faults.on_slots(DOWN, Operation::ALL, &fault);
        let (answers, mut loaded, took) = process.ask(&keys, &down[..1]).await;
        loaded.sort();
        let mut expected = down.clone();
        expected.sort();
        assert_eq!(loaded, expected, "{typed} {fault:?}");
        for (answer, key) in answers.iter().zip(&keys) {
            match answer {
                Ok(value) => assert_eq!(value, key),
                Err(error) => assert!(
                    *key == down[0] && matches!(error, ReadError::Load(_)),
                    "{typed} {fault:?} {key}: {error}"
                ),
            }
        }
        assert!(answers[0].is_err(), "the first key is one of those that are down");
        assert!(took <= ms(500), "{typed} {fault:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cold_keys_of_a_batch_are_stored_while_a_shard_is_down() {
    for (typed, fault) in [false, true]
        .into_iter()
        .flat_map(|typed| faults_of_a_shard().map(|f| (typed, f)))
    {
        let rig = Rig::new();
        let (client, faults) = faulty(&rig.memory, "");
        let (keys, down) = batch();
        faults.on_slots(DOWN, Operation::ALL, &fault);
        let process = Process::over(&rig, client, typed);
        let (answers, loaded, took) = process.ask(&keys, &[]).await;
        assert_eq!(loaded.len(), 100);
        assert!(took <= ms(500), "{typed} {fault:?}: {took:?}");
        assert!(answers.iter().all(Result::is_ok), "{typed} {fault:?}");

        // What was stored is a hit for another process; the keys of the shard are not there.
        let other = Process::over(&rig, rig.memory.clone(), typed);
        let (_, mut loaded, _) = other.ask(&keys, &[]).await;
        loaded.sort();
        let mut expected = down;
        expected.sort();
        assert_eq!(loaded, expected, "{typed} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn batch_is_read_by_one_call() {
    let rig = Rig::new();
    let (client, faults) = faulty(&rig.memory, "");
    let process = Process::over(&rig, client, false);
    let (keys, _) = batch();
    process.ask(&keys, &[]).await;
    let before = faults.all_calls();
    process.ask(&keys, &[]).await;
    assert_eq!(faults.all_calls() - before, 1);

    // With the whole cache gone it is one call, too.
    faults.always(Operation::ALL, &Fault::Error(CacheError::Closed));
    let before = faults.all_calls();
    assert_eq!(process.ask(&keys, &[]).await.1.len(), 100);
    assert_eq!(faults.all_calls() - before, 1);
}
