//! Processes of a fleet, and how they are steered, stopped and killed.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tests::fleet::{Order, Origin, Report, Setup, ledger_key};
use tests::{Connection, Kind, shared};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a test waits for what must come: generous, because only its absence is a failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A key that no other test has.
pub(crate) fn key() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // With a hash tag, so that tests know the name of its lease.
    format!("fleet:{{{:x}:{number}}}", rand::random::<u64>())
}

/// What processes on that cache start from: a lease of 2 s, no hold after a failure, nothing stale.
pub(crate) async fn setup(addresses: Vec<String>, cluster: bool) -> Result<Setup> {
    Ok(Setup {
        worker: 0,
        addresses,
        cluster,
        table: None,
        ledger: ledger().await?,
        lease: 2_000,
        failure_hold: 0,
        cache_deadline: 2_000,
        life: 60_000,
        stale_limit: 0,
    })
}

/// As [`setup`], on one of the caches that all tests share.
pub(crate) async fn on(kind: Kind) -> Result<Setup> {
    let mut addresses = shared(kind).await?.addresses;
    addresses.truncate(1);
    setup(addresses, kind == Kind::Cluster).await
}

async fn ledger() -> Result<String> {
    let addresses = shared(Kind::Valkey9).await?.addresses;
    addresses.into_iter().next().context("no server")
}

/// How often `key` was loaded, by all processes together.
pub(crate) async fn loads(key: &str) -> Result<u32> {
    let mut ledger = Connection::open(&ledger().await?).await?;
    let count = ledger.call(&["GET", &ledger_key(key)]).await?.text();
    Ok(if count.is_empty() { 0 } else { count.parse()? })
}

/// That `tasks` ask at once, and that a load takes so many milliseconds.
pub(crate) fn ask(key: &str, tasks: usize, load: u64) -> Order {
    Order {
        key: key.to_owned(),
        tasks,
        load,
        fails: false,
        bare: false,
    }
}

/// The one value that the tasks of one or more processes got, and whose it is.
pub(crate) fn only_value<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Result<Origin> {
    let mut seen: Option<&str> = None;
    for report in reports {
        anyhow::ensure!(report.errors.is_empty(), "errors: {:?}", report.errors);
        for value in report.values.keys() {
            anyhow::ensure!(seen.is_none_or(|seen| seen == value), "two values: {report:?}");
            seen = Some(value);
        }
    }
    Ok(serde_json::from_str(seen.context("no value")?)?)
}

/// A process. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Worker {
    process: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts one, and waits until it has connected.
    pub(crate) async fn start(setup: &Setup) -> Result<Self> {
        let endpoint = setup.table.as_ref().and(setup.addresses.first());
        let aws = endpoint.map(|url| tests::aws_variables(url));
        let mut process = Command::new(env!("CARGO_BIN_EXE_fleet-worker"))
            .envs(aws.into_iter().flatten())
            .arg(serde_json::to_string(setup)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = process.stdin.take().context("no input")?;
        let reports = BufReader::new(process.stdout.take().context("no output")?).lines();
        let mut worker = Self {
            process,
            orders,
            reports,
        };
        worker.report().await?;
        Ok(worker)
    }

    /// Starts as many as it takes, numbered from 0.
    pub(crate) async fn fleet<const N: usize>(setup: &Setup) -> Result<[Self; N]> {
        let starts = (0..N).map(|worker| {
            let setup = Setup {
                worker,
                ..setup.clone()
            };
            async move { Self::start(&setup).await }
        });
        let workers = futures::future::try_join_all(starts).await?;
        workers.try_into().ok().context("not as many as asked for")
    }

    /// Gives an order, and does not wait for the report.
    pub(crate) async fn order(&mut self, order: &Order) -> Result<()> {
        let line = serde_json::to_string(order)? + "\n";
        self.orders.write_all(line.as_bytes()).await?;
        Ok(())
    }

    /// What came of the order.
    pub(crate) async fn report(&mut self) -> Result<Report> {
        let line = tokio::time::timeout(LIMIT, self.reports.next_line()).await;
        let line = line.context("no report in time")??.context("the process ended")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Gives an order, and waits for the report.
    pub(crate) async fn ask(&mut self, order: &Order) -> Result<Report> {
        self.order(order).await?;
        self.report().await
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    /// SIGSTOP: it stands still, and its connections stay open.
    pub(crate) fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.process.id().context("it has ended")?;
        let id = Pid::from_raw(id.try_into()?).context("no process")?;
        Ok(kill_process(id, signal)?)
    }
}

/// Gives all the same order at once; their reports.
pub(crate) async fn ask_all(workers: &mut [Worker], order: &Order) -> Result<Vec<Report>> {
    for worker in &mut *workers {
        worker.order(order).await?;
    }
    let reports = workers.iter_mut().map(Worker::report);
    futures::future::try_join_all(reports).await
}

/// Waits until a process has begun to load `key`.
pub(crate) async fn until_loading(key: &str) -> Result<()> {
    tests::until(LIMIT, "a load to begin", || async {
        Ok((loads(key).await? > 0).then_some(()))
    })
    .await
}
