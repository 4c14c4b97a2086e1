//! What operators type today: `valkey-cli --scan --pattern P | xargs valkey-cli unlink`.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cache_core::clock;
use tests::{Server, Version, install};
use tokio::process::Command;

/// The pipe, with the `valkey-cli` that came with the server.
pub(crate) struct Pipe(String);

impl Pipe {
    /// `None` where there is no such program beside the server.
    pub(crate) async fn find() -> Result<Option<Self>> {
        let program = install::program(Version::Valkey8).await?;
        let beside = program.path().with_file_name("valkey-cli");
        if !beside.exists() {
            return Ok(None);
        }
        // Started as the server is, with the libraries that it brings along.
        let mut words = program.command()?;
        words.pop();
        words.push(beside.into());
        let words: Vec<String> = words
            .iter()
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        Ok(Some(Self(words.join(" "))))
    }

    /// Removes what matches `pattern` on `server`; how long it took.
    pub(crate) async fn remove(&self, server: &Server, pattern: &str) -> Result<Duration> {
        let cli = format!("{} -h {} -p {}", self.0, server.host(), server.port());
        let pipe = format!("{cli} --scan --pattern '{pattern}' | xargs {cli} unlink");
        let began = clock::now();
        let status = Command::new("sh")
            .args(["-c", &pipe])
            .stdout(Stdio::null())
            .status()
            .await
            .context("sh")?;
        let took = began.elapsed();
        ensure!(status.success(), "{pipe} ended with {status}");
        Ok(took)
    }
}
