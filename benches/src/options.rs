//! How long to measure.

use std::time::Duration;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds in which the contenders take turns.
    pub rounds: usize,
    /// How long one contender is under load in one round.
    pub slice: Duration,
}

impl Options {
    /// For a look.
    pub const QUICK: Self = Self {
        rounds: 3,
        slice: Duration::from_millis(150),
    };

    /// For numbers worth quoting.
    pub const FULL: Self = Self {
        rounds: 9,
        slice: Duration::from_millis(400),
    };

    /// From the command line: [`QUICK`](Self::QUICK) with `--quick`, [`FULL`](Self::FULL) without.
    #[must_use]
    pub fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--quick") {
            Self::QUICK
        } else {
            Self::FULL
        }
    }
}
