//! `cargo xtask test`: all tests, with the servers that they share started once.

use std::collections::HashMap;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tests::shared::{Kind, Running};
use tokio::process::Command;
use tokio::task::JoinSet;

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
        passed &= finish(cargo(&[
            "test",
            "--workspace",
            "--all-features",
            "--doc",
            "--quiet",
        ]))
        .await?;
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
    passed &= finish(command).await?;
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

/// Waits for a command; Ctrl-C is the command's to handle, so that the servers outlast it.
async fn finish(mut command: Command) -> Result<bool> {
    let mut child = command.spawn().context("start cargo")?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?.success()),
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
    }
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
