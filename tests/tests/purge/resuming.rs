//! A process that is killed in the middle of a removal, and another one that goes on.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_admin::{CheckpointFile, Options, Outcome};
use rand::Rng as _;
use tests::{Cluster, ClusterOptions, ServerOptions, Version, until};
use tokio::process::Command;

use super::{LIMIT, engine, fill, pattern, rounds, size};

/// What makes a process of this program the one that is killed: addresses, and the file.
const ADDRESSES: &str = "PURGE_CHILD_ADDRESSES";
const FILE: &str = "PURGE_CHILD_FILE";

/// Keys that may go without having been saved.
const UNSAVED: u64 = 1_000;

fn options(file: &Path) -> Options {
    Options::default()
        .with_page_size(100)
        .with_checkpoints(CheckpointFile::new(file))
        .with_save_every(Duration::from_millis(100), UNSAVED)
}

/// Not a test by itself: what [`a_killed_process_is_taken_up_and_the_report_adds_up`] starts and kills.
#[tokio::test]
async fn the_process_that_is_killed() -> Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "set by the test below; no setting of the cache"
    )]
    let (addresses, file) = (std::env::var(ADDRESSES), std::env::var(FILE));
    let (Ok(addresses), Ok(file)) = (addresses, file) else {
        return Ok(());
    };
    let addresses: Vec<String> = addresses.split(',').map(str::to_owned).collect();
    let (_client, engine) = engine(&addresses, true).await?;
    engine
        .invalidate(&pattern("doomed:*")?, &options(Path::new(&file)))
        .await;
    Ok(())
}

#[tokio::test]
async fn a_killed_process_is_taken_up_and_the_report_adds_up() -> Result<()> {
    for version in [Version::Valkey8, Version::Valkey9] {
        let cluster = Cluster::start(ClusterOptions::new(3, 0).node(ServerOptions::new(version))).await?;
        let (client, engine) = engine(&cluster.addresses(), true).await?;
        let (kept, folder) = (size() / 4, tempfile::tempdir()?);
        fill(&client, (0..kept).map(|number| format!("kept:{number}"))).await?;
        for round in 0..rounds() {
            fill(&client, (0..size()).map(|number| format!("doomed:{number}"))).await?;
            let path = folder.path().join(format!("{round}.json"));
            let removed = kill_half_way(&cluster, &path).await?;

            let checkpoint = CheckpointFile::new(&path)
                .load()
                .await?
                .context("nothing was saved")?;
            let saved = checkpoint.counts().removed;
            ensure!(
                saved <= removed && removed <= saved + 2 * UNSAVED,
                "{saved} of {removed}"
            );
            let report = engine.resume(&checkpoint, &options(&path)).await;
            ensure!(
                matches!(report.outcome, Outcome::Complete),
                "{version:?}: {report:?}"
            );
            ensure!(cluster.keys().await? == kept, "{version:?}: {report:?}");
            let counted = report.total().removed;
            ensure!(
                counted <= size() && counted + report.uncounted >= size(),
                "{counted} and up to {} of {}: {report:?}",
                report.uncounted,
                size()
            );
            ensure!(
                counted - saved >= size() - removed,
                "the second process removed the rest"
            );
            let gone: Option<u64> = report
                .primaries
                .iter()
                .map(|primary| primary.keys_before?.checked_sub(primary.keys_after?))
                .sum();
            ensure!(
                gone == Some(size()),
                "what the servers hold says the same: {report:?}"
            );
        }
    }
    Ok(())
}

/// Starts the process, kills it once it has removed some of the keys; how many.
async fn kill_half_way(cluster: &Cluster, path: &Path) -> Result<u64> {
    let full = cluster.keys().await?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "resuming::the_process_that_is_killed"])
        .env(ADDRESSES, cluster.addresses().join(","))
        .env(FILE, path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let goal = full - rand::rng().random_range(size() / 10..size() / 2);
    until(LIMIT, "the process to remove some keys", || async {
        Ok((cluster.keys().await? <= goal).then_some(()))
    })
    .await?;
    child.kill().await?;
    // What was on its way when it died is done once the servers hold as many keys twice in a row.
    let last = std::sync::atomic::AtomicU64::new(0);
    until(
        LIMIT,
        "the servers to have done all that they were sent",
        || async {
            let now = cluster.keys().await?;
            let before = last.swap(now, std::sync::atomic::Ordering::Relaxed);
            Ok((now == before).then_some(full - now))
        },
    )
    .await
}
