//! The environment itself: a process of its own, because a test must not change that of its neighbours.

#![expect(clippy::unwrap_used, reason = "a test ends where its preparations fail")]

use std::process::Command;

use cache_core::CacheConfig;

/// Run by itself it reads the environment that the tests run in; the other test runs it in a made one.
#[test]
fn environment_is_readable() {
    match CacheConfig::from_env() {
        Ok(config) => println!("made: {config}"),
        Err(error) => println!("refused: {error}"),
    }
}

fn said_with(variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "environment_is_readable", "--nocapture"])
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn process_environment_is_used() {
    let said = said_with(&[]);
    assert!(
        said.contains("made: backend: Memory(64MiB, 1000000 entries)"),
        "{said}"
    );
    let said = said_with(&[
        ("CACHE_MODE", "cluster"),
        ("CACHE_ADDRS", "a:1,b:2"),
        ("CACHE_PASSWORD", "s3cr3t"),
    ]);
    assert!(said.contains("made: backend: Valkey(cluster, 2 seeds)"), "{said}");
    assert!(!said.contains("s3cr3t"), "{said}");
    let said = said_with(&[("CACHE_ADRS", "a:1"), ("CACHE_OP_TIMEOUT", "s3cr3t")]);
    assert!(
        said.contains("refused: wrong configuration: CACHE_OP_TIMEOUT: must be a duration"),
        "{said}"
    );
    assert!(
        said.contains("CACHE_ADRS: is not known; the nearest known name is CACHE_ADDRS"),
        "{said}"
    );
    assert!(!said.contains("s3cr3t"), "{said}");
}
