//! `cachectl users ... --elasticache` against `ministack`, and against what `ministack` does not show.

mod applying;
mod gateway;
mod hazards;
mod killed;
mod rotating;

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Emulator, EmulatorKind};
use tokio::process::{Child, Command};

use crate::password;
use gateway::Gateway;

/// Users by password and by IAM, and one that ElastiCache does not take.
const DECLARED: &str = "
prefix = 'app-'

[services.billing]
keyspaces = ['billing:']
[services.billing.users.service]
password = 'env:BILLING'
[services.billing.users.reader]
password = 'env:READER'

[services.search]
keyspaces = ['search:']
[services.search.users.service]
iam = true

[admins.keeper]
role = 'acl-admin'
password = 'env:KEEPER'

[elasticache]
engine = 'redis'
user_group = 'app-cache'
";

/// What [`DECLARED`] needs from nothing.
const CHANGES: [&str; 5] = [
    "CreateUser app-cache-default",
    "CreateUser app-billing",
    "CreateUser app-billing-reader",
    "CreateUser app-search",
    "CreateUserGroup app-cache",
];

/// The variables that declarations refer to.
const VARIABLES: [&str; 5] = ["BILLING", "READER", "KEEPER", "NEXT", "OTHER"];

/// An emulator, what stands before it, and a declaration in a file.
struct Site {
    gateway: Gateway,
    folder: tempfile::TempDir,
    _emulator: Emulator,
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
    async fn start_or_skip(test: &str) -> Result<Option<Self>> {
        let root = env!("CARGO_TARGET_TMPDIR");
        let Some(emulator) = Emulator::start_or_skip(EmulatorKind::Ministack, test, root).await? else {
            return Ok(None);
        };
        let site = Self {
            gateway: Gateway::start(&emulator).await?,
            folder: tempfile::tempdir()?,
            _emulator: emulator,
        };
        site.declare(DECLARED)?;
        Ok(Some(site))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("users.toml")
    }

    fn declare(&self, text: &str) -> Result<()> {
        Ok(std::fs::write(self.file(), text)?)
    }

    fn audit(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// What is in the audit file.
    fn audited(&self) -> String {
        std::fs::read_to_string(self.audit()).unwrap_or_default()
    }

    /// Starts `cachectl users ARGUMENTS --elasticache FILE`.
    async fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        let child = Command::new(tests::cachectl().await?)
            .arg("users")
            .args(arguments)
            .arg("--elasticache")
            .arg(self.file())
            .env_clear()
            .envs([
                ("AWS_REGION", "eu-west-2"),
                ("AWS_ACCESS_KEY_ID", "operator"),
                ("AWS_SECRET_ACCESS_KEY", "secret-of-the-operator"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
                // Asks the SDK to log what it otherwise hides.
                ("LOG_SIGNABLE_BODY", "true"),
            ])
            .env("AWS_ENDPOINT_URL_ELASTICACHE", self.gateway.url())
            .env("CACHECTL_AUDIT", self.audit())
            .envs(VARIABLES.map(|name| (name, password(name))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(child)
    }

    /// Runs it to its end, and looks for secrets in what it says.
    async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let output = self.spawn(arguments).await?.wait_with_output().await?;
        let ran = Ran {
            code: output.status.code().context("ended by a signal")?,
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        };
        // As they are, as they are in a request, and as the bytes of a request that is logged.
        let passwords = VARIABLES.map(password);
        let forms = passwords.iter().flat_map(|password| {
            let encoded = password.replace('!', "%21");
            let bytes: Vec<String> = encoded.bytes().map(|byte| byte.to_string()).collect();
            [password.clone(), encoded, bytes.join(", ")]
        });
        let secrets = forms.collect::<Vec<_>>().into_iter();
        for secret in secrets.chain(["secret-of-the-operator".to_owned()]) {
            ensure!(
                !ran.out.contains(&secret) && !ran.err.contains(&secret) && !self.audited().contains(&secret),
                "a secret is shown: {ran:?}"
            );
        }
        Ok(ran)
    }

    /// Runs `apply --yes`, which has to end well, and returns what it changed.
    async fn apply(&self) -> Result<Vec<String>> {
        self.gateway.expect(|_| gateway::Fate::Pass);
        let ran = self.run(&["apply", "--yes"]).await?;
        ensure!(ran.code == 0, "{ran:?}");
        Ok(self.gateway.changes())
    }

    /// What the emulator has, without what differs from run to run.
    async fn shape(&self) -> Result<(String, String)> {
        let clean = |answer: String| {
            answer
                .split("<ResponseMetadata>")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let users = self.gateway.call("DescribeUsers", &[]).await?;
        let groups = self.gateway.call("DescribeUserGroups", &[]).await?;
        Ok((clean(users), clean(groups)))
    }
}
