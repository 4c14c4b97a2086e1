//! What `close` ends, and how a closed client answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::{Subject, expect};
use crate::Ttl;

const TEN_MINUTES: Ttl = Ttl::secs(600);

/// Scenario 17: closing again is allowed, even by many tasks at a time.
pub async fn close_is_idempotent(subject: &Subject) {
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let cache = subject.shared();
        tasks.spawn(async move { expect::ok(cache.close().await, "close by one of many tasks") });
    }
    expect::all(tasks).await;
    expect::ok(subject.client().close().await, "close of a closed client");
    expect::closed(
        subject.client().ping().await,
        "ping of a client that was closed more than once",
    );
}

/// Scenario 17: every method of a closed client returns `Closed`, without I/O.
pub async fn every_call_after_close_fails_closed(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("closed"));
    expect::ok(
        cache.set(&key, "1".into(), TEN_MINUTES).await,
        "set before the close",
    );
    expect::ok(cache.close().await, "close");
    macro_rules! closed {
        ($($method:ident($($argument:expr),*);)+) => {$({
            let what = concat!(stringify!($method), " of a closed client");
            expect::closed(expect::at_once(cache.$method($($argument),*), what), what);
        })+};
    }
    closed! {
        get(&key);
        get_entry(&key);
        get_many(&[&key]);
        set(&key, "2".into(), TEN_MINUTES);
        set_many(&[(&key, "2".into())], TEN_MINUTES);
        set_if_absent(&key, "2".into(), TEN_MINUTES);
        compare_and_set(&key, b"1", "2".into(), TEN_MINUTES);
        compare_and_delete(&key, b"1");
        get_and_delete(&key);
        get_and_expire(&key, TEN_MINUTES);
        del(&[&key]);
        exists(&[&key]);
        incr(&key);
        incr_by(&key, 2, TEN_MINUTES);
        expire(&key, TEN_MINUTES);
        ttl(&key);
        ping();
    }
    let both = [key.as_str(), key.as_str()];
    for result in expect::at_once(cache.get_each(&both), "get_each of a closed client") {
        expect::closed(result, "get_each of a closed client");
    }
    let entries = [(key.as_str(), "2".into(), TEN_MINUTES)];
    for result in expect::at_once(cache.get_entries(&both), "get_entries of a closed client") {
        expect::closed(result, "get_entries of a closed client");
    }
    for result in expect::at_once(cache.set_each(&entries), "set_each of a closed client") {
        expect::closed(result, "set_each of a closed client");
    }
}

/// Scenario 17: calls in flight end when the client closes: none hangs, and no later call succeeds.
pub async fn calls_in_flight_end_when_the_client_closes(subject: &Subject) {
    let answered = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..50 {
        let (cache, answered) = (subject.shared(), Arc::clone(&answered));
        let (key, counter) = (subject.key(&format!("flight:{task}")), subject.key("counter"));
        tasks.spawn(async move {
            let both = [key.as_str(), counter.as_str()];
            loop {
                let ended = tokio::join!(
                    cache.set(&key, "value".into(), TEN_MINUTES),
                    cache.exists(&both),
                    cache.incr(&counter),
                );
                let (Ok(()), Ok(_), Ok(_)) = ended else { break };
                answered.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            expect::closed(cache.get(&key).await, "a call after one that the close ended");
        });
    }
    subject
        .eventually("calls to be answered before the close", async || {
            answered.load(Ordering::Relaxed) >= 200
        })
        .await;
    expect::ok(subject.client().close().await, "close with calls in flight");
    let ended = tokio::time::timeout(subject.patience(), expect::all(tasks)).await;
    expect::that(ended.is_ok(), "calls in flight to end when the client closes");
}
