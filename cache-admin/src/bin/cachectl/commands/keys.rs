//! `cachectl keys [PATTERN]...`.

use cache_admin::{Engine, Outcome};
use serde_json::{Value, json};

use super::{Ended, shown};
use crate::cli::Keys;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::summary;

pub(super) async fn run(engine: &Engine, prefix: &str, arguments: &Keys, output: &mut Output) -> Ended {
    let selection = arguments.filters.of(&arguments.patterns)?.within(prefix)?;
    let options = arguments.run.options();
    let limit = (!arguments.all).then_some(arguments.limit);
    let mut listing = engine.list(selection, limit, &options);
    let mut listed = 0_u64;
    while let Some(key) = listing.next().await {
        listed += 1;
        let key = shown(&key, prefix);
        if output.is_json() {
            output.json(&Value::Object(escape::object("key", key)))?;
        } else {
            output.line(&escape::escaped(key))?;
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
