//! Every command of docs/runbook.md runs, in the order of the page, on a real cluster, and prints what the page says.
//!
//! Numbers may differ, and `...` stands for any lines.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, until};

use crate::console::{Shell, is_as_shown};
use crate::steps::{Step, all_steps};

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

/// How long a change of the layout may take to reach every node.
const LIMIT: Duration = Duration::from_secs(180);

/// A slot of the shard whose replica takes over as planned.
const SLOT: u16 = 866;

/// A slot of the shard whose primary is killed.
const OTHER_SLOT: u16 = 12_000;

/// The codes that a line may end with: one that looks may end with the code for warnings alone.
fn codes(line: &str) -> &'static [i32] {
    match line {
        line if line.starts_with("cachectl doctor") => &[0, 8],
        line if line.starts_with("cachectl topology") || line.starts_with("cachectl top") => &[0, 3],
        _ => &[0],
    }
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
                    shell.run(&set, &[0]).await?;
                }
            }
            "Everything" | "Secrets and certificates" => {
                let value = "x".repeat(300);
                for number in 0..5 {
                    let set = format!("cachectl set report:{number} {value}");
                    shell.run(&set, &[0]).await?;
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
    let mut shell = Shell::new().await?;
    shell.set("CACHE_MODE", "cluster");
    shell.set("CACHE_ADDRS", servers.cluster.addresses().join(","));
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
            let value = shell.run(command, &[0]).await?;
            shell.set(name, value.trim());
            continue;
        }
        let give = || async {
            let seen = shell.run(line, codes(line)).await?;
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
