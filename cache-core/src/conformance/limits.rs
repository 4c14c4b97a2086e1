//! What is refused: illegal keys, oversized values; and that values at the limits are accepted.

use bytes::Bytes;

use super::{Subject, expect};
use crate::Ttl;

const TEN_MINUTES: Ttl = Ttl::secs(600);
/// The largest value that is stored to test that a value at the limit is accepted.
const LARGEST_TRIED: usize = 8 * 1024 * 1024;

/// Scenario 14: every method refuses a key that is empty or over the limit, alone or among legal ones,
/// without I/O and without any effect.
pub async fn illegal_key_is_refused_by_every_method(subject: &Subject) {
    let cache = subject.client();
    let (there, missing) = (subject.key("there"), subject.key("missing"));
    expect::ok(
        cache.set(&there, "1".into(), TEN_MINUTES).await,
        "set of a legal key",
    );
    for key in [String::new(), "k".repeat(subject.longest_key() + 1)] {
        macro_rules! refused {
            ($($method:ident($($argument:expr),*);)+) => {$({
                let what = format_args!("{} of a key of {} bytes to be refused", stringify!($method), key.len())
                    .to_string();
                expect::invalid(expect::at_once(cache.$method($($argument),*), &what), "key", &what);
            })+};
        }
        refused! {
            get(&key);
            get_entry(&key);
            get_many(&[&key]);
            get_many(&[&there, &key]);
            set(&key, "2".into(), TEN_MINUTES);
            set_many(&[(&key, "2".into())], TEN_MINUTES);
            set_many(&[(&there, "2".into()), (&missing, "2".into()), (&key, "2".into())], TEN_MINUTES);
            set_if_absent(&key, "2".into(), TEN_MINUTES);
            compare_and_set(&key, b"1", "2".into(), TEN_MINUTES);
            compare_and_delete(&key, b"1");
            get_and_delete(&key);
            get_and_expire(&key, TEN_MINUTES);
            del(&[&key]);
            del(&[&there, &key]);
            exists(&[&key]);
            exists(&[&there, &key]);
            incr(&key);
            incr_by(&key, 2, TEN_MINUTES);
            expire(&key, TEN_MINUTES);
            ttl(&key);
        }
    }
    expect::value(
        cache.get(&there).await,
        "1",
        "a legal key beside an illegal one to be left alone",
    );
    expect::is(
        cache.exists(&[&missing]).await,
        0,
        "nothing to be stored beside an illegal key",
    );
}

/// Scenario 20: the longest key is accepted, and distinct from one that differs in its last byte.
pub async fn longest_key_is_accepted(subject: &Subject) {
    let cache = subject.client();
    let start = subject.key("longest:");
    let [one, other] = ["1", "2"].map(|end| {
        let filled = subject.longest_key().saturating_sub(start.len() + end.len());
        format!("{start}{}{end}", "k".repeat(filled))
    });
    expect::ok(
        cache.set(&one, "one".into(), TEN_MINUTES).await,
        "set of the longest key",
    );
    expect::miss(
        cache.get(&other).await,
        "get of a key that differs from the longest in its last byte",
    );
    expect::ok(
        cache.set(&other, "other".into(), TEN_MINUTES).await,
        "set of the longest key",
    );
    expect::value(cache.get(&one).await, "one", "the value of the longest key");
    expect::is(
        cache.del(&[&one, &other]).await,
        2,
        "the longest keys to be deleted",
    );
}

/// Scenario 20: a value of the backend's limit is stored (or of 8 MiB if the limit is higher).
pub async fn largest_value_is_accepted(subject: &Subject) {
    let (cache, key) = (subject.client(), subject.key("largest"));
    let value = Bytes::from(vec![b'v'; subject.largest_value().min(LARGEST_TRIED)]);
    expect::ok(
        cache.set(&key, value.clone(), TEN_MINUTES).await,
        "set of the largest value",
    );
    expect::value(cache.get(&key).await, &value, "the largest value");
    expect::is(cache.del(&[&key]).await, 1, "the largest value to be deleted");
}

/// Scenario 20: every method refuses a value over the backend's limit, and nothing is stored.
pub async fn value_over_the_limit_is_refused_and_not_stored(subject: &Subject) {
    let cache = subject.client();
    let (there, missing) = (subject.key("there"), subject.key("missing"));
    expect::ok(
        cache.set(&there, "1".into(), TEN_MINUTES).await,
        "set of a legal value",
    );
    let large = Bytes::from(vec![0; subject.largest_value() + 1]);
    let refused = expect::at_once(cache.set(&there, large.clone(), TEN_MINUTES), "a refusal by set");
    expect::invalid(refused, "value", "set of a value over the limit");
    let entries = [(missing.as_str(), "2".into()), (there.as_str(), large.clone())];
    let refused = expect::at_once(cache.set_many(&entries, TEN_MINUTES), "a refusal by set_many");
    expect::invalid(refused, "value", "set_many with a value over the limit");
    let entries = [
        (missing.as_str(), large.clone(), TEN_MINUTES),
        (there.as_str(), "1".into(), TEN_MINUTES),
    ];
    let [refused, stored] = <[_; 2]>::try_from(cache.set_each(&entries).await)
        .unwrap_or_else(|results| panic!("expected two results of set_each, got {}", results.len()));
    expect::invalid(refused, "value", "set_each of a value over the limit");
    expect::ok(stored, "set_each of a legal value beside one over the limit");
    let refused = cache.set_if_absent(&missing, large.clone(), TEN_MINUTES);
    let refused = expect::at_once(refused, "a refusal by set_if_absent");
    expect::invalid(refused, "value", "set_if_absent of a value over the limit");
    let refused = cache.compare_and_set(&there, b"1", large, TEN_MINUTES);
    let refused = expect::at_once(refused, "a refusal by compare_and_set");
    expect::invalid(refused, "value", "compare_and_set of a value over the limit");
    expect::value(
        cache.get(&there).await,
        "1",
        "the value to stay where a larger one was refused",
    );
    expect::is(
        cache.exists(&[&missing]).await,
        0,
        "nothing to be stored where a value was refused",
    );
}
