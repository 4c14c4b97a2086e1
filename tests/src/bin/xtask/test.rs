//! `cargo xtask test`: all tests, with the servers that they share started once.

use std::collections::HashMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tests::shared::{Kind, Running};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a runner may take to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);

/// The exit code after Ctrl-C, as shells count it.
const STOPPED: u8 = 130;

/// Runs the doc tests, then everything else; or only what `chosen` (arguments of nextest) selects.
pub(crate) async fn run(chosen: &[&str]) -> Result<ExitCode> {
    say("starting the servers that the tests share");
    let servers = start_all().await?;
    let shared: HashMap<Kind, _> = servers
        .iter()
        .map(|(kind, running)| (*kind, running.shared()))
        .collect();
    let shared = serde_json::to_string(&shared)?;
    let folder = tempfile::tempdir()?;
    let skips = folder.path().join("skips");

    let cargo = |arguments: &[&str]| {
        #[expect(clippy::disallowed_methods, reason = "cargo tells its children where it is")]
        let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env(tests::shared::VARIABLE, &shared)
            .env(tests::skip::VARIABLE, &skips);
        command
    };
    let mut passed = true;
    if chosen.is_empty() {
        // First, so that what is printed last is the summary of the run that holds nearly all tests.
        let doc_tests = cargo(&["test", "--workspace", "--all-features", "--doc", "--quiet"]);
        match finish(doc_tests, GRACE).await? {
            Ended::Stopped => return Ok(ExitCode::from(STOPPED)),
            ended => passed &= ended == Ended::Passed,
        }
    }
    let nextest = cargo(&["nextest", "--version"]).output().await?.status.success();
    let mut command = if nextest {
        cargo(&["nextest", "run"])
    } else {
        say("cargo-nextest is not here, so cargo test runs the tests (cargo install cargo-nextest --locked)");
        cargo(&["test", "--no-fail-fast", "--tests"])
    };
    if chosen.is_empty() {
        command.args(["--workspace", "--all-features"]);
    }
    command.args(chosen);
    let doc_tests_passed = passed;
    match finish(command, GRACE).await? {
        Ended::Stopped => return Ok(ExitCode::from(STOPPED)),
        ended => passed &= ended == Ended::Passed,
    }
    if let Ok(skipped) = std::fs::read_to_string(skips) {
        say(&format!("not everything ran:\n{}", skipped.trim_end()));
    }
    if !doc_tests_passed {
        say("the doc tests failed, see above");
    }
    drop(servers);
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn start_all() -> Result<Vec<(Kind, Running)>> {
    let mut starting = JoinSet::new();
    for kind in Kind::ALL {
        starting.spawn(async move { (kind, Running::start(kind).await) });
    }
    let mut servers = Vec::new();
    while let Some(started) = starting.join_next().await {
        let (kind, running) = started?;
        servers.push((kind, running.with_context(|| format!("start {kind:?}"))?));
    }
    Ok(servers)
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Passed,
    Failed,
    /// Somebody asked for the end: nothing more is to be started.
    Stopped,
}

/// Waits for a command. After Ctrl-C or SIGTERM it has `grace` to end by itself, as it does if the terminal has told it,
/// too; then it is told to, and at last it is killed.
async fn finish(mut command: Command, grace: Duration) -> Result<Ended> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut child = command.spawn().context("start cargo")?;
    tokio::select! {
        status = child.wait() => {
            return Ok(if status?.success() { Ended::Passed } else { Ended::Failed });
        }
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    if timeout(grace, child.wait()).await.is_err() {
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(id) = id {
            kill_process(id, Signal::TERM)?;
        }
        if timeout(grace, child.wait()).await.is_err() {
            child.kill().await?;
        }
    }
    Ok(Ended::Stopped)
}

fn say(line: &str) {
    #[expect(
        clippy::print_stderr,
        reason = "tells the person at the terminal what goes on"
    )]
    {
        eprintln!("xtask: {line}");
    }
}

#[cfg(test)]
mod stopping {
    use super::*;

    #[tokio::test]
    async fn ctrl_c_stops_a_runner_that_has_not_heard_it() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mark = folder.path().join("pid");
        // From now on the signal does not end this process.
        let _ours = signal(SignalKind::interrupt())?;
        let mut runner = Command::new("sh");
        runner
            .arg("-c")
            .arg("trap '' INT; echo $$ > \"$0\"; exec sleep 600")
            .arg(&mark);
        let finished = finish(runner, Duration::from_millis(100));
        let interrupted = async {
            let pid = tests::until(Duration::from_secs(20), "the runner", || async {
                let text = std::fs::read_to_string(&mark).unwrap_or_default();
                Ok(text.trim().parse::<i32>().ok())
            })
            .await?;
            kill_process(rustix::process::getpid(), Signal::INT)?;
            anyhow::Ok(pid)
        };
        let (ended, pid) = tokio::try_join!(finished, interrupted)?;
        assert_eq!(ended, Ended::Stopped);
        let runner = Pid::from_raw(pid).context("no process")?;
        assert!(
            rustix::process::test_kill_process(runner).is_err(),
            "it still runs"
        );
        Ok(())
    }
}
