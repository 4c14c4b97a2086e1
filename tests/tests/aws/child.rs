//! Runs a part of a test in a process of its own, for what the AWS SDK reads from the environment.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// Set in the child, to the name of the test.
const VARIABLE: &str = "AWS_TEST_CHILD";

/// Whether this process is the child of `test`.
pub(crate) fn is_child(test: &str) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "set by the test itself; no setting of the cache"
    )]
    let child = std::env::var(VARIABLE);
    child.is_ok_and(|child| child == test)
}

/// Runs `test` again in a process of its own that has these variables and no other of AWS, and returns what it printed
/// after `said: `.
pub(crate) async fn run(test: &str, variables: &[(&str, &str)]) -> Result<Vec<String>> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env_clear()
        // Nobody's profile files, and no metadata service unless the test names one.
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env(VARIABLE, test)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .context("start the test again")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The runner's own words come before them on the same line.
    let said = text
        .lines()
        .filter_map(|line| Some(line.split_once("said: ")?.1.to_owned()));
    Ok(said.collect())
}
