//! Storing, reading, deleting. TTLs, counters, batches and conditions have their own files.

use bytes::Bytes;

use super::{Subject, expect};
use crate::{CacheClientExt, Ttl};

const TEN_MINUTES: Ttl = Ttl::secs(600);

/// Scenario 1: reading a missing key is a miss, and creates nothing.
pub async fn missing_key_is_a_miss(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("missing"));
    expect::miss(cache.get(&key).await, "get of a missing key");
    expect::miss(cache.get_entry(&key).await, "get_entry of a missing key");
    expect::miss(cache.ttl(&key).await, "ttl of a missing key");
    expect::is(cache.find(&key).await, None, "find of a missing key");
    expect::is(cache.exists(&[&key]).await, 0, "a missing key not to exist");
    expect::miss(cache.get(&key).await, "get of a missing key, asked a second time");
}

/// Scenario 2: a stored value is read back, by every method that reads.
pub async fn stored_value_is_read_back(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("stored"));
    expect::ok(
        cache.set(&key, "value".into(), TEN_MINUTES).await,
        "set of a new key",
    );
    expect::value(cache.get(&key).await, "value", "the stored value from get");
    let entry = expect::ok(cache.get_entry(&key).await, "an entry");
    expect::value(Ok(entry.value), "value", "the stored value from get_entry");
    expect::values(
        cache.get_many(&[&key]).await,
        &[Some(b"value")],
        "the stored value from get_many",
    );
    expect::is(cache.exists(&[&key]).await, 1, "a stored key to exist");
}

/// Scenario 2: a value is any bytes: none, every byte value, a mebibyte (or as much as the backend accepts).
pub async fn value_is_any_bytes(subject: &Subject) {
    let cache = subject.client();
    let large = subject.largest_value().min(1024 * 1024);
    let values: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("every byte", (0..=u8::MAX).collect()),
        ("a reply of the protocol", b"$5\r\n+OK\r\n-ERR\r\n_\r\n".to_vec()),
        ("not UTF-8", vec![0xff, 0xfe, 0x00, 0xc3, 0x28]),
        ("large", (0..=250).cycle().take(large).collect()),
    ];
    for (name, value) in &values {
        let key = subject.key(name);
        let stored = cache.set(&key, Bytes::copy_from_slice(value), TEN_MINUTES).await;
        expect::ok(stored, format_args!("set of a value that is {name}"));
    }
    for (name, value) in &values {
        let key = subject.key(name);
        expect::value(
            cache.get(&key).await,
            value,
            format_args!("the value that is {name}"),
        );
        expect::values(
            cache.get_many(&[&key]).await,
            &[Some(value)],
            format_args!("the value that is {name}, from get_many"),
        );
        let matched = cache.compare_and_delete(&key, value).await;
        expect::is(
            matched,
            true,
            format_args!("the value that is {name} to equal itself"),
        );
    }
}

/// Scenario 3: the second of two stores is read.
pub async fn overwrite_replaces_the_value(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("overwritten"));
    for value in ["first", "the second, which is longer", "3rd", ""] {
        expect::ok(
            cache.set(&key, value.into(), TEN_MINUTES).await,
            "set of a key, new or not",
        );
        expect::value(cache.get(&key).await, value, "the value that was stored last");
    }
}

/// Scenario 5: `del` deletes keys in any slots and counts those that existed.
pub async fn del_counts_existing_keys(subject: &Subject) {
    let cache = subject.client();
    let there = subject.keys_in_different_slots("there", 9);
    let missing = subject.keys_in_different_slots("missing", 9);
    expect::is(
        cache.del(&[missing[0].as_str()]).await,
        0,
        "a missing key not to be counted by del",
    );
    for key in &there {
        expect::ok(
            cache.set(key, "value".into(), TEN_MINUTES).await,
            "set of a new key",
        );
    }
    let mixed: Vec<&str> = there
        .iter()
        .zip(&missing)
        .flat_map(|(a, b)| [a.as_str(), b.as_str()])
        .collect();
    expect::is(
        cache.exists(&mixed).await,
        9,
        "exists to count the keys that are there",
    );
    expect::is(
        cache.del(&mixed).await,
        9,
        "del to count the keys that were there",
    );
    expect::is(cache.exists(&mixed).await, 0, "none of the deleted keys to exist");
    expect::miss(cache.get(&there[0]).await, "get of a deleted key");
    expect::is(
        cache.del(&mixed).await,
        0,
        "keys that are already deleted not to be counted",
    );
}

/// Scenarios 15 and 22: a key is literal text, whatever characters it contains.
pub async fn odd_keys_are_literal_and_distinct(subject: &Subject) {
    const ODD: [&str; 30] = [
        "plain",
        "PLAIN",
        "plain ",
        " plain",
        "pl ain",
        "plain\n",
        "plain\r\n",
        "plain\0",
        "plain\t",
        "\"plain\"",
        "'plain'",
        "*",
        "?",
        "[a-z]*",
        "[^a]",
        "\\*",
        "plain*",
        "{tag}a",
        "{tag}b",
        "{}a",
        "{",
        "}",
        "}{",
        "{{a}}",
        "naïve",
        "nai\u{308}ve",
        "键",
        "🔑",
        "$5\r\nplain",
        "%s%n../..",
    ];
    let cache = subject.client();
    let keys: Vec<String> = ODD.iter().map(|name| subject.key(name)).collect();
    for (key, name) in keys.iter().zip(ODD) {
        expect::ok(
            cache.set(key, name.into(), TEN_MINUTES).await,
            format_args!("set of the key {name:?}"),
        );
    }
    for (key, name) in keys.iter().zip(ODD) {
        expect::value(
            cache.get(key).await,
            name,
            format_args!("the value of the key {name:?}"),
        );
    }
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    let wanted: Vec<Option<&[u8]>> = ODD.iter().map(|name| Some(name.as_bytes())).collect();
    expect::values(
        cache.get_many(&all).await,
        &wanted,
        "the values of odd keys in one call",
    );
    for (gone, (key, name)) in (1u64..).zip(keys.iter().zip(ODD)) {
        expect::is(
            cache.del(&[key]).await,
            1,
            format_args!("del of {name:?} to delete that key"),
        );
        let left = ODD.len() as u64 - gone;
        expect::is(
            cache.exists(&all).await,
            left,
            format_args!("del of {name:?} to delete no other key"),
        );
    }
}
