//! `cachectl invalidate PATTERN... --dry-run --estimate`.

use cache_admin::{Engine, Estimate, Method, Options, Selection};
use serde_json::{Value, json};

use super::Ended;
use super::invalidate::{say_what_trackers_hear, watched};
use crate::escape;
use crate::exit::Exit;
use crate::human;
use crate::output::Output;

pub(super) async fn run(
    engine: &Engine,
    selection: &Selection,
    draws: u64,
    options: Options,
    output: &mut Output,
) -> Ended {
    let estimate = async |options: Options| engine.estimate(selection, draws, &options).await;
    let estimate = watched(options, output, estimate).await?;
    if output.is_json() {
        output.json(&as_json(selection, &estimate))?;
        return Ok(Exit::Ok);
    }
    output.line(&as_text(&estimate))?;
    output.flush()?;
    say_what_trackers_hear(estimate.matched, output);
    Ok(Exit::Ok)
}

fn as_text(estimate: &Estimate) -> String {
    let all = human::number(estimate.keys);
    let matched = human::keys(estimate.matched);
    match estimate.method {
        Method::Drawn { keys, matched: hits } => format!(
            "estimated: about {matched} would be removed, {} to {} in 95 of 100 cases: {} of {} drawn at random from {all} match",
            human::number(*estimate.range.start()),
            human::number(*estimate.range.end()),
            human::number(hits),
            human::keys(keys),
        ),
        _ => format!("exact: {matched} of {all} would be removed: they were counted"),
    }
}

fn as_json(selection: &Selection, estimate: &Estimate) -> Value {
    let (method, drawn, hits) = match estimate.method {
        Method::Drawn { keys, matched } => ("estimated", Some(keys), Some(matched)),
        _ => ("exact", None, None),
    };
    json!({
        "dry_run": true,
        "patterns": selection
            .patterns()
            .iter()
            .map(|pattern| Value::Object(escape::object("pattern", pattern.as_bytes())))
            .collect::<Vec<_>>(),
        "method": method,
        "matched": estimate.matched,
        "range": [estimate.range.start(), estimate.range.end()],
        "keys": estimate.keys,
        "drawn": drawn,
        "drawn_matched": hits,
    })
}
