//! Scenarios 46 to 51: several processes, one load.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheClient, Ttl, clock};
use cache_layers::Loaded;
use cache_layers::read_through::ReadError;
use cache_mock::{Fault, Operation};
use futures::future::join_all;

use crate::rig::{KEY, LEASE, LEASE_KEY, LIFE, Rig, ms, secs, text};
use crate::wire::Wire;

#[tokio::test(start_paused = true)]
async fn two_processes_are_one_load() {
    let rig = Rig::new();
    let processes: Vec<_> = (0..8).map(|_| rig.process()).collect();
    let calls = (0..80).map(|number| {
        let process: &cache_layers::ReadThrough = &processes[number % 8];
        process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(200)))
    });
    for answer in join_all(calls).await {
        assert_eq!(text(answer), "Ada");
    }
    assert_eq!(rig.upstream.loads(), 1);
    let waits: u64 = processes.iter().map(|process| process.stats().lease_waits).sum();
    assert_eq!(waits, 7);
}

#[tokio::test(start_paused = true)]
async fn a_load_may_take_longer_than_the_lease_while_its_holder_lives() {
    let rig = Rig::new();
    let (holder, other) = (rig.process(), rig.process());
    let long = LEASE * 5 / 2;
    let (one, two) = tokio::join!(
        holder.get_or_load(KEY, rig.upstream.gives_text("Ada", long)),
        other.get_or_load(KEY, rig.upstream.gives_text("Bob", long)),
    );
    assert_eq!((text(one), text(two)), ("Ada".into(), "Ada".into()));
    assert_eq!(rig.upstream.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_holder_is_killed_and_the_others_recover_within_the_lease() {
    let rig = Rig::new();
    let (victim, faults) = rig.faulty_with(|config| config.hard_timeout(secs(1_000_000)));
    let lost = victim.get_or_load(KEY, rig.upstream.gives_text("never", secs(1_000_000)));
    assert!(tokio::time::timeout(secs(1), lost).await.is_err());
    faults.always(Operation::ALL, &Fault::Hang);

    let others: Vec<_> = (0..3).map(|_| rig.process()).collect();
    let before = clock::now();
    let calls = others
        .iter()
        .map(|other| other.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(200))));
    for answer in join_all(calls).await {
        assert_eq!(text(answer), "Ada");
    }
    let took = clock::now() - before;
    assert!(took <= LEASE + ms(200), "{took:?}");
    assert_eq!(rig.upstream.loads(), 2, "one more load, not one each");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_stalls_beyond_its_lease_does_not_overwrite_a_newer_value() {
    for newer_takes in [ms(100), secs(20)] {
        let rig = Rig::new();
        // A stale entry, which both loads see and want to replace.
        let config = |config: cache_layers::read_through::ReadThroughConfigBuilder| {
            config.stale_limit(secs(1_000)).hard_timeout(secs(60))
        };
        let (stalled, faults) = rig.faulty_with(config);
        let other = rig.process_with(config);
        other
            .get_or_load(KEY, rig.upstream.gives_text("old", ms(1)))
            .await
            .unwrap();
        tokio::time::sleep(LIFE).await;

        let late = stalled.get_or_load(KEY, rig.upstream.gives_text("late", secs(25)));
        let newer = async {
            tokio::time::sleep(secs(1)).await;
            faults.always(Operation::ALL, &Fault::connection_lost());
            let newer = other
                .get_or_load(KEY, rig.upstream.gives_text("newer", newer_takes))
                .await;
            faults.heal();
            newer
        };
        let back = async {
            tokio::time::sleep(secs(24)).await;
            faults.heal();
        };
        let (late, newer, ()) = tokio::join!(late, newer, back);
        assert_eq!((text(late), text(newer)), ("late".into(), "newer".into()));
        stalled.settled().await;
        other.settled().await;
        assert_eq!(rig.stored(KEY).await.as_deref(), Some("newer"));
        assert_eq!(stalled.stats().superseded, 1);
        assert_eq!(rig.upstream.loads(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn losers_are_woken_by_the_value_and_not_by_a_timer() {
    let rig = Rig::new();
    let (holder, loser) = (rig.process(), rig.process());
    // A time that no timer of a waiter would meet.
    let load = Duration::from_micros(1_234_567);
    let woken = async {
        let answer = loser.get_or_load(KEY, rig.upstream.gives_text("Bob", load)).await;
        (text(answer), clock::now())
    };
    let held = async {
        let answer = holder
            .get_or_load(KEY, rig.upstream.gives_text("Ada", load))
            .await;
        (text(answer), clock::now())
    };
    let ((ada, written), (seen, woken)) = tokio::join!(held, woken);
    assert_eq!((ada, seen), ("Ada".into(), "Ada".into()));
    assert_eq!(woken - written, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn losers_are_told_at_once_when_the_load_fails_or_is_not_stored() {
    let rig = Rig::new();
    let (holder, loser) = (rig.process(), rig.process());
    let load = Duration::from_micros(1_234_567);
    let before = clock::now();
    let (failed, told) = tokio::join!(
        holder.get_or_load(KEY, rig.upstream.fails(load)),
        loser.get_or_load(KEY, rig.upstream.fails(load)),
    );
    assert!(matches!(failed, Err(ReadError::Load(_))), "{failed:?}");
    assert!(
        matches!(told, Err(ReadError::HeldBack { remaining: LEASE })),
        "{told:?}"
    );
    assert_eq!(clock::now() - before, tokio_rounded(load));
    assert_eq!(rig.upstream.loads(), 1);
}

/// The timer's unit is the millisecond.
fn tokio_rounded(time: Duration) -> Duration {
    ms(u64::try_from(time.as_micros().div_ceil(1_000)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn where_changes_are_not_reported_losers_look_again_and_less_and_less_often() {
    let rig = Rig::new();
    let [holder, loser] =
        [(); 2].map(|()| rig.over(Arc::new(Wire::deaf(rig.memory.clone())), |config| config));
    let held = async {
        let answer = holder
            .get_or_load(KEY, rig.upstream.gives_text("Ada", secs(5)))
            .await;
        (text(answer), clock::now())
    };
    let waited = async {
        let answer = loser
            .get_or_load(KEY, rig.upstream.gives_text("Bob", secs(5)))
            .await;
        (text(answer), clock::now())
    };
    let ((ada, written), (seen, found)) = tokio::join!(held, waited);
    assert_eq!((ada, seen), ("Ada".into(), "Ada".into()));
    assert!(found - written <= ms(250), "{:?}", found - written);
    assert_eq!(rig.upstream.loads(), 1);
}

/// How long after `done` of a load of 100 ms a waiter has its answer whose reads of `untracked` are not tracked,
/// though the backend says that it reports changes.
async fn waits_untracked(untracked: &'static [&'static str], fails: bool) -> Duration {
    let rig = Rig::new();
    let holder = rig.process();
    let loser = rig.over(
        Arc::new(Wire::untracked(rig.memory.clone(), untracked)),
        |config| config,
    );
    let held = async {
        if fails {
            let load = rig.upstream.fails(ms(100));
            assert!(holder.get_or_load(KEY, load).await.is_err());
        } else {
            let load = rig.upstream.gives_text("Ada", ms(100));
            assert_eq!(text(holder.get_or_load(KEY, load).await), "Ada");
        }
        clock::now()
    };
    let waited = async {
        let answer = loser
            .get_or_load(KEY, rig.upstream.gives_text("Bob", ms(100)))
            .await;
        match answer {
            Err(ReadError::HeldBack { .. }) => assert!(fails),
            answer => assert_eq!(text(answer), "Ada"),
        }
        clock::now()
    };
    let (done, had) = tokio::join!(held, waited);
    assert_eq!(rig.upstream.loads(), 1);
    had - done
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_reads_are_not_tracked_looks_again_soon_whatever_the_status_says() {
    // By then one that looks by itself does so every 38 ms; one that trusts reports would after 150 more.
    for fails in [false, true] {
        let took = waits_untracked(&[KEY, LEASE_KEY], fails).await;
        assert!(took <= ms(40), "{took:?}, fails: {fails}");
    }
    // That the load failed is said by the lease alone.
    let took = waits_untracked(&[LEASE_KEY], true).await;
    assert!(took <= ms(40), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_read_of_the_value_is_not_tracked_sees_what_others_set_meanwhile() {
    let rig = Rig::new();
    let holder = rig.process();
    let loser = rig.over(Arc::new(Wire::untracked(rig.memory.clone(), &[KEY])), |config| {
        config
    });
    let other = rig.process();
    let held = holder.get_or_load(KEY, rig.upstream.gives_text("Ada", secs(9)));
    let set = async {
        tokio::time::sleep(ms(100)).await;
        other.put(KEY, Loaded::new("Eve")).await.unwrap();
        clock::now()
    };
    let waited = async {
        let load = rig.upstream.gives_text("Bob", ms(100));
        (text(loser.get_or_load(KEY, load).await), clock::now())
    };
    let (_, set, (seen, had)) = tokio::join!(held, set, waited);
    assert_eq!(seen, "Eve");
    assert!(had - set <= ms(40), "{:?}", had - set);
}

#[tokio::test(start_paused = true)]
async fn a_failing_loader_is_tried_at_most_once_per_lease_across_all_processes() {
    let rig = Rig::new();
    let processes: Vec<_> = (0..4).map(|_| rig.process()).collect();
    // 100 s, in which each of four processes asks ten times a second.
    for _ in 0..1_000 {
        let calls = processes
            .iter()
            .map(|process| process.get_or_load(KEY, rig.upstream.fails(ms(10))));
        for answer in join_all(calls).await {
            let error = answer.unwrap_err();
            assert!(
                matches!(error, ReadError::Load(_) | ReadError::HeldBack { .. }),
                "{error:?}"
            );
        }
        tokio::time::sleep(ms(90)).await;
    }
    assert!(
        (8..=10).contains(&rig.upstream.loads()),
        "{} loads",
        rig.upstream.loads()
    );
}

#[tokio::test(start_paused = true)]
async fn a_sign_left_by_a_killed_load_is_no_value_and_no_obstacle() {
    let rig = Rig::new();
    let (victim, faults) = rig.faulty_with(|config| config);
    let lost = victim.get_or_load(KEY, rig.upstream.gives_text("never", secs(20)));
    assert!(tokio::time::timeout(ms(1), lost).await.is_err());
    faults.always(Operation::ALL, &Fault::Hang);
    assert!(rig.memory.get(KEY).await.is_ok(), "the sign stands");
    rig.memory.del(&[LEASE_KEY]).await.unwrap();
    let answer = rig
        .process()
        .get_or_load(KEY, rig.upstream.gives_text("Ada", ms(1)))
        .await;
    assert_eq!(text(answer), "Ada");
    // Not that it is there for ever.
    let left = rig.memory.ttl("user:7").await.unwrap();
    assert!(left.min(Ttl::secs(3_600)) != Ttl::secs(3_600), "{left}");
    // The victim's late value changes nothing.
    faults.heal();
    victim.settled().await;
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("Ada"));
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_stored_is_loaded_side_by_side() {
    let rig = Rig::new();
    let processes: Vec<_> = (0..40).map(|_| rig.process()).collect();
    let large = || Loaded::new("Ada").not_stored();
    let before = clock::now();
    let calls = processes
        .iter()
        .map(|process| process.get_or_load(KEY, rig.upstream.gives(large(), secs(1))));
    for answer in join_all(calls).await {
        assert_eq!(text(answer), "Ada");
    }
    // One tries, and the others go on when they hear of it.
    let took = clock::now() - before;
    assert!(took <= secs(2) + ms(50), "{took:?}");
    assert_eq!(rig.upstream.loads(), 40);
    // Later ones do not wait for each other at all.
    tokio::time::sleep(secs(9)).await;
    let before = clock::now();
    let calls = processes
        .iter()
        .map(|process| process.get_or_load(KEY, rig.upstream.gives(large(), secs(1))));
    join_all(calls).await;
    assert!(clock::now() - before <= secs(1) + ms(50));
    // What may be stored is: at the second try, since the first one did not count on it.
    for _ in 0..2 {
        let answer = processes[0].get_or_load(KEY, rig.upstream.gives_text("Bob", ms(1)));
        assert_eq!(text(answer.await), "Bob");
        processes[0].settled().await;
    }
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("Bob"));
}
