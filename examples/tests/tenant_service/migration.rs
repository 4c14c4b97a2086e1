//! The commands of MIGRATION.md: those under `$` run on real servers, in the order of the page, and print what it says;
//! all others are at least valid.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version, cachectl, until};
use tokio::process::Command;

use crate::console::{Shell, is_as_shown};
use crate::shell::words;
use crate::steps::{Step, all_steps};

const PAGES: [(&str, &str); 1] = [("MIGRATION.md", MIGRATION)];
const MIGRATION: &str = include_str!("../../../MIGRATION.md");

/// How long the servers may take to answer as the page says.
const LIMIT: Duration = Duration::from_secs(30);

const USERS: &str = r#"
prefix = "app-"

[services.billing]
keyspaces = ["billing:"]
users.service = {password = "env:BILLING_PASSWORD"}

[admins.oncall]
role = "operator"
password = "env:ONCALL_PASSWORD"
"#;

/// The codes that a line may end with, beyond zero.
fn codes(line: &str) -> &'static [i32] {
    match line {
        // It has warnings: the servers of a test have no limit of memory.
        line if line.starts_with("cachectl doctor") => &[0, 8],
        line if line.contains("cachectl overview") || line.contains("cachectl top") => &[0, 3],
        "cachectl users plan users.toml" => &[0, 1],
        line if line.starts_with("CACHE_MODE=single cachectl ping") => &[6],
        line if line.starts_with("cachectl get search:") => &[5],
        _ => &[0],
    }
}

/// The old server, the new cluster, and a shell as the page assumes it.
async fn start() -> Result<(Server, Cluster, Shell)> {
    let old = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let new = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let mut shell = Shell::new().await?;
    let address = old.address();
    let (host, port) = address.rsplit_once(':').context("no port")?;
    shell.write(
        "old.env",
        &format!("REDIS_HOST={host}\nREDIS_PORT={port}\nREDIS_TTL=60\n"),
    )?;
    shell.write("users.toml", USERS)?;
    shell.write("billing.password", "correct-horse-battery-1\n")?;
    shell.set("OLD", address.as_str());
    shell.set("NODES", new.addresses().join(" "));
    shell.set("CACHE_MODE", "cluster");
    shell.set(
        "CACHE_ADDRS",
        new.addresses().first().context("no node")?.as_str(),
    );
    shell.set("BILLING_PASSWORD", "correct-horse-battery-1");
    shell.set("ONCALL_PASSWORD", "staple-running-lamp-2");
    for number in 0..2 {
        let set = format!("cachectl set billing:v1:{number} x --ttl 1h");
        shell.run(&set, &[0]).await?;
    }
    Ok((old, new, shell))
}

#[tokio::test]
async fn every_command_of_the_migration_gives_what_the_page_says() -> Result<()> {
    let (_old, _new, mut shell) = start().await?;
    let mut ran = 0;
    let mut section = "";
    for Step {
        heading,
        line,
        printed,
    } in all_steps(MIGRATION)
    {
        if section != heading {
            section = heading;
            shell.unset("CACHE_ENCRYPTION_");
        }
        ran += 1;
        if let Some(variables) = line.strip_prefix("export ") {
            for variable in variables.split(' ') {
                let (name, value) = variable.split_once('=').context("no value")?;
                shell.set(name, value);
            }
            continue;
        }
        // A change may take a moment to reach every node.
        until(LIMIT, line, || async {
            let seen = shell.run(line, codes(line)).await?;
            ensure!(
                is_as_shown(&printed, &seen),
                "{heading}: {line}\nthe page shows:\n{printed}\nit printed:\n{seen}"
            );
            Ok(Some(()))
        })
        .await?;
    }
    assert!(ran >= 30, "{ran}");
    Ok(())
}

/// What stands in the text of a page as a command of `cachectl`: in a block, or between backticks.
fn commands(page: &str) -> Vec<String> {
    let (mut found, mut text, mut inside) = (Vec::new(), String::new(), false);
    for line in page.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            inside = !inside;
        } else if inside {
            found.push(line.strip_prefix("$ ").unwrap_or(line).to_owned());
        } else {
            text.push_str(line);
            text.push(' ');
        }
    }
    found.extend(text.split('`').skip(1).step_by(2).map(str::to_owned));
    found.retain(|command| command.starts_with("cachectl ") && !command.contains(": "));
    found
}

async fn is_valid(command: &str) -> Result<bool> {
    let arguments = words(command).into_iter().skip(1);
    let arguments = arguments.filter(|word| word != "2>&1");
    // Everything before it is read, nothing is done.
    let asked = Command::new(cachectl().await?)
        .args(arguments)
        .arg("--help")
        .output();
    Ok(asked.await?.status.success())
}

#[tokio::test]
async fn every_cachectl_command_in_the_pages_is_valid() -> Result<()> {
    for (page, text) in PAGES {
        let commands = commands(text);
        assert!(commands.len() > 40, "{page}: {commands:?}");
        for command in commands {
            assert!(is_valid(&command).await?, "{page}: {command}");
        }
    }
    assert!(!is_valid("cachectl migrate chek").await?);
    assert!(!is_valid("cachectl users plan --elasticash users.toml").await?);
    Ok(())
}
