//! Nobody sees another's requests, whatever they call themselves.

use cache_core::{CacheClient as _, Keyspace, Ttl};
use cache_layers::idempotency::Acquired;
use proptest::prelude::{prop_assert, proptest};

use crate::rig::{KEY, Rig, STORED_AT, claimed, request};

#[tokio::test(start_paused = true)]
async fn the_same_key_in_two_scopes_is_two_keys() {
    let rig = Rig::default();
    let process = rig.process();
    claimed(&process).await.complete("acme's").await.unwrap();
    for scope in ["globex", "", "acme:", "ACME", "acme%3A"] {
        let other = process.acquire(scope, KEY, request("a")).await.unwrap();
        let Acquired::Run(claim) = other else {
            panic!("{scope}: {other:?}");
        };
        claim.complete(scope.to_owned()).await.unwrap();
        let again = process.acquire(scope, KEY, request("a")).await.unwrap();
        assert!(matches!(again, Acquired::Replay(response) if response == scope));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_copied_to_another_key_is_not_replayed_there() {
    let rig = Rig::default();
    let process = rig.process();
    claimed(&process).await.complete("acme's").await.unwrap();
    let record = rig.memory.get(STORED_AT).await.unwrap();
    let elsewhere = STORED_AT.replace("acme", "globex");
    rig.memory.set(&elsewhere, record, Ttl::Forever).await.unwrap();
    assert!(process.acquire("globex", KEY, request("a")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_scope_s_records_are_found_by_pattern() {
    let rig = Rig::default();
    let _claim = claimed(&rig.process()).await;
    let keyspace = Keyspace::new("billing").unwrap();
    let pattern = keyspace.pattern_under(["idempotency", "acme"]).unwrap();
    assert!(pattern.matches(STORED_AT.as_bytes()));
    assert_eq!(rig.memory.exists(&[STORED_AT]).await.unwrap(), 1);
}

/// Whether the second of two requests runs while the first holds its claim.
fn are_apart(one: (&str, &str), other: (&str, &str)) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let process = Rig::default().process();
        let _held = process.acquire(one.0, one.1, request("a")).await.unwrap();
        let second = process.acquire(other.0, other.1, request("a")).await.unwrap();
        matches!(second, Acquired::Run(_))
    })
}

proptest! {
    #[test]
    fn two_pairs_of_scope_and_key_never_share_a_record(
        one in ("[ab:%{}#@*]{0,4}", "[ab:%{}#@*]{1,4}"),
        other in ("[ab:%{}#@*]{0,4}", "[ab:%{}#@*]{1,4}"),
    ) {
        let apart = are_apart((&one.0, &one.1), (&other.0, &other.1));
        prop_assert!(apart == (one != other), "{one:?} {other:?}");
    }

    /// The same text, cut at another place.
    #[test]
    fn where_the_scope_ends_and_the_key_begins_counts(
        parts in ("[ab:%]{0,2}", "[ab:%]{0,2}", "[ab:%]{1,2}"),
        between in "[:%/#@ ]?|%3A",
    ) {
        let (a, b, c) = parts;
        let one = (format!("{a}{between}{b}"), c.clone());
        let other = (a, format!("{b}{between}{c}"));
        let apart = are_apart((&one.0, &one.1), (&other.0, &other.1));
        prop_assert!(apart == (one != other), "{one:?} {other:?}");
    }
}
