//! The question before a removal by pattern: how many keys match, and whether these are meant.
//!
//! At a terminal the answer is the number of keys, typed. In a script it is `--expect N` or `--yes`. Not in here: counting.

use cache_admin::Selection;

use crate::cli::Invalidate;
use crate::escape::escaped;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;

/// From so many keys on a removal at a terminal is asked about, whatever the pattern is.
const MANY: u64 = 1_000;

/// What has to be known before anything is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether at most so many keys match (`--expect`).
    AtMost(u64),
    /// The number of keys, typed at the terminal.
    Number,
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) matched: u64,
    /// Whether every primary was counted.
    pub(crate) is_complete: bool,
}

/// The question that a removal of `asked` needs, if any. Refuses a broad pattern that nobody can confirm.
pub(crate) fn question(
    asked: &Selection,
    arguments: &Invalidate,
    output: &Output,
) -> Result<Option<Question>, Failure> {
    if let Some(most) = arguments.expect {
        return Ok(Some(Question::AtMost(most)));
    }
    if arguments.yes {
        return Ok(None);
    }
    if output.can_ask() {
        return Ok(Some(Question::Number));
    }
    match asked.patterns().iter().find(|pattern| pattern.is_broad()) {
        None => Ok(None),
        Some(pattern) => Err(Failure::Refused(format!(
            "the pattern {pattern} is broad and there is no terminal to confirm it at, so nothing was removed; --expect N \
             confirms it if at most N keys match, --yes without counting; --dry-run counts what it matches"
        ))),
    }
}

impl Question {
    /// Goes on if `counted` is what is meant.
    pub(crate) fn answered(
        self,
        counted: Counted,
        asked: &Selection,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let Counted { matched, is_complete } = counted;
        let keys = human::keys(matched);
        match self {
            Self::AtMost(_) if !is_complete => Err(Failure::Refused(
                "--expect: not every primary could be counted, so nothing was removed".to_owned(),
            )),
            Self::AtMost(most) if matched > most => Err(Failure::Refused(format!(
                "--expect {most}: {keys} match, so nothing was removed"
            ))),
            Self::AtMost(_) => Ok(()),
            Self::Number => {
                let is_broad = asked.patterns().iter().any(|pattern| pattern.is_broad());
                if matched < MANY && is_complete && !is_broad {
                    return Ok(());
                }
                let patterns: Vec<String> = asked
                    .patterns()
                    .iter()
                    .map(|one| escaped(one.as_bytes()))
                    .collect();
                let least = if is_complete { "" } else { "at least " };
                let answer = output.ask_for(&format!(
                    "{} would remove {least}{keys}. Type the number of keys to go on:",
                    patterns.join(" ")
                ))?;
                if number(&answer) == Some(matched) {
                    Ok(())
                } else {
                    Err(Failure::Refused("not confirmed; nothing was removed".to_owned()))
                }
            }
        }
    }
}

/// That counting was stopped.
pub(crate) fn stopped() -> Failure {
    Failure::Service {
        exit: Exit::Cancelled,
        kind: "cancelled".to_owned(),
        message: "stopped while counting; nothing was removed".to_owned(),
    }
}

/// The number that somebody typed, perhaps with separators as it is shown.
fn number(text: &str) -> Option<u64> {
    let digits: String = text
        .chars()
        .filter(|one| !matches!(one, ',' | '_' | ' '))
        .collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_is_shown() {
        assert_eq!(number("1,234"), Some(1_234));
        assert_eq!(number("1234"), Some(1_234));
        for wrong in ["", "y", "yes", "-1", "1.5"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
