//! Jobs on real clusters: their process is killed, they are paused, their keys are claimed. Through a service and
//! back, by `cachectl`: [`remote`]; what a service looks into for it: [`looking`].

mod looking;
mod remote;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cache_admin::jobs::{
    Audit, AuditSync, Job, JobId, JobOptions, JobRequest, JobState, Jobs, JobsConfig, JobsError, Mode,
    StartError, Who,
};
use cache_admin::{Engine, ValkeyKeys};
use cache_core::config::{Topology, ValkeyConfig};
use cache_core::{CacheClient as _, Pattern, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions, ServerOptions, Version, until};
use tokio::process::Command;

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(60);

/// Keys to remove, and keys that have to stay.
const DOOMED: u64 = 20_000;
const KEPT: u64 = 5_000;

/// Keys that may go without having been saved.
const UNSAVED: u64 = 1_000;

/// What makes a process of this program the one that is killed: addresses, and the folder.
const ADDRESSES: &str = "JOBS_CHILD_ADDRESSES";
const FOLDER: &str = "JOBS_CHILD_FOLDER";

async fn engine(addresses: &[String]) -> Result<(ValkeyClient, Engine)> {
    let seeds = addresses
        .iter()
        .map(|address| address.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let client = ValkeyClient::connect(&ValkeyConfig::new(Topology::cluster(seeds))).await?;
    let engine = Engine::new(ValkeyKeys::new(&client));
    Ok((client, engine))
}

async fn fill(client: &ValkeyClient, prefix: &str, keys: u64) -> Result<()> {
    let keys: Vec<String> = (0..keys).map(|number| format!("{prefix}{number}")).collect();
    for batch in keys.chunks(1_000) {
        let entries: Vec<_> = batch.iter().map(|key| (key.as_str(), "x".into())).collect();
        client.set_many(&entries, Ttl::Forever).await?;
    }
    Ok(())
}

fn stored(folder: &Path) -> JobsConfig {
    JobsConfig::default()
        .with_store(folder.join("jobs.redb"))
        .with_save_every(Duration::from_millis(100), UNSAVED)
}

/// So slow that there is a middle.
fn removal(pattern: &str) -> Result<JobRequest> {
    let options = JobOptions {
        page_size: 100,
        rate: Some(20_000),
        ..JobOptions::default()
    };
    Ok(JobRequest::new(Pattern::new(pattern)?, Mode::Execute, Who::new("jo")).with_options(options))
}

async fn opened(folder: &Path, engine: &Engine) -> Result<(Jobs, std::path::PathBuf)> {
    let log = folder.join("audit.jsonl");
    let audit = Audit::open(&log, AuditSync::Each).await?;
    let jobs = Jobs::open(engine.clone(), stored(folder).with_audit(audit)).await?;
    Ok((jobs, log))
}

async fn ended(jobs: &Jobs, id: JobId) -> Result<Job> {
    let job = tokio::time::timeout(LIMIT, jobs.wait(id)).await;
    job.context("the job does not end")?.context("the job is gone")
}

async fn cluster(version: Version) -> Result<Cluster> {
    Cluster::start(ClusterOptions::new(3, 0).node(ServerOptions::new(version))).await
}

/// Not a test by itself: what [`a_job_whose_process_is_killed_goes_on_and_adds_up`] starts and kills.
#[tokio::test]
async fn the_process_that_is_killed() -> Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "set by the test below; no setting of the cache"
    )]
    let (addresses, folder) = (std::env::var(ADDRESSES), std::env::var(FOLDER));
    let (Ok(addresses), Ok(folder)) = (addresses, folder) else {
        return Ok(());
    };
    let addresses: Vec<String> = addresses.split(',').map(str::to_owned).collect();
    let (_client, engine) = engine(&addresses).await?;
    let (jobs, _) = opened(Path::new(&folder), &engine).await?;
    let job = jobs
        .start(removal("doomed:*")?.with_idempotency_key("once"))
        .await?;
    jobs.wait(job.id).await;
    Ok(())
}

#[tokio::test]
async fn a_job_whose_process_is_killed_goes_on_and_adds_up() -> Result<()> {
    for version in [Version::Valkey8, Version::Valkey9] {
        let cluster = cluster(version).await?;
        let (client, engine) = engine(&cluster.addresses()).await?;
        let folder = tempfile::tempdir()?;
        fill(&client, "kept:", KEPT).await?;
        fill(&client, "doomed:", DOOMED).await?;
        let (removed, locked) = kill_half_way(&cluster, folder.path(), &engine).await?;
        ensure!(
            matches!(locked, JobsError::Locked { .. }),
            "while it lived the store was its own: {locked:?}"
        );

        let (jobs, log) = opened(folder.path(), &engine).await?;
        let [job] = &*jobs.list(&[], None, 10) else {
            bail!("{version:?}: not one job: {jobs:?}");
        };
        ensure!(job.state == JobState::Interrupted, "{job:?}");
        let saved = job.progress.removed;
        ensure!(
            saved <= removed && removed <= saved + job.uncounted,
            "{version:?}: {removed} are gone: {job:?}"
        );
        let same = jobs
            .start(removal("doomed:*")?.with_idempotency_key("once"))
            .await?;
        ensure!(same.id == job.id, "the same request is another job");
        jobs.resume(job.id, &Who::new("ann")).await?;
        let taken = jobs.start(removal("doomed:1*")?).await;
        ensure!(
            matches!(taken, Err(StartError::Overlaps { job: other, .. }) if other == job.id),
            "{taken:?}"
        );
        let job = ended(&jobs, job.id).await?;
        ensure!(job.state == JobState::Complete, "{version:?}: {job:?}");
        ensure!(cluster.keys().await? == KEPT, "{version:?}: {job:?}");
        let counted = job.progress.removed;
        ensure!(
            counted <= DOOMED && counted + job.uncounted >= DOOMED,
            "{version:?}: {counted} of {DOOMED}: {job:?}"
        );
        ensure!(
            counted - saved >= DOOMED - removed,
            "the second process removed the rest: {job:?}"
        );
        ensure!(job.progress.slots_covered == 16_384, "{job:?}");
        let lines = std::fs::read_to_string(log)?;
        for action in ["job.start", "job.resume", "job.finish"] {
            ensure!(lines.contains(action), "{action} is not in {lines}");
        }
        jobs.close().await;
    }
    Ok(())
}

/// Starts the process, kills it once it has removed a fifth of the keys; how many it had removed in the end, and
/// what came of opening its store meanwhile.
async fn kill_half_way(cluster: &Cluster, folder: &Path, engine: &Engine) -> Result<(u64, JobsError)> {
    let full = cluster.keys().await?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "the_process_that_is_killed"])
        .env(ADDRESSES, cluster.addresses().join(","))
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    until(LIMIT, "the process to remove some keys", || async {
        Ok((cluster.keys().await? <= full - DOOMED / 5).then_some(()))
    })
    .await?;
    let second = Jobs::open(engine.clone(), stored(folder)).await;
    child.kill().await?;
    let locked = second.map(|_| ()).err().context("two had the store open")?;
    // What was on its way when it died is done once the servers hold as many keys twice in a row.
    let last = std::sync::atomic::AtomicU64::new(0);
    let removed = until(
        LIMIT,
        "the servers to have done all that they were sent",
        || async {
            let now = cluster.keys().await?;
            let before = last.swap(now, std::sync::atomic::Ordering::Relaxed);
            Ok((now == before).then_some(full - now))
        },
    )
    .await?;
    ensure!(removed < DOOMED, "it was over before");
    Ok((removed, locked))
}

#[tokio::test]
async fn a_paused_job_leaves_the_servers_alone_and_its_listener_misses_nothing() -> Result<()> {
    let cluster = cluster(Version::Valkey8).await?;
    let (client, engine) = engine(&cluster.addresses()).await?;
    fill(&client, "kept:", KEPT).await?;
    fill(&client, "doomed:", DOOMED).await?;
    let jobs = Arc::new(Jobs::open(engine, JobsConfig::default()).await?);
    let id = jobs.start(removal("doomed:*")?).await?.id;
    let mut events = jobs.events(id, 0).context("events")?;
    let mut numbers = Vec::new();
    until(LIMIT, "some keys to be gone", || async {
        Ok((cluster.keys().await? < KEPT + DOOMED - 1_000).then_some(()))
    })
    .await?;
    numbers.push(events.next().await.context("an event")?.sequence);
    drop(events);
    jobs.pause(id, &Who::new("ann")).await?;
    // The calls that are under way come to their end; then nothing happens, for longer than a page takes.
    let last = std::sync::atomic::AtomicU64::new(0);
    let rested = until(LIMIT, "the servers to be left alone", || async {
        let now = cluster.keys().await?;
        let before = last.swap(now, std::sync::atomic::Ordering::Relaxed);
        Ok((now == before).then_some(now))
    })
    .await?;
    ensure!(rested > KEPT, "it was over before");
    let scans = scans(&cluster).await?;
    let quiet = tokio::time::timeout(Duration::from_secs(1), jobs.wait(id)).await;
    ensure!(quiet.is_err(), "a paused job ended: {quiet:?}");
    ensure!(
        cluster.keys().await? == rested && self::scans(&cluster).await? == scans,
        "a paused job works"
    );
    jobs.resume(id, &Who::new("ann")).await?;
    let mut events = jobs.events(id, numbers[0]).context("events")?;
    let rest = async {
        while let Some(event) = events.next().await {
            numbers.push(event.sequence);
        }
    };
    tokio::time::timeout(LIMIT, rest)
        .await
        .context("events do not end")?;
    let all: Vec<u64> = (1..=u64::try_from(numbers.len())?).collect();
    ensure!(numbers == all, "{numbers:?}");
    let job = ended(&jobs, id).await?;
    ensure!(
        job.state == JobState::Complete && job.progress.removed == DOOMED,
        "{job:?}"
    );
    ensure!(cluster.keys().await? == KEPT);
    Ok(())
}

/// How often the servers were asked to scan.
async fn scans(cluster: &Cluster) -> Result<String> {
    let mut calls = String::new();
    for node in cluster.nodes() {
        let reply = node.call(&["INFO", "commandstats"]).await?;
        let text = reply.text();
        let line = text.lines().find(|line| line.starts_with("cmdstat_scan:"));
        let line = line.and_then(|line| line.split(',').next());
        calls.push_str(line.unwrap_or_default());
        calls.push(' ');
    }
    Ok(calls)
}
