//! Patterns and slots agree with the server, which has the last word on both.

use std::collections::HashSet;

use cache_core::Pattern;
use cache_core::slot::slot_of;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tests::{Kind, Server, ServerOptions, Version, shared};

/// Keys in the server, and patterns asked of it: a million pairs.
const KEYS: usize = 2_000;
const PATTERNS: usize = 500;

/// Few letters, so that pairs match often; every sign that means something in a pattern; bytes that are no
/// text.
const KEY_BYTES: &[u8] = b"aabbc-{}*?[]\\^\xff\x80\0\n";
const PATTERN_BYTES: &[u8] = b"aabbc-{}***??[[]]\\^^\xff\x80\0\n";

fn random_bytes(random: &mut StdRng, from: &[u8], longest: usize) -> Vec<u8> {
    let length = random.random_range(1..=longest);
    (0..length).filter_map(|_| from.choose(random).copied()).collect()
}

#[tokio::test]
async fn a_pattern_matches_what_the_server_matches_on_a_million_random_pairs() {
    let server = Server::start(ServerOptions::new(Version::Valkey8))
        .await
        .expect("a server starts");
    let mut connection = server.connect().await.expect("connects");
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut keys = HashSet::new();
    while keys.len() < KEYS {
        keys.insert(random_bytes(&mut random, KEY_BYTES, 8));
    }
    for key in &keys {
        connection
            .call(&[b"SET".as_slice(), key, b"1"])
            .await
            .expect("a key is stored");
    }
    let mut matches = 0;
    for _ in 0..PATTERNS {
        let glob = random_bytes(&mut random, PATTERN_BYTES, 7);
        let reply = connection
            .call(&[b"KEYS".as_slice(), &glob])
            .await
            .expect("the server matches");
        let theirs: HashSet<Vec<u8>> = reply.items().iter().map(bytes_of).collect();
        let pattern = Pattern::new(glob.clone()).expect("a short pattern is legal");
        let ours: HashSet<Vec<u8>> = keys.iter().filter(|key| pattern.matches(key)).cloned().collect();
        assert_eq!(
            ours,
            theirs,
            "seed {seed}, pattern {:?}",
            glob.escape_ascii().to_string()
        );
        // What is sent in its place is matched by the server in the same way.
        let asked = pattern.asked();
        let reply = connection
            .call(&[b"KEYS".as_slice(), asked.pattern.as_bytes()])
            .await
            .expect("the server matches");
        let sent: HashSet<Vec<u8>> = reply.items().iter().map(bytes_of).collect();
        assert!(
            if asked.is_exact {
                sent == theirs
            } else {
                sent.is_superset(&theirs)
            },
            "seed {seed}, pattern {:?} as {:?}",
            glob.escape_ascii().to_string(),
            asked.pattern
        );
        matches += theirs.len();
    }
    assert!(
        matches > KEYS * PATTERNS / 100,
        "only {matches} pairs match: the test has lost its teeth"
    );
}

#[tokio::test]
async fn a_slot_is_the_servers_slot_and_a_pinned_pattern_stays_in_its_slot() {
    let servers = shared(Kind::Cluster).await.expect("the shared cluster");
    let mut connection = tests::Connection::open(&servers.addresses[0])
        .await
        .expect("connects");
    let mut random = StdRng::seed_from_u64(rand::random());
    for _ in 0..2_000 {
        let key = random_bytes(&mut random, b"ab{}{}\xff\0", 10);
        let reply = connection
            .call(&[b"CLUSTER".as_slice(), b"KEYSLOT", &key])
            .await
            .expect("a slot");
        assert_eq!(
            reply.integer(),
            Some(i64::from(slot_of(&key))),
            "{:?}",
            key.escape_ascii().to_string()
        );
    }
    // What a pattern pins is what every key that it matches has.
    let mut pinned = 0;
    for _ in 0..20_000 {
        let glob = random_bytes(&mut random, b"ab{{}}*?[]\\", 8);
        let pattern = Pattern::new(glob.clone()).expect("a short pattern is legal");
        let Some(slot) = pattern.slot() else { continue };
        for _ in 0..200 {
            let key = random_bytes(&mut random, b"ab{}", 8);
            if pattern.matches(&key) {
                pinned += 1;
                assert_eq!(
                    slot_of(&key),
                    slot,
                    "{:?} matches {:?}",
                    glob.escape_ascii().to_string(),
                    key
                );
            }
        }
    }
    assert!(
        pinned > 100,
        "only {pinned} keys matched a pinned pattern: the test has lost its teeth"
    );
}

fn bytes_of(reply: &tests::Reply) -> Vec<u8> {
    match reply {
        tests::Reply::Bulk(bytes) => bytes.clone(),
        other => panic!("expected a key, got {other:?}"),
    }
}
