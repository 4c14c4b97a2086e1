//! A real proxy between clients and servers: twemproxy, which knows neither `HELLO` nor `INFO`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Result;

use crate::install;
use crate::resp::Connection;
use crate::server::port::free_port;
use crate::server::process::Process;
use crate::skip::skip;
use crate::wait::until;

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(20);

/// How often a start is tried again because something else took a port.
const TRIES: u32 = 5;

/// A running twemproxy. Dropping it stops it and removes its files.
#[derive(Debug)]
pub struct Twemproxy {
    address: String,
    _process: Process,
}

impl Twemproxy {
    /// Starts one in front of the servers at these addresses, between which it shards keys. `None` where the program
    /// cannot be had; then `test` is reported as skipped.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    ///
    /// # Panics
    ///
    /// Where it would skip and `CI=true`.
    pub async fn start_or_skip(test: &str, servers: &[String]) -> Result<Option<Self>> {
        let program = match install::twemproxy().await {
            Ok(program) => program,
            Err(error) => {
                skip(test, &format!("twemproxy cannot be had ({error:#})"));
                return Ok(None);
            }
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start(&program, servers).await {
                Err(_) if tries < TRIES => {}
                outcome => return outcome.map(Some),
            }
        }
    }

    async fn start(program: &install::Program, servers: &[String]) -> Result<Self> {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (port, stats) = (free_port(host)?, free_port(host)?);
        let address = format!("{host}:{port}");
        let folder = tempfile::Builder::new().prefix("cache-proxy-").tempdir()?.keep();
        let mut text = format!(
            "pool:\n  listen: {address}\n  hash: murmur\n  distribution: modula\n  redis: true\n  timeout: 2000\n  \
             auto_eject_hosts: false\n  server_connections: 1\n  servers:\n"
        );
        for server in servers {
            writeln!(text, "   - {server}:1")?;
        }
        let file = folder.join("nutcracker.yml");
        std::fs::write(&file, text)?;
        let mut command = program.command()?;
        command.extend(["-c".into(), file.into()]);
        // Else it wants to write to a folder of the system's.
        command.extend(["-o".into(), folder.join("messages").into()]);
        command.extend(["-s".into(), stats.to_string().into()]);
        command.extend(["-a".into(), host.to_string().into()]);
        let process = Process::start(&command, &folder)?;
        until(START, "the proxy's first answer", || async {
            let pong = Connection::open(&address).await?.ask(&["PING"]).await?.text();
            Ok((pong == "PONG").then_some(()))
        })
        .await?;
        Ok(Self {
            address,
            _process: process,
        })
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}
