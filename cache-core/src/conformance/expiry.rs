//! TTLs: when an entry expires, what remains, what changes it. Counters' TTLs are in `counters`.

use std::time::Duration;

use super::{Subject, expect};
use crate::{Ttl, clock};

/// Short enough for a test to wait for its end.
const SHORT: Duration = Duration::from_millis(60);
/// So long that no test sees its end; not a whole number of seconds, so that rounding shows.
const LONG: Duration = Duration::from_millis(600_700);

/// Scenario 4: every method treats an expired key as a missing key.
pub async fn expired_key_is_a_missing_key(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("expired", 12);
    for key in &keys {
        expect::ok(
            cache.set(key, "7".into(), SHORT.into()).await,
            "set with a short TTL",
        );
    }
    subject.outlive(SHORT).await;
    expect::miss(cache.get(&keys[0]).await, "get of an expired key");
    expect::miss(cache.get_entry(&keys[0]).await, "get_entry of an expired key");
    expect::miss(cache.ttl(&keys[0]).await, "ttl of an expired key");
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    expect::values(
        cache.get_many(&all).await,
        &[None; 12],
        "expired keys in get_many",
    );
    expect::is(cache.exists(&all).await, 0, "expired keys not to exist");
    expect::is(
        cache.del(&[&keys[1]]).await,
        0,
        "an expired key not to be counted by del",
    );
    expect::is(
        cache.expire(&keys[2], LONG.into()).await,
        false,
        "expire not to bring an expired key back",
    );
    expect::miss(cache.get(&keys[2]).await, "get of an expired key after expire");
    expect::is(
        cache.incr(&keys[3]).await,
        1,
        "incr of an expired key to start anew",
    );
    expect::forever(
        cache.ttl(&keys[3]).await,
        "a counter that starts anew to have no TTL from before",
    );
    expect::is(
        cache.incr_by(&keys[4], 5, LONG.into()).await,
        5,
        "incr_by of an expired key to start anew",
    );
    let stored = cache.set_if_absent(&keys[5], "new".into(), LONG.into()).await;
    expect::is(stored, true, "set_if_absent to store over an expired key");
    expect::value(cache.get(&keys[5]).await, "new", "what set_if_absent stored");
    let replaced = cache
        .compare_and_set(&keys[6], b"7", "new".into(), LONG.into())
        .await;
    expect::is(
        replaced,
        false,
        "an expired key to equal nothing in compare_and_set",
    );
    let deleted = cache.compare_and_delete(&keys[7], b"7").await;
    expect::is(
        deleted,
        false,
        "an expired key to equal nothing in compare_and_delete",
    );
}

/// Scenario 4: no entry expires early.
pub async fn entry_does_not_expire_early(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("lives"));
    let since = clock::now();
    expect::ok(
        cache.set(&key, "value".into(), (SHORT * 2).into()).await,
        "set with a short TTL",
    );
    subject.gone(&key).await;
    let lived = clock::now() - since;
    expect::that(
        lived + expect::CLOCKS >= SHORT * 2,
        format_args!("a TTL of {:?}, it was {lived:?}", SHORT * 2),
    );
}

/// `ttl` and `get_entry` report the remaining TTL, and it decreases.
pub async fn remaining_ttl_counts_down(subject: &Subject) {
    let cache = subject.client();
    let (limited, endless) = (subject.key("limited"), subject.key("endless"));
    let since = clock::now();
    expect::ok(
        cache.set(&limited, "value".into(), LONG.into()).await,
        "set with a long TTL",
    );
    expect::ok(
        cache.set(&endless, "value".into(), Ttl::Forever).await,
        "set without expiry",
    );
    expect::remaining(cache.ttl(&limited).await, LONG, since, "the whole TTL from ttl");
    let entry = cache.get_entry(&limited).await;
    expect::remaining(
        entry.map(|entry| entry.remaining),
        LONG,
        since,
        "the whole TTL from get_entry",
    );
    subject.outlive(SHORT).await;
    let less = LONG - SHORT + expect::CLOCKS;
    expect::remaining(
        cache.ttl(&limited).await,
        less,
        since,
        "less TTL from ttl as time passes",
    );
    let entry = cache.get_entry(&limited).await;
    expect::remaining(
        entry.map(|entry| entry.remaining),
        less,
        since,
        "less TTL from get_entry as time passes",
    );
    expect::forever(cache.ttl(&endless).await, "ttl of an entry that never expires");
    let entry = cache.get_entry(&endless).await;
    expect::forever(
        entry.map(|entry| entry.remaining),
        "get_entry of an entry that never expires",
    );
    expect::value(cache.get(&endless).await, "value", "the value that never expires");
}

/// Scenario 3: a write that replaces a value replaces its TTL: by a longer one, a shorter one, or none.
pub async fn overwrite_replaces_the_ttl(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("replaced", 3);
    let [set, many, compared] = [&keys[0], &keys[1], &keys[2]].map(String::as_str);
    for (before, after) in [(LONG, None), (LONG, Some(LONG * 2)), (LONG * 2, Some(LONG))] {
        for key in [set, many, compared] {
            expect::ok(
                cache.set(key, "old".into(), before.into()).await,
                "set of the older value",
            );
        }
        let (since, ttl) = (clock::now(), Ttl::from(after));
        expect::ok(cache.set(set, "new".into(), ttl).await, "set of the newer value");
        expect::ok(
            cache.set_many(&[(many, "new".into())], ttl).await,
            "set_many of the newer value",
        );
        let replaced = cache.compare_and_set(compared, b"old", "new".into(), ttl).await;
        expect::is(replaced, true, "compare_and_set of the newer value");
        for (key, by) in [(set, "set"), (many, "set_many"), (compared, "compare_and_set")] {
            expect::value(
                cache.get(key).await,
                "new",
                format_args!("the newer value after {by}"),
            );
            match after {
                Some(ttl) => {
                    expect::remaining(cache.ttl(key).await, ttl, since, format_args!("the TTL of {by}"));
                }
                None => expect::forever(cache.ttl(key).await, format_args!("the TTL of {by}")),
            }
        }
    }
    expect::ok(
        cache.set(set, "old".into(), SHORT.into()).await,
        "set with a short TTL",
    );
    expect::ok(
        cache.set(set, "new".into(), Ttl::Forever).await,
        "set over a short TTL",
    );
    subject.outlive(SHORT).await;
    expect::value(
        cache.get(set).await,
        "new",
        "a value that replaced one whose TTL would have ended by now",
    );
}

/// Scenario 10: `expire` on a missing key returns false and creates nothing.
pub async fn expire_of_missing_key_returns_false(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("missing"));
    for ttl in [Ttl::from(LONG), Ttl::Forever] {
        expect::is(
            cache.expire(&key, ttl).await,
            false,
            "expire of a missing key to be false",
        );
        expect::is(cache.exists(&[&key]).await, 0, "expire to make nothing");
    }
}

/// Scenario 10: `expire` shortens a TTL, extends it, removes it, and does not change the value.
pub async fn expire_replaces_the_ttl(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("expire"));
    expect::ok(
        cache.set(&key, "value".into(), LONG.into()).await,
        "set with a long TTL",
    );
    for ttl in [LONG * 2, LONG / 2] {
        let since = clock::now();
        expect::is(
            cache.expire(&key, ttl.into()).await,
            true,
            "expire of a key that is there to be true",
        );
        expect::remaining(cache.ttl(&key).await, ttl, since, "the TTL that expire gave");
    }
    expect::is(
        cache.expire(&key, Ttl::Forever).await,
        true,
        "expire that takes the end away to be true",
    );
    expect::forever(cache.ttl(&key).await, "the TTL after expire took its end away");
    expect::is(
        cache.expire(&key, Ttl::Forever).await,
        true,
        "expire of a key without an end to be true",
    );
    expect::value(
        cache.get(&key).await,
        "value",
        "the value after its TTL was changed",
    );
    expect::is(
        cache.expire(&key, SHORT.into()).await,
        true,
        "expire that shortens to be true",
    );
    subject.gone(&key).await;
}
