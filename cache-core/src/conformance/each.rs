//! Calls with one result per key: order, TTLs per entry, and failures that affect only their key.

use std::time::Duration;

use bytes::Bytes;

use super::{Subject, expect};
use crate::{CacheError, Lookup, Ttl, clock};

const LONG: Duration = Duration::from_millis(600_700);

/// One result per key, in the order of the keys: hits, misses, duplicate keys, and illegal keys among them.
pub async fn get_each_answers_in_key_order(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("each", 24);
    let stored = |place: usize| place % 3 != 1;
    for (place, key) in keys.iter().enumerate().filter(|(place, _)| stored(*place)) {
        let value = place.to_string().into();
        expect::ok(cache.set(key, value, LONG.into()).await, "set of a new key");
    }
    let too_long = "k".repeat(subject.longest_key() + 1);
    // Ordered neither by slot nor by name, each key twice, and an illegal key after every fifth.
    let mut asked: Vec<(&str, Option<usize>)> = Vec::new();
    for step in 0..48 {
        let place = step * 7 % 24;
        asked.push((keys[place].as_str(), Some(place)));
        if step % 5 == 0 {
            asked.push((if step % 2 == 0 { "" } else { too_long.as_str() }, None));
        }
    }
    let names: Vec<&str> = asked.iter().map(|(key, _)| *key).collect();
    let results = cache.get_each(&names).await;
    expect::that(
        results.len() == asked.len(),
        format_args!("{} results of get_each, got {}", asked.len(), results.len()),
    );
    for (result, (_, place)) in results.into_iter().zip(asked) {
        match place {
            Some(place) if stored(place) => {
                expect::value(result, place.to_string(), "each key's own value from get_each");
            }
            Some(_) => expect::miss(result, "a missing key in get_each"),
            None => expect::invalid(result, "key", "an illegal key in get_each"),
        }
    }
}

/// One result per key, in the order of the keys: the value with its TTL, or that there is none; an illegal key fails alone.
pub async fn get_entries_has_value_and_ttl_of_every_key(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("entries", 12);
    let ttl = |place: usize| match place % 4 {
        0 => Some(Ttl::Forever),
        1 => Some(Ttl::After(LONG)),
        2 => Some(Ttl::After(LONG * 2)),
        _ => None,
    };
    let since = clock::now();
    for (place, key) in keys.iter().enumerate() {
        if let Some(ttl) = ttl(place) {
            expect::ok(
                cache.set(key, place.to_string().into(), ttl).await,
                "set of a new key",
            );
        }
    }
    // Ordered neither by slot nor by name, each key twice, and an illegal key after every fifth.
    let mut asked: Vec<(&str, Option<usize>)> = Vec::new();
    for step in 0..24 {
        let place = step * 5 % 12;
        asked.push((keys[place].as_str(), Some(place)));
        if step % 5 == 0 {
            asked.push(("", None));
        }
    }
    let names: Vec<&str> = asked.iter().map(|(key, _)| *key).collect();
    let results = cache.get_entries(&names).await;
    expect::that(
        results.len() == asked.len(),
        format_args!("{} results of get_entries, got {}", asked.len(), results.len()),
    );
    for (result, (_, place)) in results.into_iter().zip(asked) {
        let Some(place) = place else {
            expect::invalid(result, "key", "an illegal key in get_entries");
            continue;
        };
        match (expect::ok(result, "get_entries of a legal key"), ttl(place)) {
            (Lookup::Found(entry), Some(ttl)) => {
                expect::value(
                    Ok(entry.value),
                    place.to_string(),
                    "each key's own value from get_entries",
                );
                match ttl {
                    Ttl::After(ttl) => {
                        expect::remaining(Ok(entry.remaining), ttl, since, "each key's own TTL");
                    }
                    Ttl::Forever => expect::forever(Ok(entry.remaining), "each key's own TTL"),
                }
            }
            (Lookup::Absent(_), None) => {}
            (found, _) => expect::that(false, format_args!("a key as it was stored, got {found:?}")),
        }
    }
    // One key is answered as many are.
    let one = cache.get_entries(&[&keys[3]]).await.pop();
    expect::that(
        matches!(one, Some(Ok(Lookup::Absent(_)))),
        format_args!("one missing key, got {one:?}"),
    );
}

/// Every entry gets its own TTL, and an entry that is refused fails alone.
pub async fn set_each_stores_every_entry_with_its_own_ttl(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("set-each", 12);
    let ttl = |place: usize| match place % 3 {
        0 => None,
        1 => Some(LONG),
        _ => Some(LONG * 2),
    };
    let mut entries: Vec<(&str, Bytes, Ttl)> = Vec::new();
    for (place, key) in keys.iter().enumerate() {
        if place % 4 == 0 {
            entries.push(("", "x".into(), LONG.into()));
            entries.push((
                key,
                "too long".into(),
                Ttl::After(Ttl::MAX + Duration::from_millis(1)),
            ));
        }
        entries.push((key, place.to_string().into(), ttl(place).into()));
    }
    let since = clock::now();
    let results = cache.set_each(&entries).await;
    expect::that(
        results.len() == entries.len(),
        format_args!("{} results of set_each, got {}", entries.len(), results.len()),
    );
    for (result, (key, value, _)) in results.into_iter().zip(&entries) {
        match (key.is_empty(), value == "too long") {
            (true, _) => expect::invalid(result, "key", "an illegal key in set_each"),
            (_, true) => expect::invalid(result, "ttl", "a TTL beyond the limit in set_each"),
            _ => expect::ok(result, "a legal entry in set_each"),
        }
    }
    for (place, key) in keys.iter().enumerate() {
        expect::value(
            cache.get(key).await,
            place.to_string(),
            "the value that set_each stored",
        );
        match ttl(place) {
            Some(ttl) => expect::remaining(cache.ttl(key).await, ttl, since, "the entry's own TTL"),
            None => expect::forever(cache.ttl(key).await, "the entry's own TTL"),
        }
    }
}

/// The last entry of a key given twice is stored, and `set_each` replaces an older value and its TTL.
pub async fn set_each_keeps_the_last_entry_of_a_key(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("last", 3);
    for key in &keys {
        expect::ok(
            cache.set(key, "older".into(), LONG.into()).await,
            "set of an older value",
        );
    }
    let [a, b, c] = [&keys[0], &keys[1], &keys[2]].map(String::as_str);
    let entries = [
        (a, "1".into(), LONG.into()),
        (b, "2".into(), LONG.into()),
        (a, "3".into(), Ttl::Forever),
        (c, "4".into(), Ttl::Forever),
        (b, "5".into(), Ttl::Forever),
        (a, "6".into(), Ttl::Forever),
    ];
    for result in cache.set_each(&entries).await {
        expect::ok(result, "set_each of keys given more than once");
    }
    for (key, value) in [(a, "6"), (b, "5"), (c, "4")] {
        expect::value(cache.get(key).await, value, "the value that was given last");
        expect::forever(cache.ttl(key).await, "the TTL that was given last");
    }
}

/// Empty lists, and lists of illegal keys only, are answered without I/O.
pub async fn each_call_with_empty_list_does_no_io(subject: &Subject) {
    let cache = subject.client();
    let none = expect::at_once(cache.get_each(&[]), "get_each of an empty list");
    expect::that(none.is_empty(), "no results of get_each of an empty list");
    let none = expect::at_once(cache.get_entries(&[]), "get_entries of an empty list");
    expect::that(none.is_empty(), "no results of get_entries of an empty list");
    let none = expect::at_once(cache.set_each(&[]), "set_each of an empty list");
    expect::that(none.is_empty(), "no results of set_each of an empty list");
    for result in expect::at_once(cache.get_each(&["", ""]), "get_each of illegal keys") {
        expect::invalid(result, "key", "get_each of illegal keys");
    }
    for result in expect::at_once(cache.get_entries(&["", ""]), "get_entries of illegal keys") {
        expect::invalid(result, "key", "get_entries of illegal keys");
    }
    let entries = [("", "x".into(), Ttl::Forever), ("", "y".into(), Ttl::Forever)];
    for result in expect::at_once(cache.set_each(&entries), "set_each of illegal keys") {
        expect::invalid(result, "key", "set_each of illegal keys");
    }
}

/// A thousand keys in one call behave like a thousand calls.
pub async fn thousand_keys_are_each_answered(subject: &Subject) {
    let cache = subject.client();
    let keys: Vec<String> = (0..1_000)
        .map(|number| subject.key(&format!("thousands:{number}")))
        .collect();
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    let entries: Vec<(&str, Bytes, Ttl)> = all
        .iter()
        .map(|key| (*key, Bytes::from((*key).to_owned()), LONG.into()))
        .collect();
    let stored = cache.set_each(&entries).await;
    expect::that(stored.len() == 1_000, "a thousand results of set_each");
    stored
        .into_iter()
        .for_each(|result| expect::ok(result, "set_each of a thousand entries"));
    let values: Vec<Result<Bytes, CacheError>> = cache.get_each(&all).await;
    expect::that(values.len() == 1_000, "a thousand results of get_each");
    for (key, value) in all.iter().zip(values) {
        expect::value(value, key, "each of a thousand keys' own value");
    }
}
