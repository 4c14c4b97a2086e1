//! `cachectl` against real servers: what an operator sees on a cluster that is well and on one that is not.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use serde_json::Value;
use tests::{Cluster, ClusterOptions, Kind, Server, ServerOptions, Version, shared, until};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(20);

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    /// The last line of standard output, as JSON.
    fn json(&self) -> Result<Value> {
        let text = std::str::from_utf8(&self.out)?;
        let line = text
            .lines()
            .last()
            .with_context(|| format!("no output: {}", self.err))?;
        Ok(serde_json::from_str(line)?)
    }
}

/// Runs `cachectl` against the servers at `addresses`.
async fn cachectl(mode: &str, addresses: &[String], arguments: &[&[u8]]) -> Result<Ran> {
    cachectl_with(mode, addresses, &[], arguments).await
}

/// As [`cachectl`], with more variables.
async fn cachectl_with(
    mode: &str,
    addresses: &[String],
    variables: &[(&str, &str)],
    arguments: &[&[u8]],
) -> Result<Ran> {
    use std::os::unix::ffi::OsStrExt as _;
    let output = Command::new(tests::cachectl().await?)
        .args(
            arguments
                .iter()
                .map(|argument| std::ffi::OsStr::from_bytes(argument)),
        )
        .env_clear()
        .env("CACHE_MODE", mode)
        .env("CACHE_ADDRS", addresses.join(","))
        .env("CACHE_DIAL_TIMEOUT", "1s")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await?;
    let code = output.status.code().context("ended by a signal")?;
    Ok(Ran {
        code,
        out: output.stdout,
        err: String::from_utf8(output.stderr)?,
    })
}

/// Stores `keys`, in batches.
async fn fill(addresses: &[String], keys: impl Iterator<Item = String>) -> Result<()> {
    let seeds = addresses
        .iter()
        .map(|address| address.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let client = ValkeyClient::connect(&ValkeyConfig::new(Topology::cluster(seeds))).await?;
    let keys: Vec<String> = keys.collect();
    for batch in keys.chunks(1_000) {
        let entries: Vec<_> = batch.iter().map(|key| (key.as_str(), "value".into())).collect();
        client.set_many(&entries, Ttl::Forever).await?;
    }
    Ok(client.close().await?)
}

async fn sizes(cluster: &Cluster) -> Result<Vec<i64>> {
    let mut sizes = Vec::new();
    for node in cluster.nodes() {
        sizes.push(node.call(&["DBSIZE"]).await?.integer().context("DBSIZE")?);
    }
    Ok(sizes)
}

#[tokio::test]
async fn a_pattern_is_removed_from_all_primaries_and_the_counts_are_those_of_the_servers() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    let (doomed, kept) = (90_000, 10_000);
    fill(&addresses, (0..doomed).map(|number| format!("doomed:{number}"))).await?;
    fill(&addresses, (0..kept).map(|number| format!("kept:{number}"))).await?;
    let before = sizes(&cluster).await?;

    let ran = cachectl(
        "cluster",
        &addresses[..1],
        &[b"invalidate", b"doomed:*", b"--json"],
    )
    .await?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = ran.json()?;
    assert_eq!(report["outcome"], "complete");
    assert_eq!(report["removed"], doomed);
    assert_eq!(report["total"]["matched"], doomed);

    let after = sizes(&cluster).await?;
    assert_eq!(after.iter().sum::<i64>(), kept);
    let primaries = report["primaries"].as_array().context("primaries")?;
    assert_eq!(primaries.len(), 3);
    for primary in primaries {
        let node = addresses
            .iter()
            .position(|address| primary["address"] == address.as_str());
        let node = node.with_context(|| format!("{primary} is none of ours"))?;
        assert_eq!(primary["keys_before"], before[node]);
        assert_eq!(primary["keys_after"], after[node]);
        assert_eq!(primary["removed"], before[node] - after[node]);
    }
    Ok(())
}

#[tokio::test]
async fn a_stopped_primary_is_partial_with_its_slots_and_exit_code_3() -> Result<()> {
    // So that the others go on serving while one is away.
    let node = ServerOptions::new(Version::Valkey8).line("cluster-require-full-coverage no");
    let cluster = Cluster::start(ClusterOptions::new(3, 0).node(node)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..3_000).map(|number| format!("k:{number}"))).await?;
    let before = sizes(&cluster).await?;
    cluster.kill(1)?;

    let ran = cachectl(
        "cluster",
        &addresses,
        &[b"invalidate", b"k:*", b"--json", b"--wait", b"2s"],
    )
    .await?;
    assert_eq!(ran.code, 3, "{ran:?}");
    let report = ran.json()?;
    assert_eq!(report["outcome"], "partial", "{report}");
    assert_eq!(report["removed"], before[0] + before[2]);
    let gaps = report["gaps"].as_array().context("gaps")?;
    let slots: Vec<_> = gaps
        .iter()
        .flat_map(|gap| gap["slots"].as_array().cloned().unwrap_or_default())
        .collect();
    assert_eq!(slots, [serde_json::json!([5461, 10921])], "{report}");

    let ran = cachectl("cluster", &addresses, &[b"invalidate", b"k:*", b"--wait", b"1s"]).await?;
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("not done: slots 5461-10921"), "{}", ran.err);
    Ok(())
}

#[tokio::test]
async fn a_hash_tag_is_asked_of_one_primary_only() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(
        &addresses,
        (0..500).map(|number| format!("app:{{acme}}:{number}")),
    )
    .await?;
    fill(
        &addresses,
        (0..500).map(|number| format!("app:{{other}}:{number}")),
    )
    .await?;
    let owner = cluster.primary_of(slot_of(b"acme")).await?;

    let ran = cachectl(
        "cluster",
        &addresses,
        &[b"invalidate", b"app:{acme}:*", b"--json"],
    )
    .await?;
    let report = ran.json()?;
    assert_eq!((ran.code, &report["removed"]), (0, &Value::from(500)), "{report}");
    assert_eq!(report["primaries"].as_array().map(Vec::len), Some(1));
    for (index, node) in cluster.nodes().iter().enumerate() {
        let scans = node
            .call(&["INFO", "commandstats"])
            .await?
            .text()
            .contains("cmdstat_scan:");
        assert_eq!(scans, index == owner, "node {index}");
    }
    Ok(())
}

#[tokio::test]
async fn with_a_key_prefix_only_what_is_below_it_is_seen_and_removed() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    let keys = ["shop:user:1", "shop:user:2", "shop:*", "user:1", "other:user:2"];
    fill(&addresses, keys.into_iter().map(str::to_owned)).await?;
    let prefix = [("CACHE_KEY_PREFIX", "shop:")];
    let ran = async |arguments: &[&[u8]]| cachectl_with("cluster", &addresses[..1], &prefix, arguments).await;

    let listed = ran(&[b"keys", b"*"]).await?;
    let mut names: Vec<_> = std::str::from_utf8(&listed.out)?.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["*", "user:1", "user:2"]);
    assert_eq!(ran(&[b"get", b"user:1"]).await?.out, b"value");
    let broad = ran(&[b"invalidate", b"*"]).await?;
    assert_eq!(broad.code, 5, "{}", broad.err);

    assert_eq!(ran(&[b"invalidate", b"user:*"]).await?.code, 0);
    assert_eq!(sizes(&cluster).await?.iter().sum::<i64>(), 3);
    let left = cachectl(
        "cluster",
        &addresses[..1],
        &[b"exists", b"user:1", b"other:user:2", b"shop:*"],
    );
    assert_eq!(left.await?.out, b"3 of 3\n");
    Ok(())
}

#[tokio::test]
async fn a_broad_pattern_without_yes_is_refused_and_removes_nothing() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..100).map(|number| format!("k:{number}"))).await?;
    let ran = cachectl("cluster", &addresses, &[b"invalidate", b"*"]).await?;
    assert_eq!(ran.code, 5, "{ran:?}");
    assert_eq!(sizes(&cluster).await?.iter().sum::<i64>(), 100);
    let ran = cachectl("cluster", &addresses, &[b"invalidate", b"*", b"--yes"]).await?;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(sizes(&cluster).await?.iter().sum::<i64>(), 0);
    Ok(())
}

#[tokio::test]
async fn slots_that_move_during_the_purge_are_not_missed() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..60_000).map(|number| format!("k:{number}"))).await?;
    let tags: Vec<String> = (0..12).map(|number| format!("mover{number}")).collect();
    for tag in &tags {
        fill(&addresses, (0..100).map(|number| format!("k:{{{tag}}}:{number}"))).await?;
    }

    let purge = cachectl("cluster", &addresses, &[b"invalidate", b"k:*", b"--json"]);
    let moving = async {
        for tag in &tags {
            let slot = slot_of(tag.as_bytes());
            let from = cluster.primary_of(slot).await?;
            cluster.move_slot(slot, from, (from + 1) % 3).await?;
        }
        Ok::<(), anyhow::Error>(())
    };
    let (ran, moved) = tokio::join!(purge, moving);
    moved?;
    let ran = ran?;
    let report = ran.json()?;
    assert_eq!(report["outcome"], "complete", "{report}");
    assert_eq!(sizes(&cluster).await?.iter().sum::<i64>(), 0, "{report}");
    Ok(())
}

#[tokio::test]
async fn a_slot_whose_handover_stands_still_is_purged_on_both_sides() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    let slot = slot_of(b"mover");
    fill(&addresses, (0..200).map(|number| format!("k:{{mover}}:{number}"))).await?;
    let from = cluster.primary_of(slot).await?;
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to).await?;
    cluster.migrate_keys(slot, from, to, 80).await?;
    ensure!(
        sizes(&cluster).await?.iter().filter(|size| **size > 0).count() == 2,
        "the keys are on both sides"
    );

    let ran = cachectl("cluster", &addresses, &[b"invalidate", b"k:{mover}:*", b"--json"]).await?;
    let report = ran.json()?;
    assert_eq!(report["outcome"], "complete", "{report}");
    assert_eq!(report["removed"], 200, "{report}");
    assert_eq!(sizes(&cluster).await?.iter().sum::<i64>(), 0);
    Ok(())
}

#[tokio::test]
async fn a_failover_during_the_purge_is_survived() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..60_000).map(|number| format!("k:{number}"))).await?;
    let replicas = cluster.replicas_of(0).await?;
    let purge = cachectl("cluster", &addresses, &[b"invalidate", b"k:*", b"--json"]);
    let (ran, failed_over) = tokio::join!(purge, cluster.failover(replicas[0]));
    failed_over?;
    let ran = ran?;
    let report = ran.json()?;
    assert_eq!(report["outcome"], "complete", "{report}");
    until(LIMIT, "all keys to be gone, replicas included", || async {
        Ok((sizes(&cluster).await?.iter().sum::<i64>() == 0).then_some(()))
    })
    .await
}

#[tokio::test]
async fn keys_that_are_no_text_are_listed_and_removed() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let key: &[u8] = b"raw:\xff\x00\n\x1b[31m";
    let value: &[u8] = b"\x00\xfe\r\n";
    server.call(&[b"SET", key, value]).await?;
    let at = [server.address()];

    let ran = cachectl("single", &at, &[b"keys", b"raw:*"]).await?;
    assert_eq!(ran.out, b"raw:\\xff\\x00\\x0a\\x1b[31m\n");
    let ran = cachectl("single", &at, &[b"keys", b"raw:*", b"--json"]).await?;
    assert!(
        ran.out.starts_with(br#"{"key_base64":"cmF3Ov8ACht"#),
        "{}",
        String::from_utf8_lossy(&ran.out)
    );
    let ran = cachectl("single", &at, &[b"invalidate", b"raw:\xff*", b"--json"]).await?;
    assert_eq!(ran.json()?["removed"], 1);
    assert_eq!(ran.json()?["pattern_base64"], "cmF3Ov8q");
    Ok(())
}

#[tokio::test]
async fn values_go_through_byte_by_byte_on_every_topology() -> Result<()> {
    for (kind, mode) in [
        (Kind::Single, "single"),
        (Kind::Cluster, "cluster"),
        (Kind::Redis7, "single"),
    ] {
        let servers = shared(kind).await?;
        let key = format!("cachectl:{}", std::process::id());
        let value: &[u8] = b"\xfe\r\n$-1\r\n";
        let at = &servers.addresses;
        let run = async |arguments: &[&[u8]]| cachectl(mode, at, arguments).await;
        assert_eq!(
            run(&[b"set", key.as_bytes(), value, b"--ttl", b"1m"]).await?.code,
            0
        );
        assert_eq!(run(&[b"get", key.as_bytes()]).await?.out, value);
        assert_eq!(run(&[b"ttl", key.as_bytes()]).await?.code, 0);
        assert_eq!(run(&[b"set", key.as_bytes(), b"x", b"--nx"]).await?.code, 1);
        assert_eq!(run(&[b"exists", key.as_bytes()]).await?.code, 0);
        assert_eq!(run(&[b"incr", key.as_bytes()]).await?.code, 7, "it is no integer");
        let listed = run(&[b"keys", format!("{key}*").as_bytes()]).await?;
        assert_eq!(listed.out, format!("{key}\n").as_bytes(), "{kind:?}");
        assert_eq!(run(&[b"del", key.as_bytes()]).await?.code, 0);
        assert_eq!(run(&[b"get", key.as_bytes()]).await?.code, 1);
        assert_eq!(run(&[b"topology"]).await?.code, 0);
        assert_eq!(run(&[b"ping"]).await?.code, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_sentinels_primary_is_purged() -> Result<()> {
    let servers = shared(Kind::Sentinel).await?;
    let name = servers.sentinel_primary.context("no name")?;
    let prefix = format!("cachectl-sentinel:{}", std::process::id());
    let run = async |arguments: &[&str]| -> Result<Ran> {
        let output = Command::new(tests::cachectl().await?)
            .args(arguments)
            .env_clear()
            .env("CACHE_MODE", "sentinel")
            .env("CACHE_ADDRS", servers.addresses.join(","))
            .env("CACHE_SENTINEL_MASTER", &name)
            .stdin(Stdio::null())
            .output()
            .await?;
        let code = output.status.code().context("ended by a signal")?;
        Ok(Ran {
            code,
            out: output.stdout,
            err: String::from_utf8(output.stderr)?,
        })
    };
    assert_eq!(run(&["set", &format!("{prefix}:1"), "v"]).await?.code, 0);
    let ran = run(&["invalidate", &format!("{prefix}:*"), "--json"]).await?;
    assert_eq!(
        (ran.code, &ran.json()?["removed"]),
        (0, &Value::from(1)),
        "{ran:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_the_server_refuses_is_5() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8).user("reader on >quiet ~* +@read +@connection -scan");
    let server = Server::start(options).await?;
    let run = async |user: &str, password: &str, arguments: &[&str]| -> Result<i32> {
        let output = Command::new(tests::cachectl().await?)
            .args(arguments)
            .env_clear()
            .envs([
                ("CACHE_ADDRS", server.address()),
                ("CACHE_USERNAME", user.to_owned()),
            ])
            .env("CACHE_PASSWORD", password)
            .stdin(Stdio::null())
            .output()
            .await?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(!text.contains(password), "the password was shown: {text}");
        output.status.code().context("ended by a signal")
    };
    assert_eq!(run("reader", "quiet", &["get", "k"]).await?, 1);
    assert_eq!(run("reader", "quiet", &["set", "k", "v"]).await?, 5);
    assert_eq!(run("reader", "quiet", &["invalidate", "k:*"]).await?, 5);
    assert_eq!(run("reader", "wrong-one", &["get", "k"]).await?, 5);
    Ok(())
}

#[tokio::test]
async fn top_is_a_table_once_and_a_line_of_json_for_each_look_elsewhere() -> Result<()> {
    let cluster = shared(Kind::Cluster).await?;
    let once = cachectl("cluster", &cluster.addresses, &[b"top", b"--once"]).await?;
    assert_eq!(once.code, 0, "{once:?}");
    let table = String::from_utf8(once.out)?;
    assert!(
        table.starts_with("3 primaries, ") && table.contains("HIT RATE"),
        "{table}"
    );
    // Nothing that moves a cursor reaches what is no terminal.
    assert!(!table.contains('\x1b'), "{table}");

    let lines = cachectl(
        "cluster",
        &cluster.addresses,
        &[b"top", b"--count", b"2", b"--interval", b"100ms"],
    )
    .await?;
    assert_eq!(lines.code, 0, "{lines:?}");
    let text = std::str::from_utf8(&lines.out)?;
    assert_eq!(text.lines().count(), 2);
    for line in text.lines() {
        let beat: Value = serde_json::from_str(line)?;
        assert_eq!(beat["primaries"].as_array().map(Vec::len), Some(3), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn the_doctor_s_exit_code_says_what_kind_of_thing_is_wrong() -> Result<()> {
    let sound = ServerOptions::new(Version::Valkey8)
        .line("maxmemory 100mb")
        .line("maxmemory-policy allkeys-lru");
    let server = Server::start(sound.password("secret")).await?;
    let addresses = [server.address()];
    let login = [("CACHE_PASSWORD", "secret")];
    let ran = async |login: &[(&str, &str)]| {
        cachectl_with("single", &addresses, login, &[b"doctor", b"--json"]).await
    };

    let well = ran(&login).await?;
    let report = well.json()?;
    let slow_only = report["findings"]
        .as_array()
        .context("findings")?
        .iter()
        .all(|finding| {
            finding["state"] != "fail" && (finding["state"] != "warn" || finding["check"] == "latency")
        });
    assert!(slow_only && (well.code == 0 || well.code == 3), "{well:?}");

    server.call(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    let warned = ran(&login).await?;
    assert_eq!(
        (warned.code, &warned.json()?["worst"]),
        (3, &Value::from("warn")),
        "{warned:?}"
    );
    let refused = ran(&[("CACHE_PASSWORD", "wrong")]).await?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(!refused.err.contains("wrong") && !String::from_utf8(refused.out)?.contains("wrong"));
    server.kill()?;
    assert_eq!(ran(&login).await?.code, 4);
    Ok(())
}
