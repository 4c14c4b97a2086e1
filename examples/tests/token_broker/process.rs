//! A process of `token-broker`: a broker, the upstream's stand-in, or the load. Dropped, it is killed.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::http::{Request, Response};

/// How long starting and stopping may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A process that listens.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    /// The line in which it says where it listens.
    pub(crate) greeting: String,
    output: BufReader<ChildStdout>,
    log: JoinHandle<String>,
}

impl Process {
    /// Starts it with these variables and with none of those that the test itself runs with.
    pub(crate) async fn start(arguments: &[&str], variables: &[(String, String)]) -> Result<Self> {
        let mut child = command(arguments, variables).kill_on_drop(true).spawn()?;
        let log = tokio::spawn(collect(child.stderr.take().context("no standard error")?));
        let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut greeting = String::new();
        tokio::time::timeout(LIMIT, output.read_line(&mut greeting)).await??;
        let address = greeting.split("http://").nth(1);
        let Some(address) = address.and_then(|rest| rest.split(',').next()) else {
            bail!("it said {greeting:?} and {:?}", log.await);
        };
        Ok(Self {
            address: address.trim_end().to_owned(),
            greeting: greeting.trim_end().to_owned(),
            child,
            output,
            log,
        })
    }

    pub(crate) async fn ask(&self, request: Request) -> Response {
        let asked = request.send(&self.address).await;
        asked.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Asks for JSON.
    pub(crate) async fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = Request::get(path).send(&self.address).await?;
        ensure!(response.status == 200, "{path}: {response:?}");
        Ok(serde_json::from_str(&response.body)?)
    }

    /// Asks it to stop, as a supervisor does, and waits; what it wrote to its output and to its log.
    #[cfg(unix)]
    pub(crate) async fn stop(mut self) -> Result<(String, String)> {
        let id = self.child.id().context("it has stopped already")?;
        let asked = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await?;
        ensure!(asked.success(), "kill: {asked}");
        let mut rest = String::new();
        tokio::time::timeout(LIMIT, self.output.read_to_string(&mut rest)).await??;
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await??;
        ensure!(ended.success(), "{ended}");
        Ok((rest, self.log.await?))
    }
}

/// Runs one to its end; what it printed.
pub(crate) async fn run(arguments: &[&str], variables: &[(String, String)]) -> Result<String> {
    let output = command(arguments, variables).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{arguments:?}: {}, {said}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn command(arguments: &[&str], variables: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_token-broker"));
    command
        .args(arguments)
        .env_clear()
        .env("PORT", "0")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn collect(mut log: tokio::process::ChildStderr) -> String {
    let mut text = String::new();
    // What was read before an error is still worth showing.
    let _ = log.read_to_string(&mut text).await;
    text
}
