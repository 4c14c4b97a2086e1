//! `cachectl keys [PATTERN]...`.

use cache_admin::{Engine, Outcome};
use cache_core::Bytes;
use serde_json::{Value, json};

use super::{Ended, shown};
use crate::cli::Keys;
use crate::columns::{self, Column, Known};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::summary;

/// Keys that are asked about in one go.
const AT_ONCE: usize = 250;

pub(super) async fn run(engine: &Engine, prefix: &str, arguments: &Keys, output: &mut Output) -> Ended {
    let selection = arguments.filters.of(&arguments.patterns)?.within(prefix)?;
    let options = arguments.run.options();
    let limit = (!arguments.all).then_some(arguments.limit);
    let mut listing = engine.list(selection, limit, &options);
    let columns = &arguments.columns;
    columns::header(columns, output)?;
    let at_once = if columns.is_empty() { 1 } else { AT_ONCE };
    let (mut listed, mut keys, mut ended) = (0_u64, Vec::new(), false);
    while !ended {
        match listing.next().await {
            Some(key) => keys.push(key),
            None => ended = true,
        }
        if keys.len() >= at_once || ended {
            listed += show(engine, prefix, columns, &keys, output).await?;
            keys.clear();
        }
    }
    let has_more = listing.has_more();
    let report = listing.finish().await;
    // With more to come it was stopped at the limit, as asked for.
    let (outcome, exit) = if has_more {
        ("limited", Exit::Ok)
    } else {
        (report.outcome.name(), summary::exit(&report))
    };
    if let (Outcome::Failed { error }, false) = (&report.outcome, has_more) {
        return Err(Failure::from(error.clone()));
    }
    if output.is_json() {
        let mut end = summary::json(&report);
        if let Some(gaps) = end.get_mut("gaps").map(Value::take) {
            output.json(&json!({ "end": { "outcome": outcome, "listed": listed, "has_more": has_more, "gaps": gaps } }))?;
        } else {
            output.json(&json!({ "end": { "outcome": outcome, "listed": listed, "has_more": has_more } }))?;
        }
        return Ok(exit);
    }
    output.flush()?;
    if has_more {
        output.note(&format!(
            "{} listed and there are more; --limit N or --all lists them",
            human::keys(listed)
        ));
    } else if output.is_watched() {
        output.note(&human::keys(listed));
    }
    if !has_more {
        summary::gaps(&report, output);
    }
    Ok(exit)
}

/// Shows keys, with what `columns` ask for; how many of them were there.
async fn show(
    engine: &Engine,
    prefix: &str,
    columns: &[Column],
    keys: &[Bytes],
    output: &mut Output,
) -> Result<u64, Failure> {
    if columns.is_empty() {
        for key in keys {
            columns::show(columns, shown(key, prefix), &Known::default(), output)?;
        }
        return Ok(u64::try_from(keys.len()).unwrap_or(u64::MAX));
    }
    let mut listed = 0;
    let described = engine.describe(keys, columns::traits(columns)).await?;
    for (key, described) in keys.iter().zip(described) {
        // What is gone since it was listed is not shown.
        if let Some(described) = described {
            columns::show(columns, shown(key, prefix), &Known::from(&described), output)?;
            listed += 1;
        }
    }
    Ok(listed)
}
