//! What a slow or failing cache costs: its deadline, and never the answer. With scenarios 52 and 53.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheError, clock};
use cache_layers::read_through::{Coordination, ReadError};
use cache_layers::{Guarded, GuardedConfig, Loaded};
use cache_mock::{Fault, FaultyCache, Operation};

use crate::rig::{KEY, LIFE, Rig, ms, secs, text};

const LOAD: Duration = ms(20);

fn rejected() -> CacheError {
    CacheError::Rejected {
        code: "OOM".into(),
        detail: "command not allowed".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_cache_never_costs_more_than_its_deadline() {
    for slow in [
        Fault::Hang,
        Fault::Delay(secs(2)),
        Fault::LostReply(secs(3)),
        Fault::Delay(ms(90)),
    ] {
        let rig = Rig::new();
        let (process, faults) = rig.faulty_with(|config| config.cache_deadline(ms(200)));
        faults.always(Operation::ALL, &slow);
        let before = clock::now();
        let calls = (0..10).map(|_| process.get_or_load(KEY, rig.upstream.gives_text("Ada", LOAD)));
        for answer in futures::future::join_all(calls).await {
            assert_eq!(text(answer), "Ada");
        }
        let took = clock::now() - before;
        assert!(took <= ms(200) + LOAD, "{slow:?} took {took:?}");
        assert_eq!(rig.upstream.loads(), 1);
    }
}

/// What configuration gives a stack (`CACHE_OP_TIMEOUT`) holds for the request, not for each call of the read-through.
#[tokio::test(start_paused = true)]
async fn deadline_of_the_stack_is_that_of_the_whole_request() {
    for slow in [
        Fault::Hang,
        Fault::Delay(ms(90)),
        Fault::LostReply(ms(150)),
        Fault::LostRequest(ms(60)),
    ] {
        let rig = Rig::new();
        let cache = FaultyCache::new(rig.memory.clone());
        let faults = cache.faults().clone();
        faults.always(Operation::ALL, &slow);
        let config = GuardedConfig::builder().deadline(ms(200)).build().unwrap();
        let process = rig.over(Arc::new(Guarded::new(Arc::new(cache), config)), |config| config);
        let before = clock::now();
        let answer = process
            .get_or_load(KEY, rig.upstream.gives_text("Ada", LOAD))
            .await;
        assert_eq!(text(answer), "Ada");
        let took = clock::now() - before;
        assert!(took <= ms(200) + LOAD, "{slow:?} took {took:?}");
        process.settled().await;

        let before = clock::now();
        let keys = [KEY, "other"];
        let load = |keys: Vec<String>| async move {
            tokio::time::sleep(LOAD).await;
            Ok::<_, std::io::Error>(keys.iter().map(|_| Ok(Loaded::new("Ada"))).collect())
        };
        for answer in process.get_or_load_many(&keys, load).await {
            assert_eq!(text(answer), "Ada");
        }
        let took = clock::now() - before;
        assert!(took <= ms(200) + LOAD, "many, {slow:?} took {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_down_is_asked_once_per_call_and_costs_nothing() {
    let rig = Rig::new();
    let (process, faults) = rig.faulty_with(|config| config);
    for down in [
        Fault::connection_lost(),
        Fault::Error(CacheError::Closed),
        Fault::Error(rejected()),
    ] {
        faults.always(Operation::ALL, &down);
        let (before, calls) = (clock::now(), faults.all_calls());
        let answer = process
            .get_or_load(KEY, rig.upstream.gives_text("Ada", LOAD))
            .await;
        assert_eq!(text(answer), "Ada");
        assert_eq!(clock::now() - before, LOAD);
        process.settled().await;
        assert_eq!(faults.all_calls() - calls, 1, "{down:?}");
    }
    assert!(process.stats().cache_failures >= 3);
    faults.heal();
    let answer = process
        .get_or_load(KEY, rig.upstream.gives_text("Bob", LOAD))
        .await;
    assert_eq!(text(answer), "Bob");
    process.settled().await;
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("Bob"));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_the_cache_does_not_take_is_returned() {
    let rig = Rig::new();
    let (process, faults) = rig.faulty_with(|config| config);
    faults.always(&[Operation::CompareAndSet], &Fault::Error(rejected()));
    let answer = process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", LOAD))
        .await;
    assert_eq!(text(answer), "Ada");
}

#[tokio::test(start_paused = true)]
async fn without_the_locks_backend_the_load_proceeds() {
    let rig = Rig::new();
    let (process, faults) = rig.faulty_with(|config| config);
    // The lease's is the first conditional write of a call, the second is for the value.
    faults.next(Operation::SetIfAbsent, Fault::Error(rejected()));
    let before = clock::now();
    let answer = process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", LOAD))
        .await;
    assert_eq!(text(answer), "Ada");
    assert_eq!(clock::now() - before, LOAD);
    assert_eq!(process.stats().without_lease, 1);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_lock_reply_is_resolved_by_asking_who_owns_it() {
    // The reply is lost, the lease is ours: the load goes on under it, and others wait.
    let rig = Rig::new();
    let (process, faults) = rig.faulty_with(|config| config);
    faults.next(Operation::SetIfAbsent, Fault::LostReply(ms(50)));
    let other = rig.process();
    let ours = process.get_or_load(KEY, rig.upstream.gives_text("ours", ms(500)));
    let theirs = async {
        tokio::time::sleep(ms(100)).await;
        other
            .get_or_load(KEY, rig.upstream.gives_text("theirs", ms(500)))
            .await
    };
    let (ours, theirs) = tokio::join!(ours, theirs);
    assert_eq!((text(ours), text(theirs)), ("ours".into(), "ours".into()));
    assert_eq!((process.stats().without_lease, rig.upstream.loads()), (0, 1));
    process.settled().await;
    assert_eq!(rig.memory.len(), 1, "the lease was given back");

    // The request is lost, nobody has the lease: it is taken by a second try.
    let rig = Rig::new();
    let (process, faults) = rig.faulty_with(|config| config);
    faults.next(Operation::SetIfAbsent, Fault::LostRequest(ms(50)));
    let answer = process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", LOAD))
        .await;
    assert_eq!(text(answer), "Ada");
    assert_eq!(process.stats().without_lease, 0);

    // The request is lost, and somebody else has the lease: we wait for them.
    let rig = Rig::new();
    let (process, faults) = rig.faulty_with(|config| config);
    faults.next(Operation::SetIfAbsent, Fault::LostRequest(ms(50)));
    let other = rig.process();
    let theirs = other.get_or_load(KEY, rig.upstream.gives_text("theirs", ms(500)));
    let ours = async {
        tokio::time::sleep(ms(10)).await;
        process
            .get_or_load(KEY, rig.upstream.gives_text("ours", ms(500)))
            .await
    };
    let (theirs, ours) = tokio::join!(theirs, ours);
    assert_eq!((text(theirs), text(ours)), ("theirs".into(), "theirs".into()));
    assert_eq!(rig.upstream.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lock_reply_that_stays_ambiguous_is_given_back_in_the_end() {
    let rig = Rig::new();
    let (process, faults) = rig.faulty_with(|config| config);
    faults.next(Operation::SetIfAbsent, Fault::LostReply(ms(50)));
    // Whose it is cannot be asked either; the first read of the call is before it.
    faults.nth(2, Operation::Get, Fault::connection_lost());
    let answer = process
        .get_or_load(KEY, rig.upstream.gives_text("Ada", LOAD))
        .await;
    assert_eq!(text(answer), "Ada");
    process.settled().await;
    assert_eq!(process.stats().without_lease, 1);
    assert_eq!(rig.stored(KEY).await.as_deref(), Some("Ada"));
    assert_eq!(rig.memory.len(), 1, "no lease is left");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_goes_on_by_itself_when_the_cache_fails_while_it_waits() {
    let rig = Rig::new();
    let (process, faults) = rig.faulty_with(|config| config);
    let other = rig.process();
    let theirs = other.get_or_load(KEY, rig.upstream.gives_text("theirs", secs(5)));
    let ours = async {
        tokio::time::sleep(ms(10)).await;
        let ours = process.get_or_load(KEY, rig.upstream.gives_text("ours", LOAD));
        let breaks = async {
            tokio::time::sleep(ms(100)).await;
            faults.always(Operation::ALL, &Fault::connection_lost());
        };
        let before = clock::now();
        let (ours, ()) = tokio::join!(ours, breaks);
        (text(ours), clock::now() - before)
    };
    let (theirs, (ours, took)) = tokio::join!(theirs, ours);
    assert_eq!((text(theirs), ours), ("theirs".into(), "ours".into()));
    assert!(took < secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_given_when_the_loader_fails_and_storing_does_too() {
    let rig = Rig::new();
    let (process, faults) =
        rig.faulty_with(|config| config.stale_limit(secs(600)).coordination(Coordination::Process));
    process
        .get_or_load(KEY, rig.upstream.gives_text("old", LOAD))
        .await
        .unwrap();
    tokio::time::sleep(LIFE + secs(1)).await;
    let writes = [
        Operation::CompareAndSet,
        Operation::SetIfAbsent,
        Operation::CompareAndDelete,
    ];
    faults.always(&writes, &Fault::connection_lost());
    let answer = process.get_or_load(KEY, rig.upstream.fails(LOAD)).await;
    assert!(answer.as_ref().unwrap().is_stale());
    assert_eq!(text(answer), "old");
    let nothing = process.get_or_load("cold", rig.upstream.fails(LOAD)).await;
    assert!(matches!(nothing, Err(ReadError::Load(_))), "{nothing:?}");
}
