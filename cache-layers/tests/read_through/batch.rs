//! Scenario 37: many keys in one call.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::clock;
use cache_layers::read_through::{Answer, ReadError, RefreshAhead};
use cache_layers::{Loaded, ReadThrough};

use crate::rig::{Rig, ms, secs, text};

type Calls = Arc<Mutex<Vec<Vec<String>>>>;

/// Asks for many; every key that is loaded is `loaded KEY`, but `bad` fails. Notes each call of the loader.
async fn ask(process: &ReadThrough, keys: &[&str], calls: &Calls) -> Vec<Result<Answer, ReadError>> {
    let calls = Arc::clone(calls);
    let load = move |missing: Vec<String>| {
        calls.lock().unwrap().push(missing.clone());
        async move {
            tokio::time::sleep(ms(100)).await;
            let load = |key: String| match key.as_str() {
                "bad" => Err(io::Error::other("no such key")),
                _ => Ok(Loaded::new(format!("loaded {key}"))),
            };
            Ok::<_, io::Error>(missing.into_iter().map(load).collect())
        }
    };
    process.get_or_load_many(keys, load).await
}

fn seen(calls: &Calls) -> Vec<Vec<String>> {
    calls.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_only_the_missing_are_loaded_and_order_is_kept() {
    let rig = Rig::new();
    let (process, calls) = (rig.process(), Calls::default());
    process.put("b", Loaded::new("stored b")).await.unwrap();
    let answers = ask(&process, &["c", "b", "a", "c"], &calls).await;
    let answers: Vec<String> = answers.into_iter().map(text).collect();
    assert_eq!(answers, ["loaded c", "stored b", "loaded a", "loaded c"]);
    assert_eq!(seen(&calls), [["c", "a"]]);
    process.settled().await;
    assert!(
        ask(&process, &["a", "b", "c"], &calls)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert!(ask(&process, &[], &calls).await.is_empty());
    assert_eq!(seen(&calls).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batchs_partial_failure_is_told_apart() {
    let rig = Rig::new();
    let (process, calls) = (rig.process(), Calls::default());
    let answers = ask(&process, &["a", "bad", "", "b"], &calls).await;
    assert!(matches!(answers[1], Err(ReadError::Load(_))), "{:?}", answers[1]);
    assert!(matches!(answers[2], Err(ReadError::Input(_))), "{:?}", answers[2]);
    assert!(answers[0].is_ok() && answers[3].is_ok());
    process.settled().await;
    assert_eq!(rig.stored("a").await.as_deref(), Some("loaded a"));

    let short = |_| async { Ok::<_, io::Error>(vec![Ok(Loaded::new("one"))]) };
    let answers = process.get_or_load_many(&["x", "y"], short).await;
    assert!(answers[0].is_ok());
    assert!(
        matches!(answers[1], Err(ReadError::Unanswered)),
        "{:?}",
        answers[1]
    );

    let failing = |_| async { Err::<Vec<Result<Loaded, io::Error>>, _>(io::Error::other("all of it")) };
    for answer in process.get_or_load_many(&["p", "q"], failing).await {
        assert!(matches!(answer, Err(ReadError::Load(_))), "{answer:?}");
    }
    async fn explode(_: Vec<String>) -> Result<Vec<Result<Loaded, io::Error>>, io::Error> {
        panic!("a bug of the loader")
    }
    for answer in process.get_or_load_many(&["r", "s"], explode).await {
        assert!(matches!(answer, Err(ReadError::Panicked)), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_what_others_load_and_loads_the_rest_at_once() {
    let rig = Rig::new();
    let (process, neighbour, calls) = (rig.process(), rig.process(), Calls::default());
    let here = process.get_or_load("a", rig.upstream.gives_text("from here", ms(300)));
    let there = neighbour.get_or_load("b", rig.upstream.gives_text("from there", ms(400)));
    let batch = async {
        tokio::time::sleep(ms(50)).await;
        let before = clock::now();
        let answers = ask(&process, &["a", "b", "c", "d"], &calls).await;
        (answers, clock::now() - before)
    };
    let (here, there, (answers, took)) = tokio::join!(here, there, batch);
    assert!(here.is_ok() && there.is_ok());
    let answers: Vec<String> = answers.into_iter().map(text).collect();
    assert_eq!(answers, ["from here", "from there", "loaded c", "loaded d"]);
    assert_eq!(seen(&calls), [["c", "d"]]);
    assert_eq!(took, ms(350), "as long as the slowest of the others");
    process.settled().await;
    assert_eq!(rig.stored("c").await.as_deref(), Some("loaded c"));
}

#[tokio::test(start_paused = true)]
async fn overlapping_batches_of_two_processes_load_each_key_once() {
    let rig = Rig::new();
    let (one, two, calls) = (rig.process(), rig.process(), Calls::default());
    let (first, second) = tokio::join!(
        ask(&one, &["a", "b", "c"], &calls),
        ask(&two, &["b", "c", "d"], &calls)
    );
    assert!(first.iter().chain(&second).all(Result::is_ok));
    let mut loaded = seen(&calls).concat();
    loaded.sort_unstable();
    assert_eq!(loaded, ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_refreshes_what_is_ripe_in_the_background() {
    let rig = Rig::new();
    let process = rig.process_with(|config| config.refresh_ahead(RefreshAhead::AtFraction(0.5)));
    let calls = Calls::default();
    ask(&process, &["a", "b"], &calls).await;
    tokio::time::sleep(secs(60)).await;
    let before = clock::now();
    let answers = ask(&process, &["a", "b"], &calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(clock::now() - before, Duration::ZERO);
    process.settled().await;
    assert_eq!(seen(&calls), [["a", "b"], ["a", "b"]]);
}
