//! Conditional writes: only if absent, only if equal; and their atomicity.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Subject, expect};
use crate::{Ttl, clock};

const LONG: Duration = Duration::from_millis(600_700);

/// Scenario 12: `set_if_absent` stores only a missing key, and leaves an existing entry and its TTL
/// unchanged.
pub async fn set_if_absent_stores_only_missing_keys(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("absent"));
    let since = clock::now();
    let stored = cache.set_if_absent(&key, "first".into(), LONG.into()).await;
    expect::is(stored, true, "set_if_absent of a missing key to store");
    expect::value(
        cache.get(&key).await,
        "first",
        "the value that set_if_absent stored",
    );
    for ttl in [Ttl::Forever, (LONG * 2).into(), (LONG / 2).into()] {
        let stored = cache.set_if_absent(&key, "second".into(), ttl).await;
        expect::is(stored, false, "set_if_absent of a key that is there not to store");
        expect::value(cache.get(&key).await, "first", "the value that was there before");
        expect::remaining(
            cache.ttl(&key).await,
            LONG,
            since,
            "the TTL that was there before",
        );
    }
    expect::is(cache.del(&[&key]).await, 1, "del");
    let stored = cache.set_if_absent(&key, Bytes::new(), Ttl::Forever).await;
    expect::is(stored, true, "set_if_absent of a deleted key to store");
    expect::forever(cache.ttl(&key).await, "the TTL of what set_if_absent stored");
    let stored = cache.set_if_absent(&key, "second".into(), Ttl::Forever).await;
    expect::is(stored, false, "an empty value to be there for set_if_absent");
}

/// Scenario 12: of a hundred tasks that store if absent, one succeeds, and its value stays.
pub async fn only_one_task_stores_if_absent(subject: &Subject) {
    for round in 0..20 {
        let key = subject.key(&format!("race:{round}"));
        let mut tasks = JoinSet::new();
        for task in 0..100 {
            let (cache, key) = (subject.shared(), key.clone());
            tasks.spawn(async move {
                let stored = cache
                    .set_if_absent(&key, format!("task {task}").into(), LONG.into())
                    .await;
                expect::ok(stored, "set_if_absent by one of many tasks").then_some(task)
            });
        }
        let winners: Vec<i32> = expect::all(tasks).await.into_iter().flatten().collect();
        expect::that(
            winners.len() == 1,
            format_args!("one winner of a hundred tasks, got {}", winners.len()),
        );
        let value = subject.client().get(&key).await;
        expect::value(
            value,
            format!("task {}", winners[0]),
            "the value of the winner to stay",
        );
    }
}

/// Pairs that are not equal byte by byte, but that a wrong comparison might treat as equal.
const UNEQUAL: [(&[u8], &[u8]); 11] = [
    (b"value", b"valu"),
    (b"value", b"values"),
    (b"value", b"Value"),
    (b"value", b"value "),
    (b"value", b""),
    (b"", b"value"),
    (b"", b"\0"),
    (b"a\0b", b"a\0c"),
    (b"\xff\xfe", b"\xff\xfd"),
    (b"1", b"01"),
    (b"v*", b"value"),
];

/// Scenario 13: `compare_and_set` replaces value and TTL if the value is equal byte by byte, otherwise
/// nothing.
pub async fn compare_and_set_replaces_only_what_is_equal(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("replace"));
    for expected in [&b""[..], b"value"] {
        let replaced = cache
            .compare_and_set(&key, expected, "new".into(), LONG.into())
            .await;
        expect::is(
            replaced,
            false,
            "a missing key to equal nothing in compare_and_set",
        );
        expect::is(
            cache.exists(&[&key]).await,
            0,
            "compare_and_set of a missing key to make nothing",
        );
    }
    for (value, expected) in UNEQUAL {
        let since = clock::now();
        expect::ok(
            cache.set(&key, Bytes::from_static(value), LONG.into()).await,
            "set",
        );
        let replaced = cache
            .compare_and_set(&key, expected, "new".into(), Ttl::Forever)
            .await;
        let pair = format!("\"{}\" and \"{}\"", value.escape_ascii(), expected.escape_ascii());
        expect::is(
            replaced,
            false,
            format_args!("compare_and_set to tell {pair} apart"),
        );
        expect::value(cache.get(&key).await, value, "an unequal value to stay");
        expect::remaining(
            cache.ttl(&key).await,
            LONG,
            since,
            "the TTL of an unequal value to stay",
        );
    }
    for value in [&b""[..], b"value", b"a\0b", b"\xff\xfe", b"\r\n"] {
        expect::ok(
            cache.set(&key, Bytes::from_static(value), LONG.into()).await,
            "set",
        );
        let replaced = cache
            .compare_and_set(&key, value, Bytes::from_static(b"new\0\xff"), Ttl::Forever)
            .await;
        expect::is(
            replaced,
            true,
            format_args!("\"{}\" to equal itself", value.escape_ascii()),
        );
        expect::value(
            cache.get(&key).await,
            b"new\0\xff",
            "the value that compare_and_set stored",
        );
        expect::forever(cache.ttl(&key).await, "the TTL that compare_and_set gave");
    }
}

/// Scenario 13: `compare_and_delete` deletes a value that is equal byte by byte, otherwise nothing.
pub async fn compare_and_delete_deletes_only_what_is_equal(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("delete"));
    for expected in [&b""[..], b"value"] {
        let deleted = cache.compare_and_delete(&key, expected).await;
        expect::is(
            deleted,
            false,
            "a missing key to equal nothing in compare_and_delete",
        );
    }
    for (value, expected) in UNEQUAL {
        expect::ok(
            cache.set(&key, Bytes::from_static(value), LONG.into()).await,
            "set",
        );
        let deleted = cache.compare_and_delete(&key, expected).await;
        let pair = format!("\"{}\" and \"{}\"", value.escape_ascii(), expected.escape_ascii());
        expect::is(
            deleted,
            false,
            format_args!("compare_and_delete to tell {pair} apart"),
        );
        expect::value(cache.get(&key).await, value, "an unequal value to stay");
    }
    for value in [&b""[..], b"value", b"a\0b", b"\xff\xfe", b"\r\n"] {
        expect::ok(
            cache.set(&key, Bytes::from_static(value), LONG.into()).await,
            "set",
        );
        let deleted = cache.compare_and_delete(&key, value).await;
        expect::is(
            deleted,
            true,
            format_args!("\"{}\" to equal itself", value.escape_ascii()),
        );
        expect::miss(cache.get(&key).await, "get of what compare_and_delete deleted");
    }
}

/// Scenario 13: comparing and replacing is one step: no update of many tasks is lost.
pub async fn compare_and_set_of_many_tasks_loses_no_update(subject: &Subject) {
    const TASKS: usize = 8;
    const EACH: usize = 25;
    let key = subject.key("updates");
    expect::ok(
        subject.client().set(&key, "0".into(), LONG.into()).await,
        "set of a count",
    );
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (cache, key) = (subject.shared(), key.clone());
        tasks.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let old = expect::ok(cache.get(&key).await, "the count");
                let text = String::from_utf8_lossy(&old).into_owned();
                let Ok(count) = text.parse::<usize>() else {
                    panic!("expected a count, got {text:?}");
                };
                let new = (count + 1).to_string();
                let replaced = cache.compare_and_set(&key, &old, new.into(), LONG.into()).await;
                done += usize::from(expect::ok(replaced, "compare_and_set by one of many tasks"));
            }
        });
    }
    expect::all(tasks).await;
    let count = subject.client().get(&key).await;
    expect::value(
        count,
        (TASKS * EACH).to_string(),
        "no update by compare_and_set to be lost",
    );
}

/// Scenario 13: comparing and deleting is one step: of many tasks that delete one value, one succeeds.
pub async fn only_one_task_deletes_an_equal_value(subject: &Subject) {
    for round in 0..20 {
        let key = subject.key(&format!("race:{round}"));
        expect::ok(
            subject.client().set(&key, "value".into(), LONG.into()).await,
            "set",
        );
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            let (cache, key) = (subject.shared(), key.clone());
            tasks.spawn(async move {
                expect::ok(
                    cache.compare_and_delete(&key, b"value").await,
                    "compare_and_delete by one of many",
                )
            });
        }
        let winners = expect::all(tasks)
            .await
            .into_iter()
            .filter(|deleted| *deleted)
            .count();
        expect::that(
            winners == 1,
            format_args!("one of many tasks to delete the value, got {winners}"),
        );
    }
}
