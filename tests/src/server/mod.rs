//! One server: started, steered, hurt and stopped.
//!
//! What it is started with: [`options`]; the process behind it: [`process`].

mod options;
pub(crate) mod port;
pub(crate) mod process;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::install::{self, Program};
use crate::resp::{Connection, Reply};
use crate::wait::until;
use process::Process;

pub use options::{ServerOptions, Tls};

/// How often a start is tried again because something else took a port.
const TRIES: u32 = 5;

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A running server. Dropping it stops the server and removes its files.
///
/// All methods take `&self`, so that a test can hurt a server from one task while others use it.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    program: Program,
    port: u16,
    bus_port: u16,
    folder: PathBuf,
    process: Mutex<Process>,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    ///
    /// When the program cannot be had ([`install::program`]) or the server does not come up; the message
    /// holds the end of its log.
    pub async fn start(options: ServerOptions) -> Result<Self> {
        let program = install::program(options.version()).await?;
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_start(&options, &program).await {
                Err(error) if tries < TRIES && format!("{error:#}").contains("in use") => {}
                outcome => return outcome,
            }
        }
    }

    async fn try_start(options: &ServerOptions, program: &Program) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cache-server-").tempdir()?.keep();
        let port = port::free_port(options.host())?;
        let bus_port = port::free_port(options.host())?;
        std::fs::write(
            folder.join("server.conf"),
            options.write(&folder, port, bus_port)?,
        )?;
        let process = Process::start(&options.command(program, &folder)?, &folder)?;
        let server = Self {
            options: options.clone(),
            program: program.clone(),
            port,
            bus_port,
            folder,
            process: Mutex::new(process),
        };
        server.wait_until_up().await?;
        Ok(server)
    }

    /// `host:port`, as a client wants it (IPv6 in brackets).
    #[must_use]
    pub fn address(&self) -> String {
        SocketAddr::from((self.options.host(), self.port)).to_string()
    }

    /// The address it listens on: `127.0.0.1` unless asked otherwise.
    #[must_use]
    pub fn host(&self) -> IpAddr {
        self.options.host()
    }

    /// The port for clients (the TLS port, where TLS is on: there is no other).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of the cluster's own traffic.
    #[must_use]
    pub fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// What it was started with.
    #[must_use]
    pub fn options(&self) -> &ServerOptions {
        &self.options
    }

    /// The Unix socket by which this library steers it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// The folder of its configuration, data and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process id.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.process().id()
    }

    /// All it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.folder.join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// A connection that may do everything, over the Unix socket.
    ///
    /// # Errors
    ///
    /// When the server is down.
    pub async fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::open_unix(&self.socket()).await?;
        if let Some(login) = self.options.login() {
            connection.call(&login).await?;
        }
        Ok(connection)
    }

    /// Sends one command on a connection of its own.
    ///
    /// # Errors
    ///
    /// When the server is down or answers with an error.
    pub async fn call<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Result<Reply> {
        self.connect().await?.call(arguments).await
    }

    /// One field of `INFO`, such as `connected_clients`.
    ///
    /// # Errors
    ///
    /// When the server is down or has no such field.
    pub async fn info(&self, field: &str) -> Result<String> {
        let text = self.call(&["INFO", "everything"]).await?.text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value
            .with_context(|| format!("INFO has no field {field}"))?
            .to_owned())
    }

    /// Kills it at once (`SIGKILL`), as a crash would; connections are reset. Returns when it is gone.
    ///
    /// # Errors
    ///
    /// When the process cannot be reached.
    pub fn kill(&self) -> Result<()> {
        self.process().kill()
    }

    /// Stops it in its tracks (`SIGSTOP`): connections stay open and nothing answers.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn pause(&self) -> Result<()> {
        self.process().hold(true)
    }

    /// Undoes [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn resume(&self) -> Result<()> {
        self.process().hold(false)
    }

    /// Kills it where it still runs and starts it again: same ports, same files (a cluster node keeps its
    /// identity), no data. Returns when it answers.
    ///
    /// # Errors
    ///
    /// When it does not come up again.
    pub async fn restart(&self) -> Result<()> {
        self.kill()?;
        let fresh = Process::start(&self.options.command(&self.program, &self.folder)?, &self.folder)?;
        std::mem::replace(&mut *self.process(), fresh).hand_over()?;
        self.wait_until_up().await
    }

    async fn wait_until_up(&self) -> Result<()> {
        let up = until(START, "the server's first answer", || async {
            if self.process().has_ended() {
                return Ok(Some(false));
            }
            let answer = self.connect().await?.ask(&["PING"]).await?.text();
            Ok((answer == "PONG").then_some(true))
        });
        match up.await {
            Ok(true) => Ok(()),
            Ok(false) => bail!("the server ended: {}", self.last_words()),
            Err(error) => Err(error).context(self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
