//! The service as a process: started on a free port, stopped when the test is done with it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::http::{Request, Response};

/// How long starting and stopping may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The variables by which it mounts its administration, on a free port, for the actor that is there to try it out.
pub(crate) const ADMIN: [(&str, &str); 2] = [
    (
        "ADMIN_TOKENS",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tenant-service/demo/actors.toml"),
    ),
    ("ADMIN_LISTEN", "127.0.0.1:0"),
];

/// A running service.
#[derive(Debug)]
pub(crate) struct Service {
    process: Child,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    /// The line in which it says where it listens and what it caches in.
    pub(crate) greeting: String,
    /// `127.0.0.1:port` of its administration, where it has one.
    pub(crate) admin: Option<String>,
    output: BufReader<ChildStdout>,
    log: JoinHandle<String>,
}

impl Service {
    /// Starts it with these variables and with none of the variables that the test itself runs with.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Result<Self> {
        let mut process = command(variables).kill_on_drop(true).spawn()?;
        let log = process.stderr.take().context("no standard error")?;
        let log = tokio::spawn(collect(log));
        let mut output = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut greeting = String::new();
        tokio::time::timeout(LIMIT, output.read_line(&mut greeting)).await??;
        let greeting = greeting.trim_end().to_owned();
        let mut second = String::new();
        tokio::time::timeout(LIMIT, output.read_line(&mut second)).await??;
        let admin = second.split_once("administered at http://");
        let Some(address) = greeting
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
        else {
            bail!("the service said {greeting:?} and {:?}", log.await);
        };
        Ok(Self {
            address: address.to_owned(),
            greeting,
            admin: admin.map(|(_, address)| address.trim_end().to_owned()),
            process,
            output,
            log,
        })
    }

    pub(crate) async fn ask(&self, request: Request) -> Response {
        let asked = request.send(&self.address).await;
        asked.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Asks its administration.
    pub(crate) async fn ask_admin(&self, request: Request) -> Response {
        let address = self.admin.as_deref().unwrap_or("no administration");
        let asked = request.send(address).await;
        asked.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Asks it to stop, as a supervisor does.
    #[cfg(unix)]
    pub(crate) async fn signal(&self) -> Result<()> {
        let id = self.process.id().context("it has stopped already")?;
        let asked = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await?;
        assert!(asked.success(), "kill: {asked}");
        Ok(())
    }

    /// Asks it to stop and waits; what it wrote to its log.
    #[cfg(unix)]
    pub(crate) async fn stop(mut self) -> Result<String> {
        self.signal().await?;
        let ended = tokio::time::timeout(LIMIT, self.process.wait()).await??;
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).await?;
        assert!(ended.success(), "{ended}");
        Ok(self.log.await?)
    }
}

/// Runs a service that is expected not to start; its exit code and what it said.
pub(crate) async fn refusal(variables: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let output = tokio::time::timeout(LIMIT, command(variables).kill_on_drop(true).output()).await??;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenant-service"));
    command
        .env_clear()
        .env("PORT", "0")
        .envs(variables.iter().copied())
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
