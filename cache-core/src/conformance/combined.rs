//! Reads that write in the same step: `get_and_delete` and `get_and_expire`.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Subject, expect};
use crate::{CacheError, Ttl, clock};

/// Short enough for a test to wait for its end.
const SHORT: Duration = Duration::from_millis(60);
/// So long that no test sees its end.
const LONG: Duration = Duration::from_millis(600_700);

/// The value is returned once, and its TTL is gone with it.
pub async fn get_and_delete_returns_the_value_once(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("taken"));
    expect::miss(
        cache.get_and_delete(&key).await,
        "get_and_delete of a missing key",
    );
    for value in [&b"value"[..], b"", b"7", b"\0\xff"] {
        let stored = cache.set(&key, value.to_vec().into(), LONG.into()).await;
        expect::ok(stored, "set of a value to be taken");
        expect::value(
            cache.get_and_delete(&key).await,
            value,
            "the value from get_and_delete",
        );
        expect::miss(cache.get(&key).await, "get after get_and_delete");
        expect::miss(cache.get_and_delete(&key).await, "a second get_and_delete");
    }
    expect::is(
        cache.incr(&key).await,
        1,
        "a count that starts after get_and_delete",
    );
    expect::forever(cache.ttl(&key).await, "no TTL from before get_and_delete");
    expect::value(
        cache.get_and_delete(&key).await,
        "1",
        "the count from get_and_delete",
    );
    expect::ok(
        cache.set(&key, "value".into(), SHORT.into()).await,
        "set with a short TTL",
    );
    subject.outlive(SHORT).await;
    expect::miss(
        cache.get_and_delete(&key).await,
        "get_and_delete of an expired key",
    );
}

/// Exactly one of many tasks that take the same value gets it.
pub async fn only_one_task_takes_the_value(subject: &Subject) {
    for round in 0..20 {
        let key = subject.key(&format!("raced:{round}"));
        let stored = subject.client().set(&key, "value".into(), LONG.into()).await;
        expect::ok(stored, "set of a value to be taken");
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            let (cache, key) = (subject.shared(), key.clone());
            tasks.spawn(async move {
                match cache.get_and_delete(&key).await {
                    Err(CacheError::Miss) => 0,
                    taken => {
                        expect::value(taken, "value", "the value from get_and_delete");
                        1
                    }
                }
            });
        }
        let takers: u32 = expect::all(tasks).await.into_iter().sum();
        expect::that(
            takers == 1,
            format_args!("one of 20 tasks to get the value, {takers} did"),
        );
    }
}

/// The value is returned, and its TTL restarts with each call.
pub async fn get_and_expire_slides_the_ttl(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("slides"));
    for ttl in [Ttl::from(LONG), Ttl::Forever] {
        expect::miss(
            cache.get_and_expire(&key, ttl).await,
            "get_and_expire of a missing key",
        );
        expect::is(cache.exists(&[&key]).await, 0, "get_and_expire to make nothing");
    }
    for value in ["value", "7"] {
        expect::ok(
            cache.set(&key, value.into(), LONG.into()).await,
            "set with a long TTL",
        );
        for ttl in [LONG * 2, LONG / 2] {
            let since = clock::now();
            let read = cache.get_and_expire(&key, ttl.into()).await;
            expect::value(read, value, "the value from get_and_expire");
            expect::remaining(
                cache.ttl(&key).await,
                ttl,
                since,
                "the TTL that get_and_expire gave",
            );
        }
        let read = cache.get_and_expire(&key, Ttl::Forever).await;
        expect::value(read, value, "the value from get_and_expire");
        expect::forever(cache.ttl(&key).await, "no TTL after get_and_expire took it away");
        expect::value(cache.get(&key).await, value, "the value after get_and_expire");
    }
    let read = cache.get_and_expire(&key, SHORT.into()).await;
    expect::value(read, "7", "the value from get_and_expire with a short TTL");
    subject.gone(&key).await;
    let read = cache.get_and_expire(&key, LONG.into()).await;
    expect::miss(read, "get_and_expire not to bring an expired key back");
}
