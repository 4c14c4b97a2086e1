//! Calls with many keys: order, duplicates, slots, empty lists. Illegal keys are in `limits`.

use std::time::Duration;

use bytes::Bytes;

use super::{Subject, expect};
use crate::{Ttl, clock};

const LONG: Duration = Duration::from_millis(600_700);

/// Scenarios 6 and 7: one result per key, in the order of the keys, hits and misses mixed.
pub async fn get_many_keeps_order_and_reports_misses(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("order", 24);
    // Ordered neither by slot nor by name, with runs of neighbours on both sides.
    let shuffled: Vec<&str> = (0..24).map(|place| keys[place * 7 % 24].as_str()).collect();
    let stored = |place: usize| place % 3 != 1;
    for (place, key) in shuffled.iter().enumerate().filter(|(place, _)| stored(*place)) {
        expect::ok(
            cache.set(key, place.to_string().into(), LONG.into()).await,
            "set of a new key",
        );
    }
    let texts: Vec<String> = (0..24).map(|place: usize| place.to_string()).collect();
    let wanted: Vec<Option<&[u8]>> = texts
        .iter()
        .enumerate()
        .map(|(place, text)| stored(place).then_some(text.as_bytes()))
        .collect();
    expect::values(
        cache.get_many(&shuffled).await,
        &wanted,
        "hits and misses in the order of the keys",
    );
    let backwards: Vec<&str> = shuffled.iter().rev().copied().collect();
    let wanted: Vec<Option<&[u8]>> = wanted.into_iter().rev().collect();
    expect::values(
        cache.get_many(&backwards).await,
        &wanted,
        "hits and misses in the order of the keys",
    );
}

/// Scenario 6: `set_many` stores every entry, in any slots, with the given TTL.
pub async fn set_many_stores_every_entry_with_its_ttl(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("many", 24);
    let entries: Vec<(&str, Bytes)> = keys
        .iter()
        .map(|key| (key.as_str(), key.clone().into()))
        .collect();
    for ttl in [Some(LONG), None] {
        let since = clock::now();
        expect::ok(
            cache.set_many(&entries, ttl.into()).await,
            "set_many in many slots",
        );
        for key in &keys {
            expect::value(cache.get(key).await, key, "the value that set_many stored");
            match ttl {
                Some(ttl) => {
                    expect::remaining(cache.ttl(key).await, ttl, since, "the TTL that set_many gave");
                }
                None => expect::forever(cache.ttl(key).await, "the TTL that set_many gave"),
            }
        }
    }
}

/// Scenario 6: a key given twice is answered twice, exists twice, is deleted once, and keeps the last value.
pub async fn key_given_twice_is_answered_twice(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("twice", 3);
    let [first, second, missing] = [&keys[0], &keys[1], &keys[2]].map(String::as_str);
    let entries = [
        (first, "older".into()),
        (second, "2".into()),
        (first, "newer".into()),
        (second, "2nd".into()),
    ];
    expect::ok(
        cache.set_many(&entries, LONG.into()).await,
        "set_many of keys given twice",
    );
    expect::values(
        cache
            .get_many(&[first, second, missing, first, missing, first, second])
            .await,
        &[
            Some(b"newer"),
            Some(b"2nd"),
            None,
            Some(b"newer"),
            None,
            Some(b"newer"),
            Some(b"2nd"),
        ],
        "every place to be answered with what was given last",
    );
    let exist = cache
        .exists(&[first, second, first, missing, missing, first])
        .await;
    expect::is(exist, 4, "exists to count a key as often as it is given");
    let deleted = cache.del(&[first, second, first, missing, missing, first]).await;
    expect::is(deleted, 2, "del to count a key once, however often it is given");
}

/// Scenario 6: an empty list is answered without I/O.
pub async fn empty_list_does_no_io(subject: &Subject) {
    let cache = subject.client();
    let none = expect::at_once(cache.get_many(&[]), "get_many of an empty list");
    expect::values(none, &[], "get_many of an empty list");
    let stored = expect::at_once(cache.set_many(&[], Ttl::secs(1)), "set_many of an empty list");
    expect::ok(stored, "set_many of an empty list");
    expect::is(
        expect::at_once(cache.del(&[]), "del of an empty list"),
        0,
        "del of an empty list",
    );
    expect::is(
        expect::at_once(cache.exists(&[]), "exists of an empty list"),
        0,
        "exists of an empty list",
    );
}

/// Scenario 6: a thousand keys in one call behave like a thousand calls.
pub async fn thousand_keys_in_one_call_are_answered(subject: &Subject) {
    let cache = subject.client();
    let keys: Vec<String> = (0..1_000)
        .map(|number| subject.key(&format!("thousand:{number}")))
        .collect();
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    let entries: Vec<(&str, Bytes)> = all
        .iter()
        .map(|key| (*key, Bytes::from((*key).to_owned())))
        .collect();
    expect::values(
        cache.get_many(&all).await,
        &vec![None; all.len()],
        "a thousand misses",
    );
    expect::ok(
        cache.set_many(&entries, LONG.into()).await,
        "set_many of a thousand entries",
    );
    let wanted: Vec<Option<&[u8]>> = all.iter().map(|key| Some(key.as_bytes())).collect();
    expect::values(
        cache.get_many(&all).await,
        &wanted,
        "a thousand values, each its own key's",
    );
    expect::is(cache.exists(&all).await, 1_000, "a thousand keys to exist");
    expect::is(cache.del(&all).await, 1_000, "a thousand keys to be deleted");
    expect::is(
        cache.exists(&all).await,
        0,
        "none of a thousand deleted keys to exist",
    );
}
