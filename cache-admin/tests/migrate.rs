//! `cachectl migrate check` on environments as services have them: the new settings, the notes, and no secret.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use cache_core::CacheConfig;
use serde_json::Value;

const SECRET: &str = "s3cr3t-w0rd";

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// An old environment, the settings that are expected in the order of their names (`SECRET` stands for one that is not
/// shown), and the kinds of notes with what they are about.
struct Case<'a> {
    old: Pairs<'a>,
    new: Pairs<'a>,
    notes: Pairs<'a>,
}

fn check(old: Pairs<'_>) -> Result<(Option<i32>, Value, String)> {
    let run = |json: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachectl"));
        command.args(["migrate", "check"]).args(json.then_some("--json"));
        command
            .env_clear()
            .envs(old.iter().copied())
            .stdin(Stdio::null())
            .output()
    };
    let (json, text) = (run(true)?, run(false)?);
    let mut said = String::new();
    for part in [&json.stdout, &json.stderr, &text.stdout, &text.stderr] {
        said.push_str(&String::from_utf8_lossy(part));
    }
    let value = serde_json::from_slice(&json.stdout).with_context(|| said.clone())?;
    Ok((json.status.code(), value, said))
}

/// Holds `case` against what the command says, and the new settings against our own configuration.
fn hold(case: &Case<'_>) -> Result<()> {
    let (code, answer, said) = check(case.old)?;
    ensure!(!said.contains(SECRET), "a secret was shown: {said}");
    ensure!(code == Some(0) && answer["accepted"] == true, "{said}");
    let mut settings = BTreeMap::new();
    for setting in answer["settings"].as_array().context("settings")? {
        let text = |field: &str| setting[field].as_str().map(str::to_owned);
        let value = text("value").unwrap_or_else(|| "SECRET".to_owned());
        settings.insert(text("name").context("name")?, value);
    }
    let expected: BTreeMap<String, String> = case
        .new
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    ensure!(settings == expected, "{settings:#?}\n{expected:#?}");
    let notes = answer["notes"].as_array().context("notes")?;
    for (kind, about) in case.notes {
        let is_there = notes
            .iter()
            .any(|note| note["kind"] == *kind && note["about"] == *about);
        ensure!(is_there, "no note {kind} about {about}: {notes:#?}");
    }
    let with_secret = settings.into_iter().map(|(name, value)| {
        let value = match (name.as_str(), value.as_str()) {
            ("CACHE_URL", "SECRET") => format!("rediss://app:{SECRET}@cache"),
            (_, "SECRET") => SECRET.to_owned(),
            (_, value) => value.to_owned(),
        };
        (name, value)
    });
    CacheConfig::from_vars(with_secret)?;
    Ok(())
}

#[test]
fn old_environments_become_settings_that_are_accepted() -> Result<()> {
    let url = format!("rediss://app:{SECRET}@cache.example:6380/2");
    let go_url = format!("redis://:{SECRET}@a:6379/1?dial_timeout=3&pool_size=50&addr=b:6379");
    let lettuce = format!("redis-sentinel://{SECRET}@one,two:26380/0#main");
    let azure = format!("cache.example:6380,password={SECRET},ssl=True,abortConnect=False");
    let cases = [
        // redis-rs
        Case {
            old: &[("REDIS_URL", &url)],
            new: &[("CACHE_TYPE", "valkey"), ("CACHE_URL", "SECRET")],
            notes: &[],
        },
        // A Go wrapper
        Case {
            old: &[
                ("REDIS_HOST", "cache"),
                ("REDIS_PORT", "6380"),
                ("REDIS_PASSWORD", SECRET),
                ("REDIS_DB", "3"),
                ("REDIS_TLS", "true"),
            ],
            new: &[
                ("CACHE_TYPE", "valkey"),
                ("CACHE_ADDRS", "cache:6380"),
                ("CACHE_PASSWORD", "SECRET"),
                ("CACHE_DB", "3"),
                ("CACHE_TLS_ENABLED", "true"),
            ],
            notes: &[],
        },
        // go-redis
        Case {
            old: &[("REDIS_URL", &go_url)],
            new: &[
                ("CACHE_TYPE", "valkey"),
                ("CACHE_ADDRS", "a:6379,b:6379"),
                ("CACHE_PASSWORD", "SECRET"),
                ("CACHE_DB", "1"),
                ("CACHE_DIAL_TIMEOUT", "3s"),
            ],
            notes: &[
                ("not-carried-over", "REDIS_URL (option pool_size)"),
                ("topology", "CACHE_ADDRS"),
            ],
        },
        // valkey-go with IAM, and what is left of an older server
        Case {
            old: &[
                ("VALKEY_ADDRESS", "cache:6379"),
                ("VALKEY_TLS", "true"),
                ("VALKEY_USERNAME", "app"),
                ("VALKEY_IAM_ENABLED", "true"),
                ("VALKEY_IAM_CACHE_NAME", "cache-1"),
                ("REDIS_PASSWORD", SECRET),
            ],
            new: &[
                ("CACHE_TYPE", "valkey"),
                ("CACHE_ADDRS", "cache:6379"),
                ("CACHE_TLS_ENABLED", "true"),
                ("CACHE_USERNAME", "app"),
                ("CACHE_IAM_ENABLED", "true"),
                ("CACHE_IAM_CACHE_NAME", "cache-1"),
            ],
            notes: &[("not-carried-over", "REDIS_PASSWORD")],
        },
        // Spring on a cluster
        Case {
            old: &[
                ("SPRING_DATA_REDIS_CLUSTER_NODES", "a:7000,b:7001"),
                ("SPRING_DATA_REDIS_PASSWORD", SECRET),
                ("SPRING_DATA_REDIS_TIMEOUT", "2000"),
                ("SPRING_DATA_REDIS_LETTUCE_POOL_MAX_ACTIVE", "64"),
            ],
            new: &[
                ("CACHE_TYPE", "valkey"),
                ("CACHE_MODE", "cluster"),
                ("CACHE_ADDRS", "a:7000,b:7001"),
                ("CACHE_PASSWORD", "SECRET"),
                ("CACHE_READ_TIMEOUT", "2s"),
                ("CACHE_WRITE_TIMEOUT", "2s"),
            ],
            notes: &[
                ("values", "Spring"),
                ("not-carried-over", "SPRING_DATA_REDIS_LETTUCE_POOL_MAX_ACTIVE"),
            ],
        },
        // Lettuce with sentinels
        Case {
            old: &[("REDIS_URI", &lettuce)],
            new: &[
                ("CACHE_TYPE", "valkey"),
                ("CACHE_MODE", "sentinel"),
                ("CACHE_ADDRS", "one:26379,two:26380"),
                ("CACHE_PASSWORD", "SECRET"),
                ("CACHE_SENTINEL_MASTER", "main"),
            ],
            notes: &[],
        },
        // ioredis
        Case {
            old: &[
                ("REDIS_HOST", "cache"),
                ("REDIS_KEY_PREFIX", "shop:"),
                ("REDIS_CONNECT_TIMEOUT", "500"),
                ("REDIS_TLS", "1"),
                ("REDIS_TLS_REJECT_UNAUTHORIZED", "0"),
                ("REDIS_TTL", "60"),
            ],
            new: &[
                ("CACHE_TYPE", "valkey"),
                ("CACHE_ADDRS", "cache:6379"),
                ("CACHE_KEY_PREFIX", "shop:"),
                ("CACHE_DIAL_TIMEOUT", "500ms"),
                ("CACHE_TLS_ENABLED", "true"),
            ],
            notes: &[
                ("insecure", "REDIS_TLS_REJECT_UNAUTHORIZED"),
                ("timeouts", "REDIS_CONNECT_TIMEOUT"),
                ("not-carried-over", "REDIS_TTL"),
            ],
        },
        // ElastiCache with a primary and a reader
        Case {
            old: &[
                ("REDIS_PRIMARY_ENDPOINT", "master.c.example:6379"),
                ("REDIS_READER_ENDPOINT", "replica.c.example:6379"),
            ],
            new: &[
                ("CACHE_TYPE", "valkey"),
                ("CACHE_ADDRS", "master.c.example:6379,replica.c.example:6379"),
                ("CACHE_READ_FROM", "prefer-replica"),
            ],
            notes: &[],
        },
        // Azure, .NET
        Case {
            old: &[("REDIS_CONNECTION_STRING", &azure)],
            new: &[
                ("CACHE_TYPE", "valkey"),
                ("CACHE_ADDRS", "cache.example:6380"),
                ("CACHE_PASSWORD", "SECRET"),
                ("CACHE_TLS_ENABLED", "true"),
            ],
            notes: &[("unknown", "REDIS_CONNECTION_STRING (option abortconnect)")],
        },
        // Kubernetes, with a service called redis and names that are ours by chance
        Case {
            old: &[
                ("REDIS_HOST", "redis"),
                ("REDIS_PORT", "tcp://10.0.0.1:6379"),
                ("REDIS_SERVICE_HOST", "10.0.0.1"),
                ("CACHE_TTL", "60"),
            ],
            new: &[("CACHE_TYPE", "valkey"), ("CACHE_ADDRS", "redis:6379")],
            notes: &[("unknown", "CACHE_TTL")],
        },
    ];
    for case in &cases {
        hold(case).with_context(|| case.old[0].0.to_owned())?;
    }
    Ok(())
}

#[test]
fn what_is_not_accepted_is_6_and_names_the_old_variable() -> Result<()> {
    let (code, answer, said) = check(&[
        ("REDIS_HOST", "cache"),
        ("REDIS_DB", "first"),
        ("REDIS_PASSWORD", SECRET),
    ])?;
    ensure!(code == Some(6) && answer["accepted"] == false, "{said}");
    ensure!(
        said.contains("CACHE_DB (from REDIS_DB)") && !said.contains(SECRET),
        "{said}"
    );
    Ok(())
}
