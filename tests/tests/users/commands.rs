//! `cachectl users` on real servers: exit codes, what is shown, and that no secret is.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Cluster, Version};
use tokio::process::Command;

use crate::{DECLARED, cluster_of, password, told};

/// The variables that [`DECLARED`] refers to, and that of a rotation.
const VARIABLES: [&str; 8] = [
    "BILLING",
    "READER",
    "INVALIDATOR",
    "SEARCH",
    "ONCALL",
    "BOARD",
    "KEEPER",
    "NEXT",
];

/// A declaration in a file, and the cluster that it is for.
struct Site {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{self:?}"))
    }
}

impl Site {
    async fn start() -> Result<Self> {
        let site = Self {
            cluster: cluster_of(Version::Valkey8).await?,
            folder: tempfile::tempdir()?,
        };
        site.declare(DECLARED)?;
        Ok(site)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("users.toml")
    }

    fn declare(&self, text: &str) -> Result<()> {
        Ok(std::fs::write(self.file(), text)?)
    }

    fn audit(&self) -> std::path::PathBuf {
        self.file().with_extension("audit")
    }

    /// What is in the audit file.
    fn audited(&self) -> String {
        std::fs::read_to_string(self.audit()).unwrap_or_default()
    }

    /// Runs `cachectl users ARGUMENTS FILE`, and looks for secrets in what it says.
    async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let output = Command::new(tests::cachectl().await?)
            .arg("users")
            .args(arguments)
            .arg(self.file())
            .env_clear()
            .env("CACHE_MODE", "cluster")
            .env("CACHE_ADDRS", self.cluster.addresses().join(","))
            .env("CACHECTL_AUDIT", self.audit())
            .envs(VARIABLES.map(|name| (name, password(name))))
            .stdin(Stdio::null())
            .output()
            .await?;
        let ran = Ran {
            code: output.status.code().context("ended by a signal")?,
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        };
        let rules = told(self.cluster.node(0), "app-billing")
            .await
            .unwrap_or_default();
        let hashes = rules.split('#').skip(1).filter_map(|part| part.get(..64));
        for secret in VARIABLES.map(password).iter().map(String::as_str).chain(hashes) {
            ensure!(
                !ran.out.contains(secret) && !ran.err.contains(secret) && !self.audited().contains(secret),
                "a secret is shown: {ran:?}"
            );
        }
        Ok(ran)
    }
}

#[tokio::test]
async fn plan_is_1_until_apply_was_agreed_to_and_then_0() -> Result<()> {
    let site = Site::start().await?;
    let plan = site.run(&["plan"]).await?;
    assert_eq!(plan.code, 1, "{plan:?}");
    assert!(
        plan.out.contains("app-billing-reader") && plan.out.contains("create  all 6"),
        "{}",
        plan.out
    );
    assert!(plan.out.ends_with("42 changes on 6 nodes\n"), "{}", plan.out);
    assert!(
        plan.err
            .contains("left alone, because the file does not declare them: default"),
        "{}",
        plan.err
    );
    assert!(
        plan.err
            .contains("the user default may do everything, without a password")
    );
    let refused = site.run(&["apply"]).await?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert_eq!(site.audited(), "", "nothing was changed");
    assert_eq!(site.run(&["plan", "--json"]).await?.json()?["changes"], 42);

    let applied = site.run(&["apply", "--yes", "--json"]).await?;
    assert_eq!(applied.code, 0, "{applied:?}");
    let report = applied.json()?;
    assert_eq!(
        (&report["outcome"], report["done"].as_array().map(Vec::len)),
        (&"complete".into(), Some(42))
    );
    assert_eq!(report["saved"][5]["saved"], "config_file");
    let audited = site.audited();
    let lines: Vec<Value> = audited
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(lines.len(), 43, "{audited}");
    assert!(
        lines.iter().all(|line| line["action"] == "acl.change"),
        "{audited}"
    );
    assert_eq!(
        (
            &lines[0]["result"],
            lines[0]["on"]["changes"].as_array().map(Vec::len)
        ),
        (&"begun".into(), Some(42))
    );
    let made = |line: &Value| {
        line["result"] == "ok" && line["on"]["node"].is_string() && line["on"]["user"].is_string()
    };
    assert!(lines[1..].iter().all(made), "{audited}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(site.audit())?.permissions());
    assert_eq!(mode & 0o777, 0o600);
    let plan = site.run(&["plan"]).await?;
    assert_eq!(
        (plan.code, plan.out.as_str()),
        (0, "nothing to do: the users are as declared on 6 nodes\n")
    );
    assert_eq!(site.run(&["apply"]).await?.code, 0, "nothing to agree to");

    let verified = site.run(&["verify", "--try"]).await?;
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(
        verified.out.contains(" dry runs, 0 not as they ought to be\n"),
        "{}",
        verified.out
    );
    assert!(
        verified.out.contains("app-keeper with password 1: ok\n"),
        "{}",
        verified.out
    );
    site.cluster
        .node(4)
        .call(&["ACL", "SETUSER", "app-board", "~*", "+get"])
        .await?;
    let verified = site.run(&["verify"]).await?;
    assert_eq!(verified.code, 1, "{verified:?}");
    assert!(
        verified.out.contains("get nobody-owns-this") && verified.out.contains("denied"),
        "{}",
        verified.out
    );
    let plan = site.run(&["plan"]).await?;
    assert_eq!(plan.code, 1);
    assert!(plan.out.contains("update: remove +get remove ~*"), "{}", plan.out);
    assert!(
        plan.err.contains("drift: app-board differs on the replica"),
        "{}",
        plan.err
    );
    Ok(())
}

#[tokio::test]
async fn a_rotation_is_led_through_its_steps() -> Result<()> {
    let site = Site::start().await?;
    assert_eq!(site.run(&["apply", "--yes"]).await?.code, 0);
    let too_early = site
        .run(&["rotate", "billing", "--phase", "add", "--yes"])
        .await?;
    assert_eq!(too_early.code, 6, "{too_early:?}");
    assert!(
        too_early
            .err
            .contains("services.billing.users.service.next_password: must be declared")
    );
    assert_eq!(site.run(&["rotate", "nobody", "--phase", "add"]).await?.code, 2);

    site.declare(&DECLARED.replace("'env:BILLING'", "'env:BILLING'\nnext_password = 'env:NEXT'"))?;
    let added = site
        .run(&["rotate", "billing", "--phase", "add", "--yes"])
        .await?;
    assert_eq!(added.code, 0, "{added:?}");
    assert!(added.out.contains("accept 1 password more"), "{}", added.out);
    let early = site
        .run(&["rotate", "billing", "--phase", "finish", "--yes"])
        .await?;
    assert_eq!(early.code, 6, "two are still declared: {early:?}");

    site.declare(&DECLARED.replace("'env:BILLING'", "'env:NEXT'"))?;
    let plan = site.run(&["plan"]).await?;
    assert_eq!(plan.code, 0);
    assert!(
        plan.err
            .contains("app-billing still accepts 1 password that the declaration does not name")
    );

    // Somebody is still connected, and who knows by which password.
    let mut connected = site.cluster.node(0).connect().await?;
    connected
        .call(&["AUTH", "app-billing", &password("BILLING")])
        .await?;
    let refused = site.run(&["rotate", "billing", "--phase", "finish"]).await?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(
        refused.err.contains("may have logged in with the old password"),
        "{}",
        refused.err
    );
    let young = site
        .run(&[
            "rotate",
            "app-billing",
            "--phase",
            "finish",
            "--added",
            "1h",
            "--yes",
        ])
        .await?;
    assert_eq!(young.code, 0, "{young:?}");
    assert!(
        !young.err.contains("is connected to"),
        "it is no hour old: {}",
        young.err
    );
    assert_eq!(
        told(site.cluster.node(5), "app-billing")
            .await?
            .matches('#')
            .count(),
        1
    );
    let again = site.run(&["rotate", "billing", "--phase", "finish"]).await?;
    assert_eq!(
        (again.code, again.err.contains("still accepts")),
        (0, false),
        "{again:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_declaration_that_is_wrong_is_6_and_what_is_written_needs_no_server() -> Result<()> {
    let site = Site::start().await?;
    for (format, words) in [
        ("acl", "user app-search on #"),
        ("terraform", "resource \"aws_elasticache_user\" \"app_search\""),
        ("elasticache", "\"UserId\": \"app-search\""),
    ] {
        let ran = Command::new(tests::cachectl().await?)
            .args(["users", "export", "--format", format])
            .arg(site.file())
            .env_clear()
            .envs(VARIABLES.map(|name| (name, password(name))))
            .stdin(Stdio::null())
            .output()
            .await?;
        let out = String::from_utf8(ran.stdout)?;
        ensure!(ran.status.success() && out.contains(words), "{format}: {out}");
    }
    site.declare(
        &DECLARED
            .replace("'invoices:'", "'*'")
            .replace("'search:'", "'billing:v1:'"),
    )?;
    let wrong = site.run(&["plan", "--json"]).await?;
    assert_eq!((wrong.code, wrong.out.as_str()), (6, ""), "{wrong:?}");
    let told: Value = serde_json::from_str(&wrong.err)?;
    assert_eq!(
        told["error"]["messages"].as_array().map(Vec::len),
        Some(2),
        "{told}"
    );
    Ok(())
}
