//! What a removal costs this process in memory, and a hash tag in time.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_admin::{Options, Outcome, Pace};
use tests::{Server, ServerOptions, Version};

use super::{engine, pattern, size};

/// Memory grows by pages, not by keys: 25 times `PURGE_KEYS` of them, ten million at most.
#[tokio::test]
async fn memory_does_not_grow_with_the_keys() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8).line("enable-debug-command yes")).await?;
    let keys = (25 * size()).min(10_000_000);
    server
        .call(&["DEBUG", "POPULATE", &keys.to_string(), "doomed", "1"])
        .await?;
    let (_client, engine) = engine(&[server.address()], false).await?;
    // Once without removing anything, so that connections and buffers are there.
    let full_speed = Options::default().with_pace(Pace::Full);
    engine.count(&pattern("none:*")?, 0, &full_speed).await;
    let before = resident()?;
    let report = engine.invalidate(&pattern("doomed:*")?, &full_speed).await;
    let grown = resident()?.saturating_sub(before);
    ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
    ensure!(report.total().removed == keys);
    ensure!(grown <= 32 * 1024, "{grown} KiB more after {keys} keys");
    Ok(())
}

/// The most memory that this process has had, in KiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The servers are asked for the slot alone, whatever else they hold.
#[tokio::test]
async fn a_hash_tag_is_found_without_a_walk_over_the_others() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey8);
    let cluster = tests::Cluster::start(tests::ClusterOptions::new(3, 0).node(node)).await?;
    let (client, engine) = engine(&cluster.addresses(), true).await?;
    super::fill(&client, (0..size()).map(|number| format!("app:{number}"))).await?;
    super::fill(&client, (0..50).map(|number| format!("app:{{acme}}:{number}"))).await?;
    let pattern = pattern("app:{acme}:*")?;
    // Connections are made at the first time.
    engine.count(&pattern, 0, &Options::default()).await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let report = engine
            .invalidate(&pattern, &Options::default().with_pace(Pace::Full))
            .await;
        ensure!(matches!(report.outcome, Outcome::Complete), "{report:?}");
        ensure!(
            report.total().removed == 50 && report.total().pages == 2,
            "{report:?}"
        );
        fastest = fastest.min(report.elapsed);
        super::fill(&client, (0..50).map(|number| format!("app:{{acme}}:{number}"))).await?;
    }
    println(&format!(
        "a hash tag's 50 keys among {}: {fastest:?}",
        size() + 50
    ));
    Ok(())
}

/// Prints a measurement, to be read by whoever runs this with `--no-capture`.
#[expect(clippy::print_stdout, reason = "a measurement")]
pub(super) fn println(line: &str) {
    println!("{line}");
}
