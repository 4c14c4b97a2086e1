//! Lives: when an entry ends, what is left of it, what changes it. Counters' lives are with the counters.

use std::time::Duration;

use super::{Subject, expect};
use crate::{Ttl, clock};

/// So short that a test can wait for its end.
const SHORT: Duration = Duration::from_millis(60);
/// So long that no test sees its end; not a whole number of seconds, so that rounding shows.
const LONG: Duration = Duration::from_millis(600_700);

/// Scenario 4: to every method an expired key is one that is not there.
pub async fn an_expired_key_is_a_missing_key(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("expired", 12);
    for key in &keys {
        expect::ok(
            cache.set(key, "7".into(), SHORT.into()).await,
            "set with a short life",
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
        "a counter that starts anew to have no life from before",
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

/// Scenario 4: no entry ends before its time.
pub async fn an_entry_lives_as_long_as_it_was_told(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("lives"));
    let since = clock::now();
    expect::ok(
        cache.set(&key, "value".into(), (SHORT * 2).into()).await,
        "set with a short life",
    );
    subject.gone(&key).await;
    let lived = clock::now() - since;
    expect::that(
        lived + expect::CLOCKS >= SHORT * 2,
        format_args!("a life of {:?}, it was {lived:?}", SHORT * 2),
    );
}

/// What is left of a life is told by `ttl` and `get_entry`, and grows less.
pub async fn the_rest_of_a_life_counts_down(subject: &Subject) {
    let cache = subject.client();
    let (limited, endless) = (subject.key("limited"), subject.key("endless"));
    let since = clock::now();
    expect::ok(
        cache.set(&limited, "value".into(), LONG.into()).await,
        "set with a long life",
    );
    expect::ok(
        cache.set(&endless, "value".into(), Ttl::Forever).await,
        "set without expiry",
    );
    expect::remaining(cache.ttl(&limited).await, LONG, since, "the whole life from ttl");
    let entry = cache.get_entry(&limited).await;
    expect::remaining(
        entry.map(|entry| entry.remaining),
        LONG,
        since,
        "the whole life from get_entry",
    );
    subject.outlive(SHORT).await;
    let less = LONG - SHORT + expect::CLOCKS;
    expect::remaining(
        cache.ttl(&limited).await,
        less,
        since,
        "less life from ttl as time passes",
    );
    let entry = cache.get_entry(&limited).await;
    expect::remaining(
        entry.map(|entry| entry.remaining),
        less,
        since,
        "less life from get_entry as time passes",
    );
    expect::forever(cache.ttl(&endless).await, "ttl of an entry that never expires");
    let entry = cache.get_entry(&endless).await;
    expect::forever(
        entry.map(|entry| entry.remaining),
        "get_entry of an entry that never expires",
    );
    expect::value(cache.get(&endless).await, "value", "the value that never expires");
}

/// Scenario 3: whatever replaces a value replaces its life: a longer one, a shorter one, none.
pub async fn an_overwrite_replaces_the_life(subject: &Subject) {
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
        let (since, life) = (clock::now(), Ttl::from(after));
        expect::ok(cache.set(set, "new".into(), life).await, "set of the newer value");
        expect::ok(
            cache.set_many(&[(many, "new".into())], life).await,
            "set_many of the newer value",
        );
        let replaced = cache.compare_and_set(compared, b"old", "new".into(), life).await;
        expect::is(replaced, true, "compare_and_set of the newer value");
        for (key, by) in [(set, "set"), (many, "set_many"), (compared, "compare_and_set")] {
            expect::value(
                cache.get(key).await,
                "new",
                format_args!("the newer value after {by}"),
            );
            match after {
                Some(life) => expect::remaining(
                    cache.ttl(key).await,
                    life,
                    since,
                    format_args!("the life of {by}"),
                ),
                None => expect::forever(cache.ttl(key).await, format_args!("the life of {by}")),
            }
        }
    }
    expect::ok(
        cache.set(set, "old".into(), SHORT.into()).await,
        "set with a short life",
    );
    expect::ok(
        cache.set(set, "new".into(), Ttl::Forever).await,
        "set over a short life",
    );
    subject.outlive(SHORT).await;
    expect::value(
        cache.get(set).await,
        "new",
        "a value that replaced one whose life would have ended by now",
    );
}

/// Scenario 10: `expire` on a missing key says so and makes nothing.
pub async fn expire_of_a_missing_key_is_false(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("missing"));
    for life in [Ttl::from(LONG), Ttl::Forever] {
        expect::is(
            cache.expire(&key, life).await,
            false,
            "expire of a missing key to be false",
        );
        expect::is(cache.exists(&[&key]).await, 0, "expire to make nothing");
    }
}

/// Scenario 10: `expire` shortens a life, lengthens it, takes its end away, and leaves the value alone.
pub async fn expire_sets_the_life_anew(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("expire"));
    expect::ok(
        cache.set(&key, "value".into(), LONG.into()).await,
        "set with a long life",
    );
    for life in [LONG * 2, LONG / 2] {
        let since = clock::now();
        expect::is(
            cache.expire(&key, life.into()).await,
            true,
            "expire of a key that is there to be true",
        );
        expect::remaining(cache.ttl(&key).await, life, since, "the life that expire gave");
    }
    expect::is(
        cache.expire(&key, Ttl::Forever).await,
        true,
        "expire that takes the end away to be true",
    );
    expect::forever(cache.ttl(&key).await, "the life after expire took its end away");
    expect::is(
        cache.expire(&key, Ttl::Forever).await,
        true,
        "expire of a key without an end to be true",
    );
    expect::value(
        cache.get(&key).await,
        "value",
        "the value after its life was changed",
    );
    expect::is(
        cache.expire(&key, SHORT.into()).await,
        true,
        "expire that shortens to be true",
    );
    subject.gone(&key).await;
}
