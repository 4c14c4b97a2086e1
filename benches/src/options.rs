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
    /// From the command line: `--quick` for a look, nothing for numbers worth quoting.
    #[must_use]
    pub fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--quick") {
            Self {
                rounds: 3,
                slice: Duration::from_millis(150),
            }
        } else {
            Self {
                rounds: 9,
                slice: Duration::from_millis(400),
            }
        }
    }
}
