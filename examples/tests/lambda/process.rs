//! The function as a process, which a test freezes as Lambda does. Dropped, it is killed.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::runtime_api::RuntimeApi;

/// How long ending may take.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: JoinHandle<String>,
}

impl Process {
    /// Starts it with these variables and with none of those that the test itself runs with.
    pub(crate) fn start(api: &RuntimeApi, variables: &[(&str, &str)]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lambda"))
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut log = child.stderr.take().context("no standard error")?;
        let log = tokio::spawn(async move {
            let mut text = String::new();
            // What was read before an error is still worth showing.
            let _ = log.read_to_string(&mut text).await;
            text
        });
        Ok(Self { child, log })
    }

    /// SIGSTOP; returns when the process has stopped.
    pub(crate) async fn freeze(&self) -> Result<()> {
        self.signal("STOP").await?;
        let id = self.id()?;
        tests::until(LIMIT, "the process to stop", || async move {
            let output = Command::new("ps")
                .args(["-o", "state=", "-p", &id.to_string()])
                .output()
                .await?;
            let state = String::from_utf8(output.stdout)?;
            Ok(state.trim_start().starts_with('T').then_some(()))
        })
        .await
    }

    /// SIGCONT.
    pub(crate) async fn thaw(&self) -> Result<()> {
        self.signal("CONT").await
    }

    /// SIGTERM; how it ended, and its log.
    pub(crate) async fn stop(self) -> Result<(ExitStatus, String)> {
        self.signal("TERM").await?;
        self.ended().await
    }

    /// Waits for its end; how it ended, and its log.
    pub(crate) async fn ended(mut self) -> Result<(ExitStatus, String)> {
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await??;
        Ok((status, self.log.await?))
    }

    async fn signal(&self, name: &str) -> Result<()> {
        let id = self.id()?.to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await?;
        ensure!(sent.success(), "kill -s {name}: {sent}");
        Ok(())
    }

    fn id(&self) -> Result<u32> {
        self.child.id().context("it has ended")
    }
}
