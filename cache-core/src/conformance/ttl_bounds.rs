//! The shortest TTL, the longest, none, and those beyond the limit.

use std::time::Duration;

use super::{Subject, expect};
use crate::{CacheError, Ttl, clock};

const LONG: Duration = Duration::from_millis(600_700);

/// Scenario 10: a TTL below a millisecond is a millisecond, neither endless nor a delete.
pub async fn ttl_below_a_millisecond_is_a_millisecond(subject: &Subject) {
    let cache = subject.client();
    let tiny = Ttl::from(Duration::from_nanos(1));
    let keys = subject.keys_in_different_slots("tiny", 6);
    let since = clock::now();
    expect::ok(cache.set(&keys[0], "1".into(), tiny).await, "set with a tiny TTL");
    expect::ok(
        cache.set_many(&[(&keys[1], "1".into())], tiny).await,
        "set_many with a tiny TTL",
    );
    let stored = cache.set_if_absent(&keys[2], "1".into(), tiny).await;
    expect::is(stored, true, "set_if_absent with a tiny TTL");
    expect::is(
        cache.incr_by(&keys[3], 1, tiny).await,
        1,
        "incr_by with a tiny TTL",
    );
    for key in &keys[4..] {
        expect::ok(
            cache.set(key, "1".into(), LONG.into()).await,
            "set with a long TTL",
        );
    }
    expect::is(
        cache.expire(&keys[4], tiny).await,
        true,
        "expire to a tiny TTL to be true",
    );
    let replaced = cache.compare_and_set(&keys[5], b"1", "1".into(), tiny).await;
    expect::is(replaced, true, "compare_and_set with a tiny TTL");
    for key in &keys {
        let read = cache.get(key).await;
        // Only a paused clock can show that the millisecond is not over yet.
        let held = clock::now() == since;
        if held || !matches!(read, Err(CacheError::Miss)) {
            expect::value(
                read,
                "1",
                "an entry with a tiny TTL to be there while no time passes",
            );
        }
    }
    for key in &keys {
        subject
            .eventually("an entry with a tiny TTL to expire", async || {
                expect::ok(cache.exists(&[key.as_str()]).await, "exists") == 0
            })
            .await;
    }
}

/// A zero TTL is no expiry, in every way of writing it.
pub async fn zero_ttl_is_no_expiry(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("zero"));
    for zero in [
        Ttl::from(Duration::ZERO),
        Ttl::After(Duration::ZERO),
        Ttl::secs(0),
        Ttl::millis(0),
    ] {
        expect::ok(cache.set(&key, "value".into(), zero).await, "set with a zero TTL");
        expect::forever(cache.ttl(&key).await, "a zero TTL given to set");
        expect::ok(
            cache.set(&key, "value".into(), LONG.into()).await,
            "set with a long TTL",
        );
        expect::is(cache.expire(&key, zero).await, true, "expire with a zero TTL");
        expect::forever(cache.ttl(&key).await, "a zero TTL given to expire");
    }
}

/// Scenario 11: every method that takes a TTL refuses one beyond the limit, and changes nothing.
pub async fn ttl_over_the_limit_is_refused_by_every_method(subject: &Subject) {
    let cache = subject.client();
    let (old, new) = (subject.key("old"), subject.key("new"));
    let since = clock::now();
    expect::ok(
        cache.set(&old, "1".into(), LONG.into()).await,
        "set with a long TTL",
    );
    let wraps = Duration::from_millis(u64::MAX) + Duration::from_millis(51);
    for duration in [
        Ttl::MAX + Duration::from_nanos(1),
        wraps,
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ] {
        let ttl = Ttl::After(duration);
        let refused = expect::at_once(cache.set(&new, "2".into(), ttl), "a refusal by set");
        expect::invalid(refused, "ttl", "set to refuse the TTL");
        let refused = expect::at_once(
            cache.set_many(&[(&new, "2".into())], ttl),
            "a refusal by set_many",
        );
        expect::invalid(refused, "ttl", "set_many to refuse the TTL");
        let refused = expect::at_once(
            cache.set_if_absent(&new, "2".into(), ttl),
            "a refusal by set_if_absent",
        );
        expect::invalid(refused, "ttl", "set_if_absent to refuse the TTL");
        let refused = cache.compare_and_set(&old, b"1", "2".into(), ttl);
        let refused = expect::at_once(refused, "a refusal by compare_and_set");
        expect::invalid(refused, "ttl", "compare_and_set to refuse the TTL");
        let refused = expect::at_once(cache.incr_by(&old, 1, ttl), "a refusal by incr_by");
        expect::invalid(refused, "ttl", "incr_by to refuse the TTL");
        let refused = expect::at_once(cache.get_and_expire(&old, ttl), "a refusal by get_and_expire");
        expect::invalid(refused, "ttl", "get_and_expire to refuse the TTL");
        let refused = expect::at_once(cache.expire(&old, ttl), "a refusal by expire");
        expect::invalid(refused, "ttl", "expire to refuse the TTL");
    }
    expect::is(
        cache.exists(&[&new]).await,
        0,
        "nothing to be stored with a TTL that was refused",
    );
    expect::value(
        cache.get(&old).await,
        "1",
        "the value to stay where a TTL was refused",
    );
    expect::remaining(
        cache.ttl(&old).await,
        LONG,
        since,
        "the TTL to stay where a TTL was refused",
    );
}

/// The longest TTL of the contract is accepted, and is long.
pub async fn longest_ttl_is_accepted(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("longest"));
    let longest = Ttl::After(Ttl::MAX);
    let since = clock::now();
    expect::ok(
        cache.set(&key, "value".into(), longest).await,
        "set with the longest TTL",
    );
    expect::remaining(
        cache.ttl(&key).await,
        Ttl::MAX,
        since,
        "the longest TTL given to set",
    );
    expect::ok(
        cache.set(&key, "value".into(), LONG.into()).await,
        "set with a long TTL",
    );
    let since = clock::now();
    expect::is(
        cache.expire(&key, longest).await,
        true,
        "expire with the longest TTL",
    );
    expect::remaining(
        cache.ttl(&key).await,
        Ttl::MAX,
        since,
        "the longest TTL given to expire",
    );
    expect::value(cache.get(&key).await, "value", "a value with the longest TTL");
}
