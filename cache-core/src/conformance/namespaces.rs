//! Keys made by a [`Keyspace`], as a backend stores them. The keyspace's own tests are next to it.

use super::{Subject, expect};
use crate::{ConfigDigest, Keyspace, Ttl};

const TEN_MINUTES: Ttl = Ttl::secs(600);

/// Scenario 21: two different lists of parts never share an entry, whatever the parts contain.
pub async fn different_parts_never_share_an_entry(subject: &Subject) {
    let long = "p".repeat(600);
    let lists: Vec<Vec<&str>> = vec![
        vec![],
        vec![""],
        vec!["", ""],
        vec!["a"],
        vec!["A"],
        vec!["a", ""],
        vec!["", "a"],
        vec!["a", "b"],
        vec!["ab"],
        vec!["a:b"],
        vec!["a%3Ab"],
        vec!["a%3ab"],
        vec!["%"],
        vec!["*"],
        vec!["{a}"],
        vec!["{a", "}"],
        vec!["#"],
        vec!["~a"],
        vec!["@a"],
        vec!["+1"],
        vec!["a b"],
        vec!["a\r\nb"],
        vec!["naïve"],
        vec![&long, &long],
        vec![&long, &long, ""],
        vec![&long, &long, "a"],
        vec![&long, &long, "b"],
    ];
    let keyspace = keyspace(subject, None, 1);
    let spaces = [
        Some(keyspace.clone()),
        keyspace.tenant("a").ok(),
        keyspace.tenant("*").ok(),
        keyspace.tenant_spread("a").ok(),
        Some(keyspace.generation(1)),
    ];
    let mut keys = Vec::new();
    for space in spaces {
        let Some(space) = space else {
            panic!("expected a keyspace of a tenant")
        };
        keys.extend(lists.iter().map(|parts| space.key(parts)));
    }
    let cache = subject.client();
    for (number, key) in keys.iter().enumerate() {
        let stored = cache
            .set_if_absent(key, number.to_string().into(), TEN_MINUTES)
            .await;
        expect::is(
            stored,
            true,
            format_args!("the key {key} to be no other part list's"),
        );
    }
    for (number, key) in keys.iter().enumerate() {
        let value = cache.get(key).await;
        expect::value(
            value,
            number.to_string(),
            format_args!("the value of the key {key}"),
        );
    }
}

/// Scenario 23: with another configuration digest, wire version or generation, older entries are a miss,
/// never a value of another kind.
pub async fn another_digest_or_wire_version_is_a_miss(subject: &Subject) {
    let (old, new) = (digest("model-7"), digest("model-8"));
    let before = keyspace(subject, Some(old), 1);
    let after = [
        ("digest", keyspace(subject, Some(new), 1)),
        ("lack of a digest", keyspace(subject, None, 1)),
        ("wire version", keyspace(subject, Some(old), 2)),
        ("generation", before.generation(1)),
    ];
    let cache = subject.client();
    let key = before.key(["quote"]);
    expect::ok(
        cache.set(&key, "old".into(), TEN_MINUTES).await,
        "set of a keyspace's key",
    );
    for (what, keyspace) in after {
        let key = keyspace.key(["quote"]);
        expect::miss(cache.get(&key).await, format_args!("get with another {what}"));
    }
    let again = keyspace(subject, Some(old), 1).key(["quote"]);
    expect::value(
        cache.get(&again).await,
        "old",
        "the value of the same digest and version",
    );
}

fn keyspace(subject: &Subject, digest: Option<ConfigDigest>, version: u32) -> Keyspace {
    let builder = Keyspace::builder(subject.key("service")).wire_version(version);
    let builder = match digest {
        Some(digest) => builder.digest(digest),
        None => builder,
    };
    expect::ok(builder.build(), "a keyspace")
}

fn digest(setting: &str) -> ConfigDigest {
    expect::ok(ConfigDigest::of([setting]), "a digest")
}
