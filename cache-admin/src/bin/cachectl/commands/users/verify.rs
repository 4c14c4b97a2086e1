//! `cachectl users verify FILE`.

use cache_admin::users::{Expected, Trial, Verified, try_out, verify};
use cache_core::config::Backend;
use serde_json::{Value, json};

use super::{Ended, Work};
use crate::exit::Exit;
use crate::failure::with_causes;
use crate::output::Output;
use crate::table::{Side, Table};

pub(super) async fn run(work: &Work, try_too: bool, output: &mut Output) -> Ended {
    let verified = verify(&work.declaration, &work.nodes).await;
    let trials = if try_too {
        match crate::profile::loaded()?.config.backend {
            Backend::Valkey(config) => Box::pin(try_out(&work.declaration, &work.credentials, &config)).await,
            _ => Vec::new(),
        }
    } else {
        Vec::new()
    };
    if output.is_json() {
        output.json(&as_json(&verified, &trials))?;
    } else {
        show(&verified, &trials, output)?;
    }
    let right = verified.failed.is_empty() && trials.iter().all(|trial| trial.problem.is_none());
    Ok(if !right {
        Exit::False
    } else if verified.unreached.is_empty() {
        Exit::Ok
    } else {
        Exit::Partial
    })
}

fn show(verified: &Verified, trials: &[Trial], output: &mut Output) -> std::io::Result<()> {
    if !verified.failed.is_empty() {
        let columns = ["USER", "COMMAND", "EXPECTED", "FOUND", "NODE"];
        let mut table = Table::new(&columns.map(|name| (name, Side::Left)));
        for row in &verified.failed {
            table.row(vec![
                row.user.clone(),
                row.command.clone(),
                expected(row.expected).to_owned(),
                row.found.clone(),
                row.address.clone(),
            ]);
        }
        for line in table.lines(output.colours()) {
            output.line(&line)?;
        }
        output.line("")?;
    }
    output.line(&format!(
        "{} dry runs, {} not as they ought to be",
        verified.tried,
        verified.failed.len()
    ))?;
    trials_in_words(trials, output)?;
    output.flush()?;
    for (address, error) in &verified.unreached {
        output.warning(&format!("not tried: {address}: {}", with_causes(error)));
    }
    Ok(())
}

/// A line for each trial.
pub(super) fn trials_in_words(trials: &[Trial], output: &mut Output) -> std::io::Result<()> {
    for trial in trials {
        let password = trial
            .password
            .map_or_else(String::new, |number| format!(" with password {number}"));
        let result = match (&trial.problem, trial.password) {
            (Some(problem), _) => problem.as_str(),
            (None, Some(_)) => "ok",
            (None, None) => "not tried: only the hash of its password is known",
        };
        output.line(&format!("{}{password}: {result}", trial.user))?;
    }
    Ok(())
}

pub(super) fn trial_json(trial: &Trial) -> Value {
    json!({ "user": trial.user, "password": trial.password, "problem": trial.problem })
}

const fn expected(expected: Expected) -> &'static str {
    match expected {
        Expected::Allowed => "allowed",
        Expected::Denied => "denied",
    }
}

fn as_json(verified: &Verified, trials: &[Trial]) -> Value {
    let failed = verified.failed.iter().map(|row| {
        json!({
            "address": row.address,
            "user": row.user,
            "command": row.command,
            "expected": expected(row.expected),
            "found": row.found,
        })
    });
    let unreached = verified.unreached.iter();
    let unreached =
        unreached.map(|(address, error)| json!({ "address": address, "error": with_causes(error) }));
    let trials = trials.iter().map(trial_json);
    json!({
        "tried": verified.tried,
        "failed": failed.collect::<Vec<_>>(),
        "unreached": unreached.collect::<Vec<_>>(),
        "trials": trials.collect::<Vec<_>>(),
    })
}
