//! Every command of docs/runbook.md runs, in the order of the page, on a real cluster, and prints what the page says.
//!
//! Numbers may differ, and `...` stands for any lines.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::install::{self, Version};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, cachectl, until};
use tokio::process::Command;

use crate::steps::{Step, all_steps};

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

/// Moving a quarter of the slots is the longest.
const LIMIT: Duration = Duration::from_secs(180);

/// A slot of the shard whose replica takes over as planned.
const SLOT: u16 = 866;

/// A slot of the shard whose primary is killed.
const OTHER_SLOT: u16 = 12_000;

/// A shell that keeps its variables from one command to the next, as the reader's does.
struct Shell {
    folder: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Shell {
    async fn new(cluster: &Cluster) -> Result<Self> {
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
        let variables = BTreeMap::from([
            ("PATH".to_owned(), path),
            ("CACHE_MODE".to_owned(), "cluster".to_owned()),
            ("CACHE_ADDRS".to_owned(), cluster.addresses().join(",")),
        ]);
        Ok(Self { folder, variables })
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Runs a line; what it printed. A command that looks may exit with the code for warnings alone.
    async fn run(&self, line: &str) -> Result<String> {
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
        let warned = match line {
            line if line.starts_with("cachectl doctor") => 8,
            line if line.starts_with("cachectl topology") || line.starts_with("cachectl top") => 3,
            _ => 0,
        };
        ensure!(
            code == Some(0) || code == Some(warned),
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
fn is_as_shown(shown: &str, printed: &str) -> bool {
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

/// Commands that only look: the reader may repeat them until a change of the layout has reached every node.
fn only_looks(line: &str) -> bool {
    [
        "cachectl ping",
        "cachectl topology",
        "cachectl generation show",
        "cachectl top",
        "valkey-cli --cluster check",
        "for node in",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

/// The servers of the page.
struct Servers {
    cluster: Cluster,
    /// What `$NEW` is: a node that belongs to no cluster yet.
    new: Server,
    /// Who was killed in the drill and is started again after it.
    killed: Option<usize>,
}

impl Servers {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
        let new = Server::start(ServerOptions::new(Version::Valkey8).cluster_node()).await?;
        Ok(Self {
            cluster,
            new,
            killed: None,
        })
    }

    fn address(&self, node: usize) -> String {
        self.cluster.node(node).address()
    }

    /// What a section needs before it begins.
    async fn prepare(&mut self, section: &str, shell: &mut Shell) -> Result<()> {
        match section {
            "First look" => {
                for number in 0..20 {
                    let set = format!("cachectl set 'billing:v1:{{acme}}:{number}' x --ttl 1h");
                    shell.run(&set).await?;
                }
            }
            "Everything" | "Secrets and certificates" => {
                let value = "x".repeat(300);
                for number in 0..5 {
                    shell
                        .run(&format!("cachectl set report:{number} {value}"))
                        .await?;
                }
            }
            "Failover drill" => {
                let primary = self.cluster.primary_of(SLOT).await?;
                let replicas = self.cluster.replicas_of(primary).await?;
                let replica = *replicas.first().context("no replica")?;
                shell.set("REPLICA", self.address(replica));
                let other = self.cluster.primary_of(OTHER_SLOT).await?;
                shell.set("PRIMARY", self.address(other));
                self.killed = Some(other);
            }
            "Add one" => {
                let killed = self.killed.take().context("nothing was killed")?;
                self.cluster.restart(killed).await?;
                self.cluster.wait_until_ok().await?;
                let primary = self.cluster.primary_of(SLOT).await?;
                shell.set("PRIMARY", self.address(primary));
                shell.set("NEW", self.new.address());
            }
            _ => {}
        }
        Ok(())
    }
}

#[tokio::test]
async fn every_command_of_the_runbook_gives_what_the_page_says() -> Result<()> {
    let mut servers = Servers::start().await?;
    let mut shell = Shell::new(&servers.cluster).await?;
    let mut section = String::new();
    let mut ran = 0;
    for Step {
        heading,
        line,
        printed,
    } in all_steps(RUNBOOK)
    {
        if section != heading {
            heading.clone_into(&mut section);
            servers.prepare(&section, &mut shell).await?;
        }
        ran += 1;
        if let Some((name, command)) = line.split_once("=$(") {
            let command = command.strip_suffix(')').context("no end of $(...)")?;
            let value = shell.run(command).await?;
            shell.set(name, value.trim());
            continue;
        }
        let give = || async {
            let seen = shell.run(line).await?;
            ensure!(
                is_as_shown(&printed, &seen),
                "{heading}: {line}\nthe page shows:\n{printed}\nit printed:\n{seen}"
            );
            Ok(Some(()))
        };
        if only_looks(line) {
            until(LIMIT, line, give).await?;
        } else {
            give().await?;
        }
    }
    assert!(ran >= 25, "{ran}");
    Ok(())
}

#[test]
fn what_differs_in_more_than_numbers_is_seen() {
    assert!(is_as_shown("ok, 1.2 ms\n", "ok, 391 µs\n"));
    assert!(is_as_shown("...\n[OK] added\n", "a\nb\n[OK] added\n"));
    assert!(!is_as_shown("ok, 1.2 ms\n", "failed\n"));
    assert!(!is_as_shown("ok\n", "ok\nand more\n"));
    assert!(!is_as_shown("one\n...\n", "two\none\n"));
}
