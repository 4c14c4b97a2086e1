//! `cachectl` where nobody looks: lines for scripts, and readers that have had enough.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::{Cluster, ClusterOptions};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use super::{LIMIT, cachectl, fill};

/// Reads one line and no more, as `head -1` does: the line, the exit code, and what was said.
async fn first_line(cluster: &Cluster, arguments: &[&str]) -> Result<(String, Option<i32>, String)> {
    let mut child = Command::new(tests::cachectl().await?)
        .args(arguments)
        .env_clear()
        .env("CACHE_MODE", "cluster")
        .env("CACHE_ADDRS", cluster.addresses().join(","))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut out = BufReader::new(child.stdout.take().context("no output")?);
    let mut line = String::new();
    out.read_line(&mut line).await?;
    drop(out);
    let mut said = String::new();
    let mut err = child.stderr.take().context("no errors")?;
    let ended = tokio::time::timeout(LIMIT, async {
        err.read_to_string(&mut said).await?;
        child.wait().await
    });
    let status = ended.await.context("it goes on without a reader")??;
    Ok((line, status.code(), said))
}

#[tokio::test]
async fn a_reader_that_has_had_enough_ends_it_quietly() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    fill(
        &cluster.addresses(),
        (0..20_000).map(|number| format!("key:{number}")),
    )
    .await?;
    for arguments in [
        &["keys", "*", "--all"][..],
        &["keys", "*", "--all", "--json"],
        &["top", "--interval", "100ms"],
    ] {
        let (line, code, said) = first_line(&cluster, arguments).await?;
        assert!(line.contains("key"), "{arguments:?}: {line}");
        assert_eq!((code, said.as_str()), (Some(0), ""), "{arguments:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_removal_tells_scripts_how_far_it_is_a_line_for_each_second_and_the_report_last() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..9_000).map(|number| format!("doomed:{number}"))).await?;
    // Over two seconds, and not a whole number of them: a line that is told at the end would say that all is removed.
    let slowly = [
        &b"invalidate"[..],
        b"doomed:*",
        b"--json",
        b"--no-verify",
        b"--rate",
        b"4000",
    ];
    let ran = cachectl("cluster", &addresses, &slowly).await?;
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = String::from_utf8(ran.out.clone())?;
    let lines = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()?;
    let (report, told) = lines.split_last().context("no lines")?;
    assert_eq!(
        (&report["outcome"], &report["removed"]),
        (&"complete".into(), &9_000.into())
    );
    assert!(!told.is_empty(), "{text}");
    let mut before = 0;
    for line in told {
        let primaries = line["progress"]["primaries"].as_array().context("primaries")?;
        assert_eq!(primaries.len(), 3, "{line}");
        let removed: u64 = primaries
            .iter()
            .filter_map(|primary| primary["removed"].as_u64())
            .sum();
        assert!(removed >= before && removed < 9_000, "{text}");
        before = removed;
    }
    assert!(before > 0 && ran.err.is_empty(), "{ran:?}");
    Ok(())
}
