//! Scenarios 27 to 35: one load per key in one process.

use std::io;
use std::time::Duration;

use cache_core::clock;
use cache_layers::Loaded;
use cache_layers::read_through::{Abandoned, Coordination, ReadError};
use cache_mock::{Fault, Operation};
use futures::future::join_all;

use crate::rig::{KEY, LEASE, Rig, ms, secs, text};

#[tokio::test(start_paused = true)]
async fn concurrent_misses_are_one_load() {
    let rig = Rig::new();
    let process = rig.process();
    let calls = (0..100).map(|_| process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(200))));
    let before = clock::now();
    for answer in join_all(calls).await {
        assert_eq!(text(answer), "Ada");
    }
    assert_eq!(rig.upstream.loads(), 1);
    assert_eq!(clock::now() - before, ms(200));
    assert_eq!((process.stats().loads, process.stats().joined), (1, 99));
}

#[tokio::test(start_paused = true)]
async fn different_keys_do_not_block_each_other() {
    let rig = Rig::new();
    let process = rig.process();
    let before = clock::now();
    let keys: Vec<String> = (0..50).map(|number| format!("user:{number}")).collect();
    let calls = keys
        .iter()
        .map(|key| process.get_or_load(key, rig.upstream.gives_text("Ada", ms(200))));
    join_all(calls)
        .await
        .into_iter()
        .for_each(|answer| drop(text(answer)));
    assert_eq!(rig.upstream.loads(), 50);
    assert_eq!(clock::now() - before, ms(200));
}

#[tokio::test(start_paused = true)]
async fn a_loaders_error_reaches_all_waiters_and_is_not_cached() {
    let rig = Rig::new();
    let process = rig.process_with(|config| config.coordination(Coordination::Process));
    let calls = (0..20).map(|_| process.get_or_load(KEY, rig.upstream.fails(ms(50))));
    for answer in join_all(calls).await {
        let error = answer.unwrap_err();
        assert_eq!(error.to_string(), "the load failed");
        assert_eq!(
            error.load_error::<io::Error>().unwrap().to_string(),
            "upstream is down"
        );
    }
    assert_eq!(rig.upstream.loads(), 1);
    let next = process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", ms(50)))
        .await;
    assert_eq!(text(next), "Ada");
    assert_eq!(rig.upstream.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_an_error_the_next_call_of_a_fleet_retries_when_the_hold_is_over_or_off() {
    let rig = Rig::new();
    let process = rig.process();
    assert!(
        process
            .get_or_load(KEY, rig.upstream.fails(ms(50)))
            .await
            .is_err()
    );
    let held = process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", ms(50)))
        .await;
    assert!(matches!(held, Err(ReadError::HeldBack { .. })), "{held:?}");
    tokio::time::sleep(LEASE).await;
    let next = process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", ms(50)))
        .await;
    assert_eq!(text(next), "Ada");

    let eager = rig.process_with(|config| config.failure_hold(Duration::ZERO));
    assert!(
        eager
            .get_or_load("other", rig.upstream.fails(ms(50)))
            .await
            .is_err()
    );
    let next = eager
        .get_or_load("other", rig.upstream.gives_text("Bob", ms(50)))
        .await;
    assert_eq!(text(next), "Bob");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_loader_is_an_error_to_all_and_nothing_is_stuck() {
    let rig = Rig::new();
    let process = rig.process_with(|config| config.failure_hold(Duration::ZERO));
    async fn explode() -> Result<Loaded, io::Error> {
        tokio::time::sleep(ms(10)).await;
        panic!("a bug of the loader")
    }
    let calls = (0..10).map(|_| process.get_or_load(KEY, explode));
    for answer in join_all(calls).await {
        assert!(matches!(answer, Err(ReadError::Panicked)), "{answer:?}");
    }
    fn explode_at_once() -> std::future::Ready<Result<Loaded, io::Error>> {
        panic!("before there is a future")
    }
    let answer = process.get_or_load(KEY, explode_at_once).await;
    assert!(matches!(answer, Err(ReadError::Panicked)), "{answer:?}");
    let next = process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", ms(10)))
        .await;
    assert_eq!(text(next), "Ada");
    assert_eq!(process.stats().load_failures, 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_caller_is_cancelled_and_the_others_are_served_and_the_value_is_stored() {
    let rig = Rig::new();
    let process = rig.process();
    let first = process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(200)));
    let second = async {
        tokio::time::sleep(ms(10)).await;
        process
            .get_or_load(KEY, rig.upstream.gives_text("Bob", ms(200)))
            .await
    };
    let (first, second) = tokio::join!(tokio::time::timeout(ms(50), first), second);
    assert!(first.is_err(), "the first caller left");
    assert_eq!(text(second), "Ada");
    process.settled().await;
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("Ada"));
    assert_eq!(rig.upstream.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_all_callers_are_cancelled_the_load_finishes_or_ends_as_the_policy_says() {
    for (policy, stored) in [(Abandoned::Finish, Some("Ada")), (Abandoned::Cancel, None)] {
        let rig = Rig::new();
        let process = rig.process_with(|config| config.abandoned(policy));
        for _ in 0..2 {
            let call = process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(200)));
            let both = async { tokio::join!(call, process.get_or_load(KEY, rig.upstream.fails(ms(1)))) };
            assert!(tokio::time::timeout(ms(50), both).await.is_err());
            if policy == Abandoned::Finish {
                break;
            }
            process.settled().await;
        }
        process.settled().await;
        assert_eq!(rig.stored(KEY).await.as_deref(), stored, "{policy:?}");
        // Given up, it holds nobody back and leaves nothing behind.
        assert_eq!(rig.memory.len(), u64::from(stored.is_some()), "{policy:?}");
        assert_eq!(rig.upstream.loads(), if stored.is_some() { 1 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_another_process_is_given_up_too_when_nobody_is_left() {
    let rig = Rig::new();
    let (holder, waiter) = (
        rig.process(),
        rig.process_with(|config| config.abandoned(Abandoned::Cancel)),
    );
    let held = holder.get_or_load(KEY, rig.upstream.gives_text("Ada", secs(5)));
    let leaves = async {
        tokio::time::sleep(ms(10)).await;
        let call = waiter.get_or_load(KEY, rig.upstream.gives_text("Bob", secs(5)));
        assert!(tokio::time::timeout(ms(50), call).await.is_err());
        let before = clock::now();
        waiter.settled().await;
        assert_eq!(clock::now(), before);
    };
    let (held, ()) = tokio::join!(held, leaves);
    assert_eq!(text(held), "Ada");
    assert_eq!(rig.upstream.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_with_one_caller_left_is_not_given_up() {
    let rig = Rig::new();
    let process = rig.process_with(|config| config.abandoned(Abandoned::Cancel));
    let leaves = process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(200)));
    let stays = process.get_or_load(KEY, rig.upstream.gives_text("Bob", ms(200)));
    let (left, stayed) = tokio::join!(tokio::time::timeout(ms(50), leaves), stays);
    assert!(left.is_err());
    assert_eq!(text(stayed), "Ada");
}

#[tokio::test(start_paused = true)]
async fn who_comes_as_the_last_caller_leaves_is_served_by_the_same_load() {
    let rig = Rig::new();
    let process = rig.process_with(|config| config.abandoned(Abandoned::Cancel));
    let mut leaves = Box::pin(process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(100))));
    assert!(tokio::time::timeout(ms(10), &mut leaves).await.is_err());
    // With nothing in between: the load has heard of nothing yet.
    drop(leaves);
    let comes = process.get_or_load(KEY, rig.upstream.gives_text("Bob", ms(100)));
    assert_eq!(text(comes.await), "Ada");
    assert_eq!(rig.upstream.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_right_after_a_load_never_loads_again() {
    let rig = Rig::new();
    // Each operation takes 5 ms, so that a call can fall between the load and the storing.
    let (process, faults) = rig.faulty_with(|config| config);
    faults.always(cache_mock::Operation::ALL, &cache_mock::Fault::Delay(ms(5)));
    let calls = (0..200_u64).map(|number| {
        let call = process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(100)));
        async move {
            tokio::time::sleep(ms(number)).await;
            text(call.await)
        }
    });
    for answer in join_all(calls).await {
        assert_eq!(answer, "Ada");
    }
    assert_eq!(rig.upstream.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_loader_may_load_another_key() {
    let rig = Rig::new();
    let process = rig.process();
    let (inner, upstream) = (process.clone(), rig.upstream.clone());
    let answer = process.get_or_load("outer", move || async move {
        let found = inner
            .get_or_load("inner", upstream.gives_text("Ada", ms(10)))
            .await?;
        Ok::<_, ReadError>(Loaded::new(found.value.unwrap_or_default()))
    });
    assert_eq!(text(answer.await), "Ada");
}

#[tokio::test(start_paused = true)]
async fn the_same_key_again_in_its_loader_is_detected_and_no_deadlock() {
    let rig = Rig::new();
    let process = rig.process();
    let (inner, upstream) = (process.clone(), rig.upstream.clone());
    let before = clock::now();
    let answer = process.get_or_load(KEY, move || async move {
        let found = inner.get_or_load(KEY, upstream.gives_text("Ada", ms(10))).await;
        found.map(|_| Loaded::absent())
    });
    let error = answer.await.unwrap_err();
    let cause = error.load_error::<ReadError>().unwrap();
    assert!(matches!(cause, ReadError::Reentered), "{cause:?}");
    assert_eq!(clock::now(), before);
}

#[tokio::test(start_paused = true)]
async fn two_loaders_that_wait_for_each_other_are_detected() {
    let rig = Rig::new();
    let (one, two) = (
        rig.process(),
        rig.process_with(|config| config.coordination(Coordination::Process)),
    );
    let crossed = |process: &cache_layers::ReadThrough, own: &'static str, other: &'static str| {
        let (outer, inner) = (process.clone(), process.clone());
        async move {
            let load = move || async move {
                tokio::time::sleep(ms(10)).await;
                let nothing = || async { Ok::<_, io::Error>(Loaded::absent()) };
                inner
                    .get_or_load(other, nothing)
                    .await
                    .map(|_| Loaded::new("done"))
            };
            outer.get_or_load(own, load).await
        }
    };
    for process in [one, two] {
        let before = clock::now();
        let (a, b) = tokio::join!(crossed(&process, "a", "b"), crossed(&process, "b", "a"));
        // Who closes the circle is told; then the other has an answer, if only an error.
        assert!(a.is_err() || b.is_err());
        let told = [a, b].into_iter().filter_map(Result::err);
        let cycles = told.filter(|error| {
            let cause = error.load_error::<ReadError>();
            matches!(cause, Some(ReadError::Reentered))
        });
        assert_eq!(cycles.count(), 1);
        assert_eq!(clock::now() - before, ms(10));
        tokio::time::sleep(secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiters_own_deadline_hurts_nobody_else() {
    let rig = Rig::new();
    let process = rig.process();
    let waiters = (1..=50_u64).map(|number| {
        let call = process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(295)));
        tokio::time::timeout(ms(number * 10), call)
    });
    let answers = join_all(waiters).await;
    let served = answers.into_iter().filter_map(Result::ok).map(text);
    assert_eq!(served.filter(|value| value == "Ada").count(), 21);
    assert_eq!(rig.upstream.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_never_polled_again_holds_up_nobody() {
    for polls in 1..6 {
        let rig = Rig::new();
        let (one, faults) = rig.faulty_with(|config| config);
        let other = rig.process();
        faults.always(Operation::ALL, &Fault::Delay(ms(10)));
        let mut stuck = Box::pin(one.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(100))));
        for _ in 0..polls {
            assert!(futures::poll!(&mut stuck).is_pending());
            tokio::time::sleep(ms(10)).await;
        }
        let before = clock::now();
        for process in [&one, &other] {
            let answer = process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(100)));
            assert_eq!(text(answer.await), "Ada");
        }
        let took = clock::now() - before;
        assert!(took < ms(300), "{took:?} after {polls} polls");
        assert_eq!(rig.upstream.loads(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_is_in_the_span_of_its_caller() {
    use tracing::Instrument as _;
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry());
    let rig = Rig::new();
    let process = rig.process();
    let load = || async {
        let span = tracing::Span::current();
        let name = span.metadata().map_or("none", |metadata| metadata.name());
        Ok::<_, std::io::Error>(Loaded::new(name))
    };
    let call = process.get_or_load(KEY, load);
    let answer = call.instrument(tracing::info_span!("request")).await;
    assert_eq!(text(answer), "request");
    let many = process.get_or_load_many(&["a", "b"], |keys| async move {
        let span = tracing::Span::current();
        let name = span.metadata().map_or("none", |metadata| metadata.name());
        Ok::<_, std::io::Error>(keys.iter().map(|_| Ok(Loaded::new(name))).collect())
    });
    for answer in many.instrument(tracing::info_span!("batch")).await {
        assert_eq!(text(answer), "batch");
    }
}
