//! Every administrative role of `cachectl users` runs what it is meant to run, on one server and on a cluster; what it
//! may not look at is told as such.

use std::collections::BTreeSet;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};
use tokio::process::Command;

use super::Ran;

/// A user of each role that administers.
const DECLARED: &str = "
prefix = 'app-'
topology = 'TOPOLOGY'

[services.billing]
keyspaces = ['billing:']
[services.billing.users.service]
password = 'env:SERVICE'
[services.billing.users.invalidator]
password = 'env:INVALIDATOR'

[admins.oncall]
role = 'operator'
password = 'env:ONCALL'
[admins.board]
role = 'viewer'
password = 'env:BOARD'
[admins.keeper]
role = 'acl-admin'
password = 'env:KEEPER'
";

/// The variables that [`DECLARED`] refers to.
const VARIABLES: [&str; 5] = ["SERVICE", "INVALIDATOR", "ONCALL", "BOARD", "KEEPER"];

/// Arguments, and the exit code.
type Commands = &'static [(&'static str, i32)];

/// What each is meant to run, with the exit code; `FILE` is the declaration.
const MEANT: &[(&str, &str, Commands)] = &[
    (
        "app-oncall",
        "ONCALL",
        &[
            ("ping", 0),
            ("topology", 0),
            ("config check --connect", 0),
            ("keys billing:*", 0),
            ("keys billing:* --type string --ttl-above 1s --larger-than 1", 0),
            ("keys billing:* --idle 1h", 0),
            ("ttl billing:1", 0),
            ("inspect billing:1", 0),
            ("bigkeys", 0),
            ("generation show billing", 1),
            ("generation bump billing --count", 0),
            ("generation show billing", 0),
            ("top --once", 0),
            ("top --count 2 --interval 100ms", 0),
            ("invalidate billing:1* --dry-run", 0),
            ("invalidate billing:* --dry-run --estimate=100", 0),
            ("invalidate billing:1*", 0),
        ],
    ),
    (
        "app-board",
        "BOARD",
        &[
            ("ping", 0),
            ("topology", 0),
            ("config check --connect", 0),
            ("top --once", 0),
            ("top --count 2 --interval 100ms", 0),
        ],
    ),
    (
        "app-billing-invalidator",
        "INVALIDATOR",
        &[
            ("ping", 0),
            ("topology", 0),
            ("keys billing:*", 0),
            ("invalidate billing:2* --dry-run", 0),
            ("invalidate billing:2*", 0),
        ],
    ),
    (
        "app-keeper",
        "KEEPER",
        &[
            ("ping", 0),
            ("topology", 0),
            ("users plan FILE", 0),
            ("users apply --yes FILE", 0),
            ("users verify FILE", 0),
        ],
    ),
];

/// What is asked for only where it is allowed: slow calls, and the reports of changes that removing does not need.
const OPTIONAL: [&str; 4] = [
    "slowlog|get",
    "client|tracking",
    "client|caching",
    "object|encoding",
];

/// What `config check --connect` asks for, to find out whether this is the user of a service: a command and a key.
const TRIAL: [&str; 2] = ["get", "permission-check"];

/// The servers, with the users of [`DECLARED`] on them.
struct Site<'a> {
    servers: Vec<&'a Server>,
    mode: &'static str,
    folder: tempfile::TempDir,
}

fn password(name: &str) -> String {
    format!("Zk3-vv91!qLm0-{}", name.to_lowercase())
}

impl<'a> Site<'a> {
    async fn of(servers: Vec<&'a Server>, mode: &'static str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(
            folder.path().join("users.toml"),
            DECLARED.replace("TOPOLOGY", mode),
        )?;
        let site = Self {
            servers,
            mode,
            folder,
        };
        let applied = site.run(None, "users apply --yes FILE").await?;
        ensure!(applied.code == 0, "{applied:?}");
        for number in 0..60 {
            let key = format!("billing:{number}");
            let mut stored = false;
            for server in &site.servers {
                // Whoever does not serve it refuses.
                stored |= server.call(&["SET", &key, "value", "EX", "600"]).await.is_ok();
            }
            ensure!(stored, "nobody took {key}");
        }
        Ok(site)
    }

    /// Runs `cachectl`, as the user with the password in a variable or as one that may do everything.
    async fn run(&self, user: Option<(&str, &str)>, arguments: &str) -> Result<Ran> {
        let file = self.folder.path().join("users.toml");
        let file = file.to_str().context("no text")?;
        let addresses: Vec<String> = self.servers.iter().map(|server| server.address()).collect();
        let mut command = Command::new(tests::cachectl().await?);
        command
            .args(
                arguments
                    .split(' ')
                    .map(|word| if word == "FILE" { file } else { word }),
            )
            .env_clear()
            .env("CACHE_MODE", self.mode)
            .env("CACHE_ADDRS", addresses.join(","))
            .envs(VARIABLES.map(|name| (name, password(name))));
        if let Some((user, variable)) = user {
            command
                .env("CACHE_USERNAME", user)
                .env("CACHE_PASSWORD", password(variable));
        }
        let output = command.stdin(Stdio::null()).output().await?;
        Ok(Ran {
            code: output.status.code().context("ended by a signal")?,
            out: output.stdout,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// What was refused since this was asked last.
    async fn refused(&self) -> Result<BTreeSet<String>> {
        let mut refused = BTreeSet::new();
        for server in &self.servers {
            let log = server.call(&["ACL", "LOG"]).await?;
            refused.extend(log.items().iter().filter_map(|entry| entry.field("object")));
            server.call(&["ACL", "LOG", "RESET"]).await?;
        }
        Ok(refused)
    }

    async fn every_role_runs_what_it_is_meant_to(&self) -> Result<()> {
        self.refused().await?;
        for (user, variable, commands) in MEANT {
            for (command, code) in *commands {
                let ran = self.run(Some((*user, *variable)), command).await?;
                let said = String::from_utf8_lossy(&ran.out);
                ensure!(
                    ran.code == *code,
                    "{user}: {command}: {} {said} {}",
                    ran.code,
                    ran.err
                );
                let mut refused = self.refused().await?;
                let is_trial = |object: &str| command.starts_with("config check") && TRIAL.contains(&object);
                refused.retain(|object| !OPTIONAL.contains(&object.as_str()) && !is_trial(object));
                ensure!(refused.is_empty(), "{user}: {command}: {refused:?} refused");
            }
        }
        Ok(())
    }

    /// The checks of the doctor that found something, and what each saw.
    async fn doctor(
        &self,
        user: &str,
        variable: &str,
        arguments: &str,
    ) -> Result<(i32, Vec<(String, String, String)>)> {
        let ran = self
            .run(Some((user, variable)), &format!("doctor --json{arguments}"))
            .await?;
        let report = ran.json()?;
        let findings = report["findings"].as_array().context("findings")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = findings.iter().map(|finding| {
            (
                text(&finding["check"]),
                text(&finding["state"]),
                text(&finding["seen"]),
            )
        });
        Ok((ran.code, told.collect()))
    }

    async fn the_doctor_tells_what_it_may_not_see(&self) -> Result<()> {
        let wrong = |findings: &[(String, String, String)]| -> Vec<String> {
            // How fast a busy machine is, and how these servers are set up, is not the matter here.
            let matter = |check: &str| !["latency", "eviction"].contains(&check);
            let wrong = findings
                .iter()
                .filter(|(check, state, _)| matter(check) && state != "ok" && state != "skipped");
            wrong.map(|(check, ..)| check.clone()).collect()
        };
        let seen = |findings: &[(String, String, String)], name: &str| {
            let found = findings.iter().find(|(check, ..)| check == name);
            found
                .map(|(_, state, seen)| format!("{state}: {seen}"))
                .unwrap_or_default()
        };
        let (_, operator) = self.doctor("app-oncall", "ONCALL", "").await?;
        ensure!(wrong(&operator).is_empty(), "{operator:#?}");
        for check in ["permissions", "tracking", "clocks", "near-tier", "primaries"] {
            ensure!(
                seen(&operator, check).starts_with("ok: "),
                "{check}: {operator:#?}"
            );
        }
        // The role grants it only where the declaration asks for it.
        ensure!(
            seen(&operator, "permissions").contains("SLOWLOG"),
            "{operator:#?}"
        );

        let (_, service) = self
            .doctor("app-billing", "SERVICE", " --prefix billing:doctor:")
            .await?;
        ensure!(wrong(&service).is_empty(), "{service:#?}");
        ensure!(seen(&service, "near-tier").starts_with("ok: "), "{service:#?}");
        for check in ["eviction", "clocks"] {
            let seen = seen(&service, check);
            ensure!(
                seen.starts_with("skipped: not allowed to look"),
                "{check}: {service:#?}"
            );
        }

        // These may not use keys, and are told that and nothing else.
        for (user, variable) in [("app-board", "BOARD"), ("app-keeper", "KEEPER")] {
            let (code, told) = self.doctor(user, variable, "").await?;
            ensure!(
                code == 5 && wrong(&told) == ["permissions", "tracking"],
                "{user}: {code} {told:#?}"
            );
            ensure!(
                seen(&told, "near-tier") == "skipped: changes are not reported; see tracking",
                "{user}: {told:#?}"
            );
        }
        Ok(())
    }
}

async fn on_one_server() -> Result<Server> {
    Server::start(ServerOptions::new(Version::Valkey8)).await
}

#[tokio::test]
async fn every_role_runs_what_it_is_meant_to_on_one_server() -> Result<()> {
    let server = on_one_server().await?;
    let site = Site::of(vec![&server], "single").await?;
    site.every_role_runs_what_it_is_meant_to().await
}

#[tokio::test]
async fn every_role_runs_what_it_is_meant_to_on_a_cluster() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let site = Site::of(cluster.nodes().iter().collect(), "cluster").await?;
    site.every_role_runs_what_it_is_meant_to().await
}

#[tokio::test]
async fn the_doctor_tells_each_role_what_it_may_not_see_on_one_server() -> Result<()> {
    let server = on_one_server().await?;
    let site = Site::of(vec![&server], "single").await?;
    site.the_doctor_tells_what_it_may_not_see().await
}

#[tokio::test]
async fn the_doctor_tells_each_role_what_it_may_not_see_on_a_cluster() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let site = Site::of(cluster.nodes().iter().collect(), "cluster").await?;
    site.the_doctor_tells_what_it_may_not_see().await
}
