//! Scenarios 39 to 44: refresh ahead, stale values, and who wins.

use std::time::Duration;

use cache_core::{CacheClient, clock};
use cache_layers::read_through::{Coordination, ReadError, RefreshAhead};
use cache_layers::{Loaded, ReadThrough};
use cache_mock::{Fault, Operation};
use futures::future::join_all;

use crate::rig::{KEY, LIFE, Rig, ms, secs, text};

fn refreshing(rig: &Rig) -> ReadThrough {
    rig.process_with(|config| config.refresh_ahead(RefreshAhead::AtFraction(0.8)))
}

/// A value that has just been stored.
async fn given(rig: &Rig, process: &ReadThrough, value: &'static str) {
    let load = rig.upstream.gives_text(value, Duration::ZERO);
    process.get_or_load(KEY, load).await.unwrap();
    process.settled().await;
}

#[tokio::test(start_paused = true)]
async fn before_the_refresh_point_none_and_the_first_access_after_it_starts_exactly_one() {
    let rig = Rig::new();
    for refresh_ahead in [RefreshAhead::AtFraction(0.8), RefreshAhead::Before(secs(20))] {
        let process = rig.process_with(|config| config.refresh_ahead(refresh_ahead));
        process.invalidate(&[KEY]).await.unwrap();
        given(&rig, &process, "old").await;
        let loads = rig.upstream.loads();
        tokio::time::sleep(secs(80) - ms(1)).await;
        let access = || process.get_or_load(KEY, rig.upstream.gives_text("new", ms(500)));
        assert_eq!(text(access().await), "old");
        process.settled().await;
        assert_eq!(rig.upstream.loads(), loads);

        tokio::time::sleep(ms(1)).await;
        let before = clock::now();
        for answer in join_all((0..50).map(|_| access())).await {
            assert_eq!(text(answer), "old");
        }
        assert_eq!(clock::now(), before, "nobody waits for a refresh");
        process.settled().await;
        assert_eq!(text(access().await), "new");
        assert_eq!(rig.upstream.loads(), loads + 1);
    }
    // By default it is at 0.8 of the life.
    let default = cache_layers::ReadThroughConfig::builder().build().unwrap();
    assert!(format!("{default:?}").contains("AtFraction(0.8)"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_one_for_all_processes() {
    let rig = Rig::new();
    let processes: Vec<_> = (0..5).map(|_| refreshing(&rig)).collect();
    given(&rig, &processes[0], "old").await;
    tokio::time::sleep(secs(85)).await;
    for process in &processes {
        let access = process.get_or_load(KEY, rig.upstream.gives_text("new", secs(2)));
        assert_eq!(text(access.await), "old");
    }
    for process in &processes {
        process.settled().await;
    }
    assert_eq!(rig.upstream.loads(), 2);
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn who_is_late_to_refresh_sees_that_it_was_done() {
    let rig = Rig::new();
    let ahead = RefreshAhead::AtFraction(0.8);
    let (late, faults) = rig.faulty_with(|config| config.refresh_ahead(ahead).cache_deadline(secs(10)));
    let quick = refreshing(&rig);
    given(&rig, &quick, "old").await;
    tokio::time::sleep(secs(85)).await;
    // Its request for the lease arrives when the other's refresh is over.
    faults.next(Operation::SetIfAbsent, Fault::Delay(secs(1)));
    for process in [&late, &quick] {
        let access = process.get_or_load(KEY, rig.upstream.gives_text("new", ms(500)));
        assert_eq!(text(access.await), "old");
    }
    quick.settled().await;
    late.settled().await;
    assert_eq!(rig.upstream.loads(), 2);
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("new"));
    assert_eq!(rig.memory.len(), 1, "the lease was given back");
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_for_the_lease_does_not_put_off_a_refresh() {
    let rig = Rig::new();
    let ahead = RefreshAhead::AtFraction(0.8);
    let (process, faults) = rig.faulty_with(|config| config.refresh_ahead(ahead));
    given(&rig, &process, "old").await;
    tokio::time::sleep(secs(85)).await;
    faults.next(Operation::SetIfAbsent, Fault::LostRequest(ms(50)));
    let access = process.get_or_load(KEY, rig.upstream.gives_text("new", ms(500)));
    assert_eq!(text(access.await), "old");
    process.settled().await;
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_keeps_the_value_until_it_expires_then_stale_up_to_its_limit() {
    let rig = Rig::new();
    let process = rig.process_with(|config| {
        let config = config.refresh_ahead(RefreshAhead::AtFraction(0.8));
        config.stale_limit(secs(60))
    });
    given(&rig, &process, "old").await;
    let stored = rig.memory.get(KEY).await.unwrap();
    tokio::time::sleep(secs(80)).await;
    let access = || process.get_or_load(KEY, rig.upstream.fails(ms(100)));
    assert!(!access().await.unwrap().is_stale());
    process.settled().await;
    assert_eq!(rig.upstream.loads(), 2);
    assert_eq!(
        rig.memory.get(KEY).await.unwrap(),
        stored,
        "the value and its times are what they were"
    );

    tokio::time::sleep(secs(20)).await;
    let answer = access().await;
    assert!(answer.as_ref().unwrap().is_stale());
    assert_eq!(text(answer), "old");
    tokio::time::sleep(secs(60) - ms(400)).await;
    assert!(access().await.unwrap().is_stale());
    tokio::time::sleep(ms(100)).await;
    let error = access().await.unwrap_err();
    assert!(
        matches!(error, ReadError::Load(_) | ReadError::HeldBack { .. }),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn failing_loads_behind_a_stale_value_are_throttled() {
    for coordination in [Coordination::Process, Coordination::Fleet { lease: secs(10) }] {
        let rig = Rig::new();
        let process = rig.process_with(|config| {
            let config = config.coordination(coordination).stale_limit(secs(600));
            config.retry_after(secs(10))
        });
        given(&rig, &process, "old").await;
        tokio::time::sleep(LIFE).await;
        // 100 s of ten calls a second, each of which could load.
        for _ in 0..1_000 {
            let answer = process.get_or_load(KEY, rig.upstream.fails(Duration::ZERO)).await;
            assert!(answer.unwrap().is_stale());
            tokio::time::sleep(ms(100)).await;
        }
        let tries = rig.upstream.loads() - 1;
        assert!((9..=11).contains(&tries), "{tries} tries, {coordination:?}");
        assert_eq!(process.stats().stale, 1_000);
        // And when it works again, it works.
        tokio::time::sleep(secs(10)).await;
        let answer = process
            .get_or_load(KEY, rig.upstream.gives_text("new", ms(1)))
            .await;
        assert_eq!(text(answer), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_or_a_del_during_a_refresh_wins_and_nothing_deleted_is_resurrected() {
    for del in [true, false] {
        for bare in [true, false] {
            let rig = Rig::new();
            let (process, other) = (refreshing(&rig), rig.process());
            given(&rig, &process, "old").await;
            tokio::time::sleep(secs(90)).await;
            let access = process.get_or_load(KEY, rig.upstream.gives_text("refreshed", ms(500)));
            assert_eq!(text(access.await), "old");
            tokio::time::sleep(ms(100)).await;
            match (del, bare) {
                (true, true) => drop(rig.memory.del(&[KEY]).await.unwrap()),
                (true, false) => other.invalidate(&[KEY]).await.unwrap(),
                (false, _) => other.put(KEY, Loaded::new("set")).await.unwrap(),
            }
            process.settled().await;
            let expected = (!del).then_some("set");
            assert_eq!(rig.stored(KEY).await.as_deref(), expected);
            assert_eq!(process.stats().superseded, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_or_a_del_during_a_first_load_wins_too() {
    for coordination in [Coordination::Process, Coordination::Fleet { lease: secs(10) }] {
        for del in [true, false] {
            let rig = Rig::new();
            let process = rig.process_with(|config| config.coordination(coordination));
            let load = process.get_or_load(KEY, rig.upstream.gives_text("loaded", ms(500)));
            let change = async {
                tokio::time::sleep(ms(100)).await;
                if del {
                    rig.memory.del(&[KEY]).await.unwrap();
                } else {
                    rig.process().put(KEY, Loaded::new("set")).await.unwrap();
                }
            };
            let (answer, ()) = tokio::join!(load, change);
            assert_eq!(text(answer), "loaded", "who asked before the change is served");
            process.settled().await;
            assert_eq!(rig.stored(KEY).await.as_deref(), (!del).then_some("set"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_an_invalidation_does_not_get_what_a_load_from_before_it_brings() {
    let rig = Rig::new();
    let process = rig.process();
    let early = process.get_or_load(KEY, rig.upstream.gives_text("before", ms(500)));
    let late = async {
        tokio::time::sleep(ms(100)).await;
        process.invalidate(&[KEY]).await.unwrap();
        process
            .get_or_load(KEY, rig.upstream.gives_text("after", ms(50)))
            .await
    };
    let (early, late) = tokio::join!(early, late);
    assert_eq!((text(early), text(late)), ("before".into(), "after".into()));
    process.settled().await;
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("after"));
}

#[tokio::test(start_paused = true)]
async fn an_older_load_that_ends_late_does_not_replace_a_newer_value() {
    let rig = Rig::new();
    // Without a lease, two processes load at the same time.
    let [older, newer] =
        [(); 2].map(|()| rig.process_with(|config| config.coordination(Coordination::Process)));
    let slow = older.get_or_load(KEY, rig.upstream.gives_text("older", ms(500)));
    let quick = async {
        tokio::time::sleep(ms(100)).await;
        newer
            .get_or_load(KEY, rig.upstream.gives_text("newer", ms(100)))
            .await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!((text(slow), text(quick)), ("older".into(), "newer".into()));
    older.settled().await;
    newer.settled().await;
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("newer"));
    assert_eq!(older.stats().superseded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_outlives_the_old_value_is_stored_all_the_same() {
    let rig = Rig::new();
    let process = refreshing(&rig);
    given(&rig, &process, "old").await;
    tokio::time::sleep(LIFE - ms(100)).await;
    let access = process.get_or_load(KEY, rig.upstream.gives_text("new", secs(20)));
    assert_eq!(text(access.await), "old");
    tokio::time::sleep(secs(1)).await;
    // Who comes when the old value has expired waits for the refresh.
    let waits = process.get_or_load(KEY, rig.upstream.gives_text("newer", secs(1)));
    assert_eq!(text(waits.await), "new");
    process.settled().await;
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("new"));
    assert_eq!(rig.upstream.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_a_bare_del_is_not_given_what_has_just_been_loaded() {
    let rig = Rig::new();
    let (process, faults) = rig.faulty_with(|config| config.coordination(Coordination::Process));
    // Storing takes a while, and the key is deleted before it is done.
    faults.always(&[Operation::CompareAndSet], &Fault::Delay(ms(200)));
    let first = process
        .get_or_load(KEY, rig.upstream.gives_text("old", ms(100)))
        .await;
    assert_eq!(text(first), "old");
    rig.memory.del(&[KEY]).await.unwrap();
    let second = process
        .get_or_load(KEY, rig.upstream.gives_text("new", ms(100)))
        .await;
    assert_eq!(text(second), "new");
}

#[tokio::test(start_paused = true)]
async fn a_key_nobody_reads_is_not_refreshed() {
    let rig = Rig::new();
    let process = refreshing(&rig);
    given(&rig, &process, "old").await;
    tokio::time::sleep(LIFE * 3).await;
    process.settled().await;
    assert_eq!(rig.upstream.loads(), 1);
    assert!(rig.memory.get(KEY).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_soft_timeout_gives_the_stale_value_and_the_load_finishes_in_the_background() {
    let rig = Rig::new();
    let process = rig.process_with(|config| config.stale_limit(secs(600)).soft_timeout(ms(100)));
    // Without anything stale to give, a call waits.
    let before = clock::now();
    let first = process
        .get_or_load(KEY, rig.upstream.gives_text("old", secs(2)))
        .await;
    assert_eq!((text(first), clock::now() - before), ("old".into(), secs(2)));
    tokio::time::sleep(LIFE).await;

    let before = clock::now();
    let calls = (0..10).map(|_| process.get_or_load(KEY, rig.upstream.gives_text("new", secs(2))));
    for answer in join_all(calls).await {
        assert!(answer.as_ref().unwrap().is_stale());
        assert_eq!(text(answer), "old");
    }
    assert_eq!(clock::now() - before, ms(100));
    process.settled().await;
    assert_eq!(clock::now() - before, secs(2));
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("new"));
    assert_eq!(rig.upstream.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_hard_timeout_is_an_error_unless_there_is_something_stale() {
    let rig = Rig::new();
    let process = rig.process_with(|config| {
        let config = config.hard_timeout(secs(3)).failure_hold(Duration::ZERO);
        config.stale_limit(secs(600))
    });
    let before = clock::now();
    let endless = || process.get_or_load(KEY, rig.upstream.gives_text("never", secs(1_000_000)));
    let error = endless().await.unwrap_err();
    assert_eq!(error.to_string(), "no value within 3s");
    assert_eq!(clock::now() - before, secs(3));
    // The load is not left running.
    process.settled().await;
    assert_eq!(clock::now() - before, secs(3));

    given(&rig, &process, "old").await;
    tokio::time::sleep(LIFE).await;
    let answer = endless().await;
    assert!(answer.as_ref().unwrap().is_stale());
    assert_eq!(text(answer), "old");
}
