//! `cachectl` against real servers: what an operator sees on a cluster that is well and on one that is not.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::slot::slot_of;
use cache_core::{CacheClient as _, Ttl};
use cache_valkey::ValkeyClient;
use serde_json::Value;
use tests::{Cluster, ClusterOptions, Kind, Server, ServerOptions, Version, shared, until};
use tokio::process::Command;
use tokio::sync::OnceCell;

const LIMIT: Duration = Duration::from_secs(20);

/// What the program is built from.
const SOURCES: [&str; 4] = [
    "cache-admin/src",
    "cache-core/src",
    "cache-stack/src",
    "cache-valkey/src",
];

/// The program. A run of the whole workspace has built it; a run of these tests alone builds it here.
async fn program() -> Result<PathBuf> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_try_init(find_or_build).await.cloned()
}

async fn find_or_build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no root of the workspace")?;
    // The test stands in <target>/<profile>/deps.
    let own = std::env::current_exe()?;
    let profile = own.ancestors().nth(2).context("no folder of the profile")?;
    let program = profile.join("cachectl");
    let built = program.metadata().and_then(|program| program.modified()).ok();
    let mut changed = Vec::new();
    for folder in SOURCES {
        changed.push(newest(&root.join(folder))?);
    }
    if built.is_some() && built > changed.into_iter().max() {
        return Ok(program);
    }
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "-p",
            "cache-admin",
            "--bin",
            "cachectl",
            "--profile",
            name,
            "--target-dir",
        ])
        .arg(profile.parent().context("no target folder")?)
        .current_dir(root)
        .status()
        .await?;
    ensure!(built.success(), "cachectl does not build");
    Ok(program)
}

/// When a file under `folder` was changed last.
fn newest(folder: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in folder.read_dir()? {
        let entry = entry?;
        let time = if entry.file_type()?.is_dir() {
            self::newest(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        };
        newest = newest.max(time);
    }
    Ok(newest)
}

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
    use std::os::unix::ffi::OsStrExt as _;
    let output = Command::new(program().await?)
        .args(
            arguments
                .iter()
                .map(|argument| std::ffi::OsStr::from_bytes(argument)),
        )
        .env_clear()
        .env("CACHE_MODE", mode)
        .env("CACHE_ADDRS", addresses.join(","))
        .env("CACHE_DIAL_TIMEOUT", "1s")
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
        let output = Command::new(program().await?)
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
        let output = Command::new(program().await?)
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
