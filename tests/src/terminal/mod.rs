//! A terminal for a program that draws: a pseudo-terminal of the system, somebody who types and who drags the
//! window, and a [`Picture`] of what would be seen.
//!
//! Not in here: what the program's bytes mean ([`picture`](self::Picture)).

mod picture;

use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

pub use self::picture::Picture;

/// How long a program may take to end.
const LIMIT: Duration = Duration::from_secs(30);

/// A program at a terminal. Dropping it kills the program.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    /// The side of whoever watches and types.
    ours: Arc<OwnedFd>,
    /// The program's side, held so that it can be asked how it was left.
    theirs: OwnedFd,
    before: String,
    picture: Arc<Mutex<Picture>>,
    reading: JoinHandle<()>,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Left {
    /// How it ended.
    pub status: ExitStatus,
    /// What is to be seen afterwards.
    pub picture: Picture,
    /// Whether the terminal is set as it was before.
    pub restored: bool,
}

impl Terminal {
    /// Starts `program` with `arguments` and `variables`, and no others, at a terminal of so many columns and lines.
    ///
    /// # Errors
    ///
    /// When there is no pseudo-terminal to be had, or no `setsid`, which gives the program the terminal that
    /// Ctrl-C is sent to.
    pub fn start(
        program: &std::path::Path,
        arguments: &[&str],
        variables: &[(&str, String)],
        (columns, lines): (u16, u16),
    ) -> Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        tcsetwinsize(&ours, size(columns, lines))?;
        let before = told(&tcgetattr(&theirs)?);
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("TERM", "xterm-256color")
            .envs(variables.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs.try_clone()?))
            .stderr(Stdio::from(theirs.try_clone()?))
            .kill_on_drop(true)
            .spawn()
            .context("start setsid")?;
        let picture = Arc::new(Mutex::new(Picture::new(columns.into(), lines.into())));
        let ours = Arc::new(ours);
        let reading = tokio::task::spawn_blocking({
            let (ours, picture) = (Arc::clone(&ours), Arc::clone(&picture));
            move || read(&ours, &picture)
        });
        Ok(Self {
            child,
            ours,
            theirs,
            before,
            picture,
            reading,
        })
    }

    /// What is to be seen now.
    #[must_use]
    pub fn picture(&self) -> Picture {
        self.picture
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until `wanted` finds what it looks for in the picture.
    ///
    /// # Errors
    ///
    /// When that takes longer than half a minute; the error shows the picture.
    pub async fn shows<T>(&self, what: &str, wanted: impl Fn(&Picture) -> Option<T>) -> Result<T> {
        let looking = || std::future::ready(Ok(wanted(&self.picture())));
        let found = crate::until(LIMIT, what, looking).await;
        found.with_context(|| format!("the terminal shows:\n{}", self.picture().text()))
    }

    /// Presses keys: `\x03` is Ctrl-C.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn press(&self, keys: &[u8]) -> Result<()> {
        rustix::io::write(&*self.ours, keys)?;
        Ok(())
    }

    /// Gives the window another size, of which the program hears by a signal.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        picture.resize(columns.into(), lines.into());
        Ok(tcsetwinsize(&*self.ours, size(columns, lines))?)
    }

    /// The program's process, or its parent's where the system made one.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the program has ended.
    ///
    /// # Errors
    ///
    /// When it does not within half a minute.
    pub async fn end(mut self) -> Result<Left> {
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await;
        let status = ended.with_context(|| format!("it goes on:\n{}", self.picture().text()))??;
        let restored = told(&tcgetattr(&self.theirs)?) == self.before;
        // Nobody is left on that side: what was written is read, and then no more comes.
        drop(self.theirs);
        self.reading.await?;
        let picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Left {
            status,
            restored,
            picture: picture.clone(),
        })
    }
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize {
        ws_row: lines,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// How the terminal is set, in a form that can be compared.
fn told(settings: &Termios) -> String {
    format!("{settings:?}")
}

fn read(ours: &OwnedFd, picture: &Mutex<Picture>) {
    let mut bytes = [0_u8; 4096];
    loop {
        match rustix::io::read(ours, &mut bytes) {
            Ok(0) => return,
            Ok(count) => picture
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take_in(&bytes[..count]),
            Err(rustix::io::Errno::INTR) => {}
            // The other side is closed.
            Err(_) => return,
        }
    }
}
