//! A shell for the commands of a page, and whether it printed what the page shows.
//!
//! Numbers may differ, and `...` stands for any lines.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::cachectl;
use tests::install::{self, Version};
use tokio::process::Command;

/// Moving a quarter of the slots is the longest.
const LIMIT: Duration = Duration::from_secs(180);

/// A shell that keeps its variables from one command to the next, as the reader's does.
pub(crate) struct Shell {
    folder: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Shell {
    pub(crate) async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = install::program(Version::Valkey8).await?;
        let mut client: Vec<String> = server
            .command()?
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let program = client.last_mut().context("no program")?;
        *program = server.path().with_file_name("valkey-cli").display().to_string();
        script(&folder.path().join("valkey-cli"), &client)?;
        script(
            &folder.path().join("cachectl"),
            &[cachectl().await?.display().to_string()],
        )?;
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let variables = BTreeMap::from([("PATH".to_owned(), path)]);
        Ok(Self { folder, variables })
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Takes away the variables whose names begin so.
    pub(crate) fn unset(&mut self, prefix: &str) {
        self.variables.retain(|name, _| !name.starts_with(prefix));
    }

    /// Puts a file into the folder in which lines run.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.folder.path().join(name), text)?)
    }

    /// Runs a line, which has to end with one of these codes; what it printed.
    pub(crate) async fn run(&self, line: &str, codes: &[i32]) -> Result<String> {
        let output = Command::new("sh")
            .args(["-c", line])
            .env_clear()
            .envs(&self.variables)
            .current_dir(self.folder.path())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(LIMIT, output).await??;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code();
        ensure!(
            code.is_some_and(|code| codes.contains(&code)),
            "{line}: {code:?}\n{printed}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(printed)
    }
}

fn script(path: &Path, command: &[String]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let words: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
    std::fs::write(path, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))?;
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

/// A line with one space between words and a `#` for each number, address and time.
fn shape(line: &str) -> String {
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let unit = matches!(word, "s" | "ms" | "µs");
        match (unit, word.chars().any(|letter| letter.is_ascii_digit())) {
            (true, _) => {}
            (false, true) => words.push("#"),
            (false, false) => words.push(word),
        }
    }
    words.join(" ")
}

/// Whether the lines that the page shows are among those that were printed, in this order and without gaps but at `...`.
pub(crate) fn is_as_shown(shown: &str, printed: &str) -> bool {
    let printed: Vec<String> = printed
        .lines()
        .map(shape)
        .filter(|line| !line.is_empty())
        .collect();
    let (mut at, mut may_skip) = (0, false);
    for line in shown.lines().filter(|line| !line.trim().is_empty()) {
        if line == "..." {
            may_skip = true;
            continue;
        }
        let wanted = shape(line);
        let found = printed[at..].iter().position(|line| *line == wanted);
        match found {
            Some(skipped) if skipped == 0 || may_skip => at += skipped + 1,
            _ => return false,
        }
        may_skip = false;
    }
    may_skip || at == printed.len()
}

#[test]
fn what_differs_in_more_than_numbers_is_seen() {
    assert!(is_as_shown("ok, 1.2 ms\n", "ok, 391 µs\n"));
    assert!(is_as_shown("...\n[OK] added\n", "a\nb\n[OK] added\n"));
    assert!(!is_as_shown("ok, 1.2 ms\n", "failed\n"));
    assert!(!is_as_shown("ok\n", "ok\nand more\n"));
    assert!(!is_as_shown("one\n...\n", "two\none\n"));
}
