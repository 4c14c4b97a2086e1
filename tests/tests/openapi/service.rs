//! `cachectl serve`, with an actor who may do everything.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// How long the service may take to come and to go.
const LIMIT: Duration = Duration::from_secs(60);

/// `cachectl serve`; killed where it is dropped.
pub(crate) struct Service {
    child: Child,
    /// Held open: a program whose output nobody reads may stop.
    out: BufReader<ChildStdout>,
    folder: TempDir,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Service {
    /// On a free port, with the cache that `variables` name.
    pub(crate) async fn start(variables: &[(&str, String)]) -> Result<Self> {
        let program = tests::cachectl().await?;
        let folder = tempfile::tempdir()?;
        let made = Command::new(&program)
            .args(["token", "new", "tester", "--json"])
            .env_clear()
            .output()
            .await?;
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).context("a token")?;
        let hash = made["hash"].as_str().context("a hash")?;
        let token = made["token"].as_str().context("a token")?.to_owned();
        let actors = format!(
            "[actors.tester]\ntokens = [{{ hash = \"{hash}\" }}]\n\n[actors.tester.grants]\n\
             list = [\"\"]\nvalue = [\"\"]\ninvalidate = [\"\"]\npurge = [\"\"]\nacl = [\"\"]\n"
        );
        let path = folder.path().join("actors.toml");
        std::fs::write(&path, actors)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0"])
            // Else most of what comes quickly is not looked into.
            .args(["--requests-per-minute", "1000000", "--tokens"])
            .arg(&path)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        tokio::time::timeout(LIMIT, out.read_line(&mut line)).await??;
        let start = line.find("http://").with_context(|| {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            format!("no address in {line:?}; it said: {log}")
        })?;
        let url = line[start..].split([',', ' ', '\n']).next().unwrap_or_default();
        Ok(Self {
            child,
            out,
            url: url.to_owned(),
            token,
            folder,
        })
    }

    /// Ends it in order; the last lines of its log.
    pub(crate) async fn stop(mut self) -> Result<String> {
        let id = self.child.id().context("it has ended by itself")?;
        Command::new("kill")
            .args(["-s", "TERM", &id.to_string()])
            .status()
            .await?;
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(LIMIT, async {
            self.out.read_to_end(&mut rest).await?;
            self.child.wait().await
        });
        let status = ended.await.context("it does not end")??;
        let log = std::fs::read_to_string(self.folder.path().join("log"))?;
        anyhow::ensure!(status.success(), "it ended with {status}: {log}");
        let lines: Vec<&str> = log.lines().rev().take(40).collect();
        Ok(lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}
