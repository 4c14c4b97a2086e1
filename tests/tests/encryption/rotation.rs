//! A keyset that rotates under load: four processes on real servers, which read and write all the time and refresh at
//! different times. Scenario 81.
//!
//! The schedule is compressed: what the docs give a refresh of 15 minutes is here the time until every process has
//! refreshed, and the hour that values live is the time until every process has written all of its keys again.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_core::keyset::{Expected, KeysetStore as _};
use cache_layers::keyset::{FileKeysetStore, KeysetEditor, KeysetForm};
use tests::rotation::{Order, Report, Setup};
use tests::{Kind, shared};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const WORKERS: usize = 4;
const LIMIT: Duration = Duration::from_secs(60);

/// A process. Dropped, it is killed.
struct Worker {
    _process: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts one, and waits until it has written its keys.
    async fn start(setup: &Setup) -> Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_rotation-worker"))
            .arg(serde_json::to_string(setup)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = process.stdin.take().context("no input")?;
        let reports = BufReader::new(process.stdout.take().context("no output")?).lines();
        let mut worker = Self {
            _process: process,
            orders,
            reports,
        };
        worker.report().await?;
        Ok(worker)
    }

    async fn order(&mut self, order: Order) -> Result<Report> {
        let line = serde_json::to_string(&order)? + "\n";
        self.orders.write_all(line.as_bytes()).await?;
        self.report().await
    }

    async fn report(&mut self) -> Result<Report> {
        let line = tokio::time::timeout(LIMIT, self.reports.next_line()).await;
        let line = line.context("no report in time")??.context("the process ended")?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// A keyset in a file, and the processes that use it.
struct Fleet {
    store: FileKeysetStore,
    editor: KeysetEditor,
    workers: Vec<Worker>,
    _folder: tempfile::TempDir,
}

/// What the processes do about keys that they do not know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UnknownKeys {
    /// Nothing, so that only the schedule can be why nothing is missed.
    AreMisses,
    /// What they do by default, in shorter times.
    AreLearned,
}

impl Fleet {
    async fn start(kind: Kind, bridge: bool, unknown_keys: UnknownKeys) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = FileKeysetStore::new(folder.path().join("keyset.json"));
        let editor = KeysetEditor::create()?;
        let clear = editor.write(KeysetForm::Json, None).await?;
        store.write(&clear, &BTreeMap::new(), Expected::Absent).await?;
        let addresses = shared(kind).await?.addresses;
        let (least_gap, unknown_key_wait) = match unknown_keys {
            UnknownKeys::AreMisses => (60_000, 0),
            UnknownKeys::AreLearned => (100, 250),
        };
        let setup = Setup {
            worker: 0,
            workers: WORKERS,
            address: addresses.into_iter().next().context("no server")?,
            cluster: kind == Kind::Cluster,
            keyset: store.location(),
            bridge,
            prefix: format!("rotation:{:x}", rand::random::<u64>()),
            refresh_every: 500,
            least_gap,
            unknown_key_wait,
        };
        let starts = (0..WORKERS).map(|worker| {
            let setup = Setup {
                worker,
                ..setup.clone()
            };
            async move { Worker::start(&setup).await }
        });
        let workers = futures::future::try_join_all(starts).await?;
        let mut fleet = Self {
            store,
            editor,
            workers,
            _folder: folder,
        };
        // All have written by now, so no read is of a key that was never there.
        fleet.order(Order::Begin).await?;
        Ok(fleet)
    }

    async fn order(&mut self, order: Order) -> Result<Vec<Report>> {
        futures::future::try_join_all(self.workers.iter_mut().map(|worker| worker.order(order))).await
    }

    /// Stores the keyset as the editor has it now.
    async fn publish(&self) -> Result<()> {
        let version = self.store.read().await?.version;
        let clear = self.editor.write(KeysetForm::Json, None).await?;
        self.store
            .write(&clear, &BTreeMap::new(), Expected::Version(&version))
            .await?;
        Ok(())
    }

    /// Waits until every process says so; the reports.
    async fn until(&mut self, what: &str, holds: impl Fn(usize, &Report) -> bool) -> Result<Vec<Report>> {
        let wait = async {
            loop {
                let reports = self.order(Order::Tell).await?;
                if reports
                    .iter()
                    .enumerate()
                    .all(|(worker, report)| holds(worker, report))
                {
                    return Ok::<_, anyhow::Error>(reports);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .with_context(|| what.to_owned())?
    }

    /// Waits until every process uses the keyset as it is now, which is what 15 minutes are for.
    async fn until_refreshed(&mut self) -> Result<Vec<Report>> {
        let keyset = self.editor.keyset()?;
        let (primary, mut ids) = (keyset.primary_key_id(), keyset.key_ids().collect::<Vec<_>>());
        ids.sort_unstable();
        let is_refreshed = move |_: usize, report: &Report| {
            let mut known = report.key_ids.clone();
            known.sort_unstable();
            report.primary == primary && known == ids
        };
        self.until("every process refreshes", is_refreshed).await
    }

    /// Waits until every process has written all of its keys after now, which is what the life of values is for.
    async fn until_written_again(&mut self) -> Result<()> {
        let before: Vec<u64> = self
            .order(Order::Tell)
            .await?
            .iter()
            .map(|report| report.rounds)
            .collect();
        // The round that is under way began before.
        let written = move |worker: usize, report: &Report| report.rounds >= before[worker] + 2;
        self.until("every process writes its keys again", written).await?;
        Ok(())
    }

    async fn stop(mut self) -> Result<Vec<Report>> {
        self.order(Order::Stop).await?;
        // Only now: a process that stops first still sees the others add.
        self.order(Order::Tell).await
    }
}

/// What holds whatever the order of the steps: no failed call, no wrong value, no lost update, nothing removed.
fn check(reports: &[Report]) -> Result<()> {
    let added: u64 = reports.iter().map(|report| report.added).sum();
    for report in reports {
        ensure!(report.failures == 0, "a call failed: {report:?}");
        ensure!(report.failed_refreshes == 0, "a refresh failed: {report:?}");
        ensure!(report.wrong == 0, "a value of another key: {report:?}");
        ensure!(report.removed == 0, "an entry was removed: {report:?}");
        ensure!(
            report.other_unreadable == 0,
            "an entry was taken for a bad one: {report:?}"
        );
        ensure!(report.sum == Some(added), "{added} were added: {report:?}");
        ensure!(
            report.reads > 0 && report.added > 0,
            "it did not work: {report:?}"
        );
    }
    Ok(())
}

/// All steps of the schedule, in order and with the waits between them.
async fn rotate_in_order(kind: Kind, bridge: bool) -> Result<()> {
    let mut fleet = Fleet::start(kind, bridge, UnknownKeys::AreMisses).await?;
    for _ in 0..2 {
        let old = fleet.editor.info().primary_key_id;
        let new = fleet.editor.add()?;
        fleet.publish().await?;
        fleet.until_refreshed().await?;
        fleet.editor.promote(new)?;
        fleet.publish().await?;
        fleet.until_refreshed().await?;
        fleet.until_written_again().await?;
        fleet.editor.disable(old)?;
        fleet.publish().await?;
        fleet.until_refreshed().await?;
        fleet.editor.delete(old)?;
        fleet.publish().await?;
        fleet.until_refreshed().await?;
        fleet.until_written_again().await?;
    }
    let reports = fleet.stop().await?;
    check(&reports)?;
    for report in &reports {
        ensure!(
            report.misses == 0 && report.unknown_key == 0,
            "a read failed: {report:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn rotation_under_load_fails_no_read_and_loses_no_entry() -> Result<()> {
    rotate_in_order(Kind::Single, false).await
}

#[tokio::test]
async fn rotation_under_load_in_the_form_of_chinmina_bridge_on_a_cluster() -> Result<()> {
    rotate_in_order(Kind::Cluster, true).await
}

/// Steps that come too early: a key that is promoted when it is added, and the old one disabled at once.
async fn rotate_too_early(unknown_keys: UnknownKeys) -> Result<Vec<Report>> {
    let mut fleet = Fleet::start(Kind::Single, false, unknown_keys).await?;
    for _ in 0..3 {
        let old = fleet.editor.info().primary_key_id;
        let new = fleet.editor.add()?;
        fleet.editor.promote(new)?;
        fleet.publish().await?;
        // As soon as the first process seals with it.
        let workers = fleet.workers.len();
        let first = move |worker: usize, report: &Report| worker + 1 < workers || report.primary == new;
        fleet.until("a process refreshes", first).await?;
        fleet.editor.disable(old)?;
        fleet.publish().await?;
        fleet.until_refreshed().await?;
        // Back to where nothing is lost, or the number that all add to could not be read again.
        fleet.editor.enable(old)?;
        fleet.publish().await?;
        fleet.until_refreshed().await?;
        fleet.until_written_again().await?;
    }
    let reports = fleet.stop().await?;
    check(&reports)?;
    Ok(reports)
}

#[tokio::test]
async fn steps_out_of_order_are_misses_only() -> Result<()> {
    let reports = rotate_too_early(UnknownKeys::AreMisses).await?;
    let misses: u64 = reports.iter().map(|report| report.misses).sum();
    ensure!(misses > 0, "the steps were not out of order: {reports:?}");
    Ok(())
}

/// Keys that are unknown are learned from the entries that name them, so that only disabling is noticed.
#[tokio::test]
async fn steps_out_of_order_are_got_over_by_refreshing() -> Result<()> {
    rotate_too_early(UnknownKeys::AreLearned).await.map(drop)
}
