//! One server process that cannot outlive the process that started it.
//!
//! No knowledge of what the server is. The guard is a few lines of `sh`: unlike a signal handler or `Drop`,
//! it also works when this process is killed outright.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Arguments: the folder, then the command. On the line `kill`, or when its input ends, it kills the server
/// (which works on a stopped one too); then it removes the folder, unless the next line is `keep`.
const GUARD: &str = r#"
folder=$1; shift
"$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
echo "$server"
read -r word
kill -9 "$server" 2>/dev/null
wait "$server" 2>/dev/null
if [ "$word" = kill ]; then echo gone; read -r word; fi
[ "$word" = keep ] || rm -rf "$folder"
"#;

/// A running server and its guard.
#[derive(Debug)]
pub(crate) struct Process {
    guard: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    server: Pid,
    killed: bool,
}

impl Process {
    /// Starts `command`; its output goes to `log` in `folder`, which is removed when the process ends.
    pub(crate) fn start(command: &[OsString], folder: &Path) -> Result<Self> {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(folder)
            .args(command)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal is for the test runner; the servers end with it, not before it.
            .process_group(0)
            .spawn()
            .context("start sh")?;
        let input = guard.stdin.take();
        let mut output = BufReader::new(guard.stdout.take().context("the guard has no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let server = line
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .context("the guard named no process")?;
        Ok(Self {
            guard,
            input,
            output,
            server,
            killed: false,
        })
    }

    /// The server's process id.
    pub(crate) fn id(&self) -> i32 {
        self.server.as_raw_nonzero().get()
    }

    /// Whether the server has ended by itself. Where the machine cannot tell, `false`.
    pub(crate) fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()));
        stat.is_ok_and(|stat| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with(['Z', 'X']))
        })
    }

    /// Stops (`SIGSTOP`) or continues (`SIGCONT`) the server.
    pub(crate) fn hold(&self, hold: bool) -> Result<()> {
        let signal = if hold { Signal::STOP } else { Signal::CONT };
        kill_process(self.server, signal).context("signal the server")
    }

    /// Kills the server (`SIGKILL`) and returns when it is gone. Its folder stays until this is dropped.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if !self.killed {
            self.tell("kill\n")?;
            self.output
                .read_line(&mut String::new())
                .context("wait for the guard")?;
            self.killed = true;
        }
        Ok(())
    }

    /// Lets go of a killed server without removing its folder, which has a new process.
    pub(crate) fn hand_over(mut self) -> Result<()> {
        self.kill()?;
        self.tell("keep\n")
    }

    fn tell(&mut self, word: &str) -> Result<()> {
        self.input
            .as_mut()
            .context("the guard has no input")?
            .write_all(word.as_bytes())
            .context("tell the guard")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // The only error would be that there is no such process, which is what is wanted.
        let _ = self.guard.wait();
    }
}
