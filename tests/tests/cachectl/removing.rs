//! Removals on real servers: what goes, what stays, and what is said of it.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use cache_core::slot::slot_of;
use serde_json::Value;
use tests::{Cluster, ClusterOptions, Kind, Server, ServerOptions, Version, shared, until};
use tokio::process::Command;

use super::{LIMIT, Ran, cachectl, cachectl_with, fill, sizes};

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
async fn keys_of_a_slot_that_a_node_no_longer_owns_are_orphans_and_hold_nothing_up() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(
        &addresses,
        (0..50).map(|number| format!("doomed:{{left}}:{number}")),
    )
    .await?;
    fill(&addresses, (0..3_000).map(|number| format!("doomed:{number}"))).await?;
    let slot = slot_of(b"left");
    let (from, name) = (cluster.primary_of(slot).await?, slot.to_string());
    let to = (from + 1) % 3;
    until(LIMIT, "all nodes to forget the owner", || async {
        let mut known = 0;
        for node in cluster.nodes() {
            // One that does not know an owner refuses.
            known += usize::from(node.call(&["CLUSTER", "DELSLOTS", &name]).await.is_ok());
        }
        Ok((known == 0).then_some(()))
    })
    .await?;
    cluster.node(to).call(&["CLUSTER", "ADDSLOTS", &name]).await?;
    until(LIMIT, "all nodes to know the new owner", || async {
        let mut known = 0;
        for node in cluster.nodes() {
            known += usize::from(
                node.call(&["CLUSTER", "INFO"])
                    .await?
                    .text()
                    .contains("slots_assigned:16384"),
            );
        }
        Ok((known == 3).then_some(()))
    })
    .await?;
    // Keys of the same slot where it is served now.
    fill(
        &addresses,
        (0..10).map(|number| format!("doomed:{{left}}:new:{number}")),
    )
    .await?;
    let before = sizes(&cluster).await?;

    let ran = cachectl("cluster", &addresses, &[b"invalidate", b"doomed:*", b"--json"]).await?;
    let report = ran.json()?;
    assert_eq!(
        (ran.code, &report["outcome"]),
        (0, &"complete".into()),
        "{report}"
    );
    assert_eq!(
        (&report["total"]["orphans"], &report["removed"]),
        (&50.into(), &3_010.into()),
        "{report}"
    );
    let mut left = vec![0; 3];
    left[from] = 50;
    assert_eq!(sizes(&cluster).await?, left, "{before:?} before: {report}");
    Ok(())
}

#[tokio::test]
async fn two_removals_of_the_same_keys_count_each_key_once_between_them() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..30_000).map(|number| format!("doomed:{number}"))).await?;
    fill(&addresses, (0..100).map(|number| format!("kept:{number}"))).await?;
    let one = cachectl("cluster", &addresses, &[b"invalidate", b"doomed:*", b"--json"]);
    let other = cachectl("cluster", &addresses, &[b"invalidate", b"doomed:*", b"--json"]);
    let (one, other) = tokio::try_join!(one, other)?;
    let mut removed = 0;
    for ran in [one, other] {
        let report = ran.json()?;
        assert_eq!(
            (ran.code, &report["outcome"]),
            (0, &"complete".into()),
            "{report}"
        );
        let total = |name: &str| report["total"][name].as_u64().unwrap_or_default();
        assert_eq!(total("matched"), total("removed") + total("gone"), "{report}");
        removed += total("removed");
    }
    assert_eq!(removed, 30_000);
    assert_eq!(sizes(&cluster).await?.iter().sum::<i64>(), 100);
    Ok(())
}

#[tokio::test]
async fn a_removal_that_cannot_be_audited_is_not_done() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    for number in 0..5 {
        server.call(&["SET", &format!("k:{number}"), "value"]).await?;
    }
    let at = [server.address()];
    let folder = tempfile::tempdir()?;
    let nowhere = folder.path().join("nowhere/audit.jsonl").display().to_string();
    let audit = [("CACHECTL_AUDIT", nowhere.as_str())];
    for arguments in [
        &[&b"del"[..], b"k:0"][..],
        &[b"invalidate", b"k:*"],
        &[b"generation", b"bump", b"k"],
    ] {
        let ran = cachectl_with("single", &at, &audit, arguments).await?;
        ensure!(ran.code == 7 && ran.err.contains("nothing was done"), "{ran:?}");
    }
    ensure!(server.call(&["DBSIZE"]).await?.integer() == Some(5));

    let file = folder.path().join("audit.jsonl");
    let there = file.display().to_string();
    let ran = cachectl_with(
        "single",
        &at,
        &[("CACHECTL_AUDIT", &there)],
        &[b"invalidate", b"k:*"],
    )
    .await?;
    ensure!(ran.code == 0, "{ran:?}");
    let text = std::fs::read_to_string(&file)?;
    let last: serde_json::Value = serde_json::from_str(text.lines().last().context("no line")?)?;
    ensure!(
        last["on"]["removed"] == 5 && last["result"] == "complete",
        "{text}"
    );
    ensure!(
        last["on"]["cache"]
            .as_str()
            .is_some_and(|cache| !cache.is_empty()),
        "{text}"
    );
    ensure!(!text.contains("\"value\""), "{text}");
    Ok(())
}

#[tokio::test]
async fn expect_removes_no_more_keys_than_it_says() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..100).map(|number| format!("k:{number}"))).await?;
    let ran = async |arguments: &[&[u8]]| cachectl("cluster", &addresses[..1], arguments).await;
    for pattern in [&b"k:*"[..], b"*"] {
        let refused = ran(&[b"invalidate", pattern, b"--expect", b"99"]).await?;
        ensure!(
            refused.code == 5 && refused.err.contains("100 keys match"),
            "{refused:?}"
        );
        ensure!(sizes(&cluster).await?.iter().sum::<i64>() == 100);
    }
    // It confirms a broad pattern, too.
    let removed = ran(&[b"invalidate", b"*", b"--expect", b"100", b"--json"]).await?;
    ensure!(
        removed.code == 0 && removed.json()?["removed"] == 100,
        "{removed:?}"
    );
    // Not without knowing all of them.
    fill(&addresses, (0..10).map(|number| format!("k:{number}"))).await?;
    cluster.kill(1)?;
    let refused = ran(&[b"invalidate", b"k:*", b"--expect", b"1000", b"--wait", b"500ms"]).await?;
    ensure!(
        refused.code == 5 && refused.err.contains("nothing was removed"),
        "{refused:?}"
    );
    Ok(())
}
