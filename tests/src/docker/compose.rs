//! Containers that belong together, from a compose file; gone when dropped.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

use crate::server::port::free_port;
use crate::skip::skip;

const DOWN: [&str; 5] = ["down", "--volumes", "--remove-orphans", "--timeout", "2"];

/// What a compose file starts.
#[derive(Debug)]
pub struct Compose {
    file: PathBuf,
    project: String,
    profiles: Vec<&'static str>,
    variables: Vec<(String, String)>,
    /// Stops everything if this process cannot.
    watch: Option<Child>,
}

impl Compose {
    /// Nothing is started yet; `None` where no compose program is here, and then the test `name` is reported as skipped.
    ///
    /// # Panics
    ///
    /// Where there is none and `CI=true`.
    #[must_use]
    pub fn find_or_skip(name: &str, file: &Path, profiles: &[&'static str]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Err(error) = program() {
            skip(name, &error.to_string());
            return None;
        }
        Some(Self {
            file: file.to_owned(),
            project: format!(
                "cache-tests-{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            ),
            profiles: profiles.to_vec(),
            variables: Vec::new(),
            watch: None,
        })
    }

    /// Sets a variable of the file.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the variable `name` to a port on loopback that is free, and returns it.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub fn publish(&mut self, name: &str) -> Result<u16> {
        let port = free_port(Ipv4Addr::LOCALHOST.into())?;
        self.variables.push((name.to_owned(), port.to_string()));
        Ok(port)
    }

    /// Starts what the file names, in the background.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn up(&mut self) -> Result<()> {
        let down = self.command(&DOWN)?;
        // Reads from a pipe that this process holds: if this process is killed, the containers go all the same.
        let mut watch = Command::new("sh");
        watch
            .args(["-c", "cat >/dev/null; exec \"$@\"", "sh"])
            .arg(down.get_program())
            .args(down.get_args())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.watch = Some(watch.spawn()?);
        self.run(&["up", "--detach", "--no-build"]).await?;
        Ok(())
    }

    /// Runs a command of compose, such as `["kill", "node-1"]`; what it printed.
    ///
    /// # Errors
    ///
    /// When it fails; the message has the end of what it said.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = tokio::process::Command::from(self.command(arguments)?)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            let end: Vec<&str> = said.lines().rev().take(8).collect();
            bail!(
                "compose {arguments:?} ended with {}: {}",
                output.status,
                end.into_iter().rev().collect::<Vec<_>>().join(" / ")
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &said)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = program()?;
        command.arg("--file").arg(&self.file);
        command.args(["--project-name", &self.project]);
        for profile in &self.profiles {
            command.args(["--profile", profile]);
        }
        command
            .args(arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        Ok(command)
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        if let Ok(mut down) = self.command(&DOWN) {
            let _ = down.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let _ = watch.kill();
        let _ = watch.wait();
    }
}

/// Compose as a plugin of `docker`, or as the program of its own that it was before.
fn program() -> Result<Command> {
    let answers = |command: &mut Command| {
        command
            .arg("version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let plugin = || {
        let mut command = Command::new("docker");
        command.arg("compose");
        command
    };
    if answers(&mut plugin()) {
        return Ok(plugin());
    }
    let alone = || Command::new("docker-compose");
    if answers(&mut alone()) {
        return Ok(alone());
    }
    bail!("neither `docker compose` nor `docker-compose` is here")
}
