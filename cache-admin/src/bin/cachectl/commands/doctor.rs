//! `cachectl doctor`.

use std::time::Duration;

use cache_admin::{Diagnosis, Doctor, Finding, Health};
use cache_core::config::Loaded;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::Ended;
use crate::cli::duration;
use crate::escape::plain;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::screen;
use crate::stop;

/// Into fewer columns nothing is wrapped.
const LEAST_ROOM: usize = 20;

#[derive(Args, Debug)]
pub(crate) struct Examine {
    /// What the few keys begin with that it writes, for users that are allowed no others [default: cachectl-doctor:]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// How long each check may take [default: 10s; through a service 4s, which is also the most there]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,
}

/// What was found, here or by a service.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    worst: Health,
    findings: Vec<Said>,
}

/// What one check found; that of a service may be one which this version does not know.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    check: String,
    state: Health,
    seen: String,
    why: String,
    advice: Option<String>,
}

pub(super) async fn run(arguments: Examine, output: &mut Output) -> Ended {
    let Loaded { config, warnings, .. } = crate::profile::loaded()?;
    for warning in warnings {
        output.warning(&warning.to_string());
    }
    let mut doctor = Doctor::new(config);
    if let Some(deadline) = arguments.deadline {
        doctor = doctor.with_deadline(deadline);
    }
    if let Some(prefix) = arguments.prefix {
        doctor = doctor.with_key_prefix(prefix);
    }
    let examination = Box::pin(doctor.examine());
    let diagnosis = tokio::select! {
        diagnosis = examination => diagnosis,
        () = stop::requested() => return Ok(Exit::Cancelled),
    };
    told(&diagnosis.into(), output)
}

/// What was found, and what it means for whoever asked.
pub(crate) fn told(told: &Told, output: &mut Output) -> Ended {
    if output.is_json() {
        output.json(told)?;
    } else {
        show(told, output)?;
    }
    Ok(exit(told))
}

fn show(told: &Told, output: &mut Output) -> Result<(), Failure> {
    let names = told.findings.iter().map(|finding| finding.check.len());
    let width = names.max().unwrap_or(0);
    let colours = output.colours();
    let columns = if output.is_terminal() {
        screen::columns()
    } else {
        None
    };
    for finding in &told.findings {
        let state = format!("{:<7}", finding.state.name());
        let state = match finding.state {
            Health::Ok => colours.green(&state),
            Health::Warn => colours.yellow(&state),
            Health::Fail => colours.red(&state),
            Health::Skipped => colours.dim(&state),
        };
        let indent = width + 11;
        let mut seen = wrapped(&plain(&finding.seen), indent, columns).into_iter();
        let first = seen.next().unwrap_or_default();
        output.line(&format!("{state}  {:<width$}  {first}", plain(&finding.check)))?;
        let mut rest: Vec<String> = seen.collect();
        if finding.state >= Health::Warn {
            let advice = finding.advice.iter().map(|advice| ("do:  ", advice));
            for (label, text) in std::iter::once(("why: ", &finding.why)).chain(advice) {
                let lines = wrapped(&plain(text), indent + label.len(), columns)
                    .into_iter()
                    .enumerate();
                rest.extend(lines.map(|(number, line)| match number {
                    0 => format!("{label}{line}"),
                    _ => format!("     {line}"),
                }));
            }
        }
        for line in rest {
            output.line(&format!("{:indent$}{line}", ""))?;
        }
    }
    output.line("")?;
    output.line(&counted(&told.findings))?;
    Ok(())
}

/// The text in lines that fit behind `indent` into so many columns; as one line where they are not known, or too few.
fn wrapped(text: &str, indent: usize, columns: Option<usize>) -> Vec<String> {
    let room = columns.map_or(0, |columns| columns.saturating_sub(indent));
    if room < LEAST_ROOM {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `14 ok, 1 warning, 1 skipped`.
fn counted(findings: &[Said]) -> String {
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let plural = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let (failed, warned) = (count(Health::Fail), count(Health::Warn));
    let mut parts = vec![format!("{} ok", count(Health::Ok))];
    if failed > 0 {
        parts.push(plural(failed, "failure"));
    }
    if warned > 0 {
        parts.push(plural(warned, "warning"));
    }
    match count(Health::Skipped) {
        0 => {}
        skipped => parts.push(format!("{skipped} skipped")),
    }
    parts.join(", ")
}

/// That of the first failure, or that of warnings alone.
fn exit(told: &Told) -> Exit {
    let failed = told.findings.iter().find(|finding| finding.state == Health::Fail);
    match failed.map(|finding| finding.check.as_str()) {
        Some("configuration") => Exit::Config,
        Some("names" | "tcp" | "tls" | "primaries" | "cluster-state" | "slots") => Exit::Unavailable,
        Some("auth" | "permissions") => Exit::Refused,
        Some(_) => Exit::Failed,
        None if told.worst == Health::Warn => Exit::Warnings,
        None => Exit::Ok,
    }
}

impl From<Diagnosis> for Told {
    fn from(diagnosis: Diagnosis) -> Self {
        Self {
            worst: diagnosis.worst(),
            findings: diagnosis.findings.into_iter().map(Said::from).collect(),
        }
    }
}

impl From<Finding> for Said {
    fn from(finding: Finding) -> Self {
        Self {
            check: finding.check.to_owned(),
            state: finding.state,
            seen: finding.seen,
            why: finding.why.to_owned(),
            advice: finding.advice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_goes_on_below_and_no_word_is_lost() {
        let text = "one two three four-is-longer-than-a-line-may-be five six seven";
        let lines = wrapped(text, 10, Some(32));
        assert_eq!(
            lines,
            [
                "one two three",
                "four-is-longer-than-a-line-may-be",
                "five six seven"
            ]
        );
        assert_eq!(lines.join(" "), text);
        for columns in [None, Some(0), Some(29)] {
            assert_eq!(wrapped(text, 10, columns), [text]);
        }
    }
}
