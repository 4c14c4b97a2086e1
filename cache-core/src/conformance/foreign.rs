//! Keys that hold something other than bytes, written by another program.

use super::{Subject, expect};
use crate::{CacheError, Ttl};

const TEN_MINUTES: Ttl = Ttl::secs(600);

/// A key of another type is neither a value nor a miss: every read rejects it, alone and among others, with
/// one code. Needs [`Subject::with_foreign_values`].
pub async fn key_of_another_type_is_rejected_by_every_read(subject: &Subject) {
    let cache = subject.client();
    let keys = subject.keys_in_different_slots("foreign", 9);
    let [foreign, hits @ ..] = keys.as_slice() else {
        panic!("expected nine keys");
    };
    subject.foreign_values().put(foreign).await;
    for key in hits.iter().skip(1) {
        expect::ok(
            cache.set(key, "value".into(), TEN_MINUTES).await,
            "set of a new key",
        );
    }
    let codes = [
        code(cache.get(foreign).await, "get of a key of another type"),
        code(
            cache.get_entry(foreign).await,
            "get_entry of a key of another type",
        ),
        code(
            cache.get_many(&[foreign]).await,
            "get_many of a key of another type",
        ),
        code(
            one(cache.get_each(&[foreign]).await),
            "get_each of a key of another type",
        ),
        code(
            one(cache.get_entries(&[foreign]).await),
            "get_entries of a key of another type",
        ),
        code(
            // The last one: the others are a miss and a value.
            one(cache
                .get_entries(&[hits[0].as_str(), hits[1].as_str(), foreign])
                .await),
            "get_entries of a key of another type among others",
        ),
        code(
            // The first of the others is a miss.
            cache
                .get_many(&[hits[0].as_str(), hits[1].as_str(), foreign, hits[2].as_str()])
                .await,
            "get_many of a key of another type among others",
        ),
        code(
            cache
                .get_many(&keys.iter().map(String::as_str).collect::<Vec<_>>())
                .await,
            "get_many of a key of another type among others in every slot",
        ),
    ];
    expect::that(
        codes.iter().all(|code| *code == codes[0]),
        format_args!("one code for a key of another type, got {codes:?}"),
    );
}

/// The last result of a call with one result per key.
fn one<T>(mut results: Vec<Result<T, CacheError>>) -> Result<T, CacheError> {
    results.pop().unwrap_or(Err(CacheError::Miss))
}

/// A key of another type exists, is replaced by `set`, and is deleted by `del`. Needs [`Subject::with_foreign_values`].
pub async fn key_of_another_type_is_replaced_and_deleted(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("replaced"));
    subject.foreign_values().put(&key).await;
    expect::is(cache.exists(&[&key]).await, 1, "a key of another type to exist");
    expect::is(
        cache.set_if_absent(&key, "value".into(), TEN_MINUTES).await,
        false,
        "set_if_absent to find a key of another type",
    );
    expect::ok(
        cache.set(&key, "value".into(), TEN_MINUTES).await,
        "set of a key of another type",
    );
    expect::value(
        cache.get(&key).await,
        "value",
        "the value that replaced another type",
    );
    expect::is(cache.del(&[&key]).await, 1, "del of the key that was replaced");
    subject.foreign_values().put(&key).await;
    expect::is(cache.del(&[&key]).await, 1, "del to delete a key of another type");
    expect::miss(cache.get(&key).await, "get of a deleted key");
}

#[track_caller]
fn code<T>(result: Result<T, CacheError>, expected: &str) -> String {
    match result {
        Err(CacheError::Rejected { code, .. }) => code.into_owned(),
        Err(error) => panic!("expected {expected}: a rejection, got the error: {error}"),
        Ok(_) => panic!("expected {expected}: a rejection, got a result"),
    }
}
