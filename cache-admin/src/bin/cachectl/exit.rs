//! What the exit codes mean. The help text and `docs/cachectl.md` say the same.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; found; true.
    Ok = 0,
    /// A miss, no such key, nothing removed, not stored: false.
    False = 1,
    /// Arguments that no backend takes. Clap uses the same code.
    Usage = 2,
    /// Some of the work is left: primaries or slots that could not be worked on, keys beyond a limit.
    Partial = 3,
    /// The cache cannot be reached or does not answer in time.
    Unavailable = 4,
    /// The server refuses the user or the command, or nobody confirmed.
    Refused = 5,
    /// The configuration is wrong.
    Config = 6,
    /// Any other failure.
    Failed = 7,
    /// The doctor found nothing but warnings.
    Warnings = 8,
    /// Stopped before its end: as shells count Ctrl-C.
    Cancelled = 130,
}

impl Exit {
    /// [`Exit::Ok`] for yes, [`Exit::False`] for no.
    pub(crate) const fn of(yes: bool) -> Self {
        if yes { Self::Ok } else { Self::False }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
