//! `cachectl users verify --elasticache FILE`.

use cache_admin::users::elasticache::{Difference, verify};
use cache_admin::users::{Trial, try_those};
use cache_core::config::Backend;
use serde_json::json;

use super::super::verify::{trial_json, trials_in_words};
use super::{Ended, Work};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Side, Table};

pub(super) async fn run(work: &Work, try_too: bool, output: &mut Output) -> Ended {
    let (tried, failed) = verify(&work.desired, &work.look().await?);
    let trials = if try_too { trials(work).await? } else { Vec::new() };
    if output.is_json() {
        output.json(&json!({
            "tried": tried,
            "failed": failed.iter().map(|one| json!({
                "subject": one.subject, "what": one.what, "expected": one.expected, "found": one.found,
            })).collect::<Vec<_>>(),
            "trials": trials.iter().map(trial_json).collect::<Vec<_>>(),
        }))?;
    } else {
        show(tried, &failed, &trials, output)?;
    }
    Ok(Exit::of(
        failed.is_empty() && trials.iter().all(|trial| trial.problem.is_none()),
    ))
}

/// Logs in at the cache that the `CACHE_*` variables name.
async fn trials(work: &Work) -> Result<Vec<Trial>, Failure> {
    match crate::profile::loaded()?.config.backend {
        Backend::Valkey(config) => {
            let is_there = |name: &str| work.desired.id_of(name).is_some();
            let trials = try_those(&work.declaration, &work.credentials, &config, &is_there);
            Ok(Box::pin(trials).await)
        }
        _ => Err(Failure::Usage(
            "--try logs in at the cache: set CACHE_MODE and CACHE_ADDRS to its endpoint, and CACHE_TLS"
                .to_owned(),
        )),
    }
}

fn show(tried: usize, failed: &[Difference], trials: &[Trial], output: &mut Output) -> std::io::Result<()> {
    if !failed.is_empty() {
        let columns = ["SUBJECT", "WHAT", "EXPECTED", "FOUND"];
        let mut table = Table::new(&columns.map(|name| (name, Side::Left)));
        for one in failed {
            table.row(vec![
                one.subject.clone(),
                one.what.to_owned(),
                one.expected.clone(),
                one.found.clone(),
            ]);
        }
        for line in table.lines(output.colours()) {
            output.line(&line)?;
        }
        output.line("")?;
    }
    output.line(&format!(
        "{tried} comparisons, {} not as declared; passwords are compared by number only",
        failed.len()
    ))?;
    trials_in_words(trials, output)?;
    output.flush()
}
