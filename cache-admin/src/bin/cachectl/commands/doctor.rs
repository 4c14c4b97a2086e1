//! `cachectl doctor`.

use std::time::Duration;

use cache_admin::{Diagnosis, Doctor, Finding, Health};
use cache_core::config::Loaded;
use clap::Args;
use serde_json::json;

use super::Ended;
use crate::cli::duration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Args, Debug)]
pub(crate) struct Examine {
    /// What the few keys begin with that it writes, for users that are allowed no others [default: cachectl-doctor:]
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// How long each check may take
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    deadline: Duration,
}

pub(super) async fn run(arguments: Examine, output: &mut Output) -> Ended {
    let Loaded { config, warnings, .. } = Loaded::from_env()?;
    for warning in warnings {
        output.warning(&warning.to_string());
    }
    let mut doctor = Doctor::new(config).with_deadline(arguments.deadline);
    if let Some(prefix) = arguments.prefix {
        doctor = doctor.with_key_prefix(prefix);
    }
    let examination = Box::pin(doctor.examine());
    let diagnosis = tokio::select! {
        diagnosis = examination => diagnosis,
        _ = tokio::signal::ctrl_c() => return Ok(Exit::Cancelled),
    };
    if output.is_json() {
        output.json(&json!({ "worst": diagnosis.worst(), "findings": diagnosis.findings }))?;
    } else {
        show(&diagnosis, output)?;
    }
    Ok(exit(&diagnosis))
}

fn show(diagnosis: &Diagnosis, output: &mut Output) -> Result<(), Failure> {
    let names = diagnosis.findings.iter().map(|finding| finding.check.len());
    let width = names.max().unwrap_or(0);
    let colours = output.colours();
    for finding in &diagnosis.findings {
        let state = format!("{:<7}", finding.state.name());
        let state = match finding.state {
            Health::Ok => colours.green(&state),
            Health::Warn => colours.yellow(&state),
            Health::Fail => colours.red(&state),
            Health::Skipped => colours.dim(&state),
        };
        output.line(&format!("{state}  {:<width$}  {}", finding.check, finding.seen))?;
        if finding.state >= Health::Warn {
            let indent = " ".repeat(width + 11);
            output.line(&format!("{indent}why: {}", finding.why))?;
            if let Some(advice) = &finding.advice {
                output.line(&format!("{indent}do:  {advice}"))?;
            }
        }
    }
    output.line("")?;
    output.line(&counted(&diagnosis.findings))?;
    Ok(())
}

/// `14 ok, 1 warning, 1 skipped`.
fn counted(findings: &[Finding]) -> String {
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

/// That of the first failure; warnings alone are 3, as where a result is partial.
fn exit(diagnosis: &Diagnosis) -> Exit {
    let failed = diagnosis
        .findings
        .iter()
        .find(|finding| finding.state == Health::Fail);
    match failed.map(|finding| finding.check) {
        Some("configuration") => Exit::Config,
        Some("names" | "tcp" | "tls" | "primaries" | "cluster-state" | "slots") => Exit::Unavailable,
        Some("auth" | "permissions") => Exit::Refused,
        Some(_) => Exit::Failed,
        None if diagnosis.worst() == Health::Warn => Exit::Partial,
        None => Exit::Ok,
    }
}
