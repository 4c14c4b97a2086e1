//! Whom a failed load concerns: a refresh holds back refreshes, one caller's own error nobody.

use std::io;

use cache_core::{Bytes, CacheClient as _, clock};
use cache_layers::read_through::{
    Coordination, LoadError, ReadError, ReadThroughConfigBuilder, RefreshAhead,
};
use cache_layers::{Loaded, ReadThrough};
use cache_mock::{Fault, Operation};
use futures::future::join_all;

use crate::rig::{KEY, LEASE, LEASE_KEY, LIFE, Rig, ms, secs, text};

async fn refused() -> Result<Loaded<Bytes>, LoadError> {
    tokio::time::sleep(ms(100)).await;
    Err(LoadError::of_caller(io::Error::other("status 403")))
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_holds_back_refreshes_and_no_load() {
    for coordination in [Coordination::Process, Coordination::Fleet { lease: LEASE }] {
        let rig = Rig::new();
        let [first, second] = [(); 2].map(|()| {
            rig.process_with(|config| {
                let config = config.refresh_ahead(RefreshAhead::AtFraction(0.8));
                config
                    .coordination(coordination)
                    .retry_after(secs(10))
                    .failure_hold(secs(60))
            })
        });
        let load = rig.upstream.gives_text("old", ms(1));
        assert_eq!(text(first.get_or_load(KEY, load).await), "old");
        tokio::time::sleep(LIFE - secs(1)).await;
        for process in [&first, &second, &first, &second] {
            let answer = process.get_or_load(KEY, rig.upstream.fails(ms(1))).await;
            assert_eq!(text(answer), "old");
            process.settled().await;
        }
        let refreshes = match coordination {
            Coordination::Process => 2,
            _ => 1,
        };
        assert_eq!(rig.upstream.loads(), 1 + refreshes, "{coordination:?}");
        // The value expires, and the upstream is well again.
        tokio::time::sleep(secs(2)).await;
        for process in [&first, &second] {
            let answer = process
                .get_or_load(KEY, rig.upstream.gives_text("new", ms(1)))
                .await;
            assert_eq!(text(answer), "new", "{coordination:?}");
            process.settled().await;
        }
        assert_eq!(rig.upstream.loads(), 2 + refreshes);
        assert_eq!(first.stats().held_back + second.stats().held_back, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_that_failed_between_look_and_lease_is_not_tried_again() {
    let rig = Rig::new();
    let config = |config: ReadThroughConfigBuilder| {
        let config = config.refresh_ahead(RefreshAhead::AtFraction(0.8));
        config.retry_after(secs(10)).failure_hold(secs(60))
    };
    let first = rig.process_with(config);
    let (second, faults) = rig.faulty_with(config);
    let load = rig.upstream.gives_text("old", ms(1));
    assert_eq!(text(first.get_or_load(KEY, load).await), "old");
    tokio::time::sleep(LIFE - secs(10)).await;
    // The second one looks before the first one has failed, and takes the lease after that.
    faults.on_key(LEASE_KEY, &[Operation::SetIfAbsent], &Fault::Delay(ms(60)));
    let (one, two) = tokio::join!(
        first.get_or_load(KEY, rig.upstream.fails(ms(20))),
        second.get_or_load(KEY, rig.upstream.fails(ms(20)))
    );
    assert_eq!((text(one), text(two)), ("old".into(), "old".into()));
    first.settled().await;
    second.settled().await;
    assert_eq!(
        faults.injected(Operation::SetIfAbsent),
        1,
        "it went for the lease"
    );
    assert_eq!(rig.upstream.loads(), 2, "one load, one refresh");
    assert!(
        rig.memory.get(LEASE_KEY).await.unwrap_err().is_miss(),
        "the lease is given back"
    );
}

/// Asks with a loader that is not allowed to load, and then, of each process in `others`, with one that is.
async fn one_is_refused(rig: &Rig, refused_one: &ReadThrough, others: &[&ReadThrough]) {
    let allowed = async {
        tokio::time::sleep(ms(50)).await;
        let calls = others
            .iter()
            .map(|process| process.get_or_load(KEY, rig.upstream.gives_text("Ada", ms(100))));
        join_all(calls).await
    };
    let (refused, allowed) = tokio::join!(refused_one.get_or_load(KEY, refused), allowed);
    let error = refused.unwrap_err();
    assert_eq!(
        error
            .load_error::<io::Error>()
            .map(ToString::to_string)
            .as_deref(),
        Some("status 403")
    );
    for answer in allowed {
        assert_eq!(text(answer), "Ada");
    }
    assert_eq!(rig.upstream.loads(), 1, "one load for all who are allowed");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_caller_is_nobody_elses() {
    let rig = Rig::new();
    let process = rig.process();
    one_is_refused(&rig, &process, &[&process, &process]).await;
    let rig = Rig::new();
    let (one, other) = (rig.process(), rig.process());
    let begun = clock::now();
    one_is_refused(&rig, &one, &[&other, &other, &one]).await;
    assert!(clock::now() - begun < secs(1), "nobody was held back");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_said_to_pass_holds_nobody_back() {
    let rig = Rig::new();
    let (one, other) = (rig.process(), rig.process());
    let passing =
        || async { Err::<Loaded<Bytes>, _>(LoadError::of_key(io::Error::other("too busy")).without_hold()) };
    let (first, joined) = tokio::join!(one.get_or_load(KEY, passing), one.get_or_load(KEY, passing));
    for failed in [first, joined] {
        assert!(matches!(failed, Err(ReadError::Load(_))), "{failed:?}");
    }
    one.settled().await;
    for process in [&other, &one] {
        let answer = process
            .get_or_load(KEY, rig.upstream.gives_text("Ada", ms(1)))
            .await;
        assert_eq!(text(answer), "Ada");
    }
}
