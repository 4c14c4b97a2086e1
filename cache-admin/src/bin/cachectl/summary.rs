//! A run's report: as a table with an outcome, as JSON, as an exit code.

use std::io;

use cache_admin::{Counts, Gap, Outcome, PrimaryReport, Report};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::{exit_of, with_causes};
use crate::human;
use crate::output::Output;
use crate::table::{Side, Table};

/// The exit code of a report.
pub(crate) const fn exit(report: &Report) -> Exit {
    match &report.outcome {
        Outcome::Complete => Exit::Ok,
        Outcome::Cancelled => Exit::Cancelled,
        Outcome::Failed { error } => exit_of(error),
        _ => Exit::Partial,
    }
}

/// A report in JSON.
pub(crate) fn json(report: &Report) -> Value {
    let total = report.total();
    let mut value = json!({
        "outcome": report.outcome.name(),
        "removed": total.removed,
        "total": counts(total),
        "primaries": report.primaries.iter().map(primary).collect::<Vec<_>>(),
        "passes": report.passes,
        "slots_moved": report.slots_moved,
        "elapsed_ms": millis(report.elapsed),
    });
    match report.selection.patterns() {
        [pattern] => crate::escape::put_value(&mut value, "pattern", pattern.as_bytes()),
        patterns => {
            value["patterns"] = patterns
                .iter()
                .map(|pattern| Value::Object(crate::escape::object("pattern", pattern.as_bytes())))
                .collect();
        }
    }
    if report.uncounted > 0 {
        value["uncounted"] = report.uncounted.into();
    }
    match &report.outcome {
        Outcome::Partial { gaps } => value["gaps"] = gaps.iter().map(gap).collect(),
        Outcome::Failed { error } => value["error"] = with_causes(error).into(),
        _ => {}
    }
    value
}

fn counts(counts: Counts) -> Value {
    json!({
        "matched": counts.matched,
        "removed": counts.removed,
        "gone": counts.gone,
        "orphans": counts.orphans,
        "moved": counts.moved,
        "late": counts.late,
        "pages": counts.pages,
    })
}

fn primary(primary: &PrimaryReport) -> Value {
    let mut value = counts(primary.counts);
    value["address"] = (*primary.address).into();
    value["keys_before"] = primary.keys_before.into();
    value["keys_after"] = primary.keys_after.into();
    value["elapsed_ms"] = millis(primary.elapsed);
    value["stopped"] = primary.stopped.into();
    value["error"] = primary.error.as_ref().map(with_causes).into();
    value
}

fn gap(gap: &Gap) -> Value {
    let slots = gap.slots.as_ref().map(|slots| {
        slots
            .ranges()
            .iter()
            .map(|range| json!([range.start(), range.end()]))
            .collect::<Vec<_>>()
    });
    json!({ "primary": gap.primary.as_deref(), "slots": slots, "reason": gap.reason.to_string() })
}

fn millis(time: std::time::Duration) -> Value {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into()
}

/// A count that is shown only where it is not nothing.
type Rare = (&'static str, fn(&Counts) -> u64);

const RARE: [Rare; 4] = [
    ("ALREADY GONE", |counts| counts.gone),
    ("ORPHANS", |counts| counts.orphans),
    ("MOVED", |counts| counts.moved),
    ("LATE", |counts| counts.late),
];

/// How it went on one primary of a run. Where the run is complete, one that failed was replaced in a failover, and all
/// its slots were done elsewhere.
pub(crate) const fn result(is_complete: bool, is_stopped: bool, has_failed: bool) -> &'static str {
    match (is_stopped, has_failed) {
        (true, _) => "stopped",
        (false, true) if is_complete => "replaced",
        (false, true) => "failed",
        (false, false) => "ok",
    }
}

/// The table of counts per primary.
pub(crate) fn table(report: &Report, removes: bool, output: &mut Output) -> io::Result<()> {
    if report.primaries.is_empty() {
        return Ok(());
    }
    let total = report.total();
    let rare: Vec<Rare> = RARE.into_iter().filter(|(_, count)| count(&total) > 0).collect();
    let mut columns = vec![
        ("PRIMARY", Side::Left),
        ("KEYS BEFORE", Side::Right),
        ("MATCHED", Side::Right),
    ];
    if removes {
        columns.extend([("REMOVED", Side::Right), ("KEYS AFTER", Side::Right)]);
    }
    columns.extend(rare.iter().map(|(name, _)| (*name, Side::Right)));
    columns.extend([("TIME", Side::Right), ("RESULT", Side::Left)]);
    let mut table = Table::new(&columns);
    for primary in &report.primaries {
        let is_complete = matches!(report.outcome, Outcome::Complete);
        let result = result(is_complete, primary.stopped, primary.error.is_some());
        let (before, after) = (primary.keys_before, primary.keys_after);
        let time = human::time(primary.elapsed);
        table.row(row(
            &primary.address,
            primary.counts,
            (before, after),
            &rare,
            removes,
            (&time, result),
        ));
    }
    if report.primaries.len() > 1 {
        let sum = |keys: fn(&PrimaryReport) -> Option<u64>| report.primaries.iter().map(keys).sum();
        let keys = (
            sum(|primary| primary.keys_before),
            sum(|primary| primary.keys_after),
        );
        let time = human::time(report.elapsed);
        table.row(row(
            "total",
            total,
            keys,
            &rare,
            removes,
            (&time, report.outcome.name()),
        ));
    }
    for line in table.lines(output.colours()) {
        output.line(&line)?;
    }
    output.line("")
}

fn row(
    name: &str,
    counts: Counts,
    (before, after): (Option<u64>, Option<u64>),
    rare: &[Rare],
    removes: bool,
    (time, result): (&str, &str),
) -> Vec<String> {
    let known = |keys: Option<u64>| keys.map_or_else(|| "?".to_owned(), human::number);
    let mut cells = vec![name.to_owned(), known(before), human::number(counts.matched)];
    if removes {
        cells.extend([human::number(counts.removed), known(after)]);
    }
    cells.extend(rare.iter().map(|(_, count)| human::number(count(&counts))));
    cells.extend([time.to_owned(), result.to_owned()]);
    cells
}

/// Where it was cut short in a removal of which nobody knows the end, on standard error.
pub(crate) fn stopped(report: &Report, output: &mut Output) {
    for primary in report.primaries.iter().filter(|primary| primary.stopped) {
        if let Some(error) = &primary.error {
            let (address, error) = (&primary.address, with_causes(error));
            output.warning(&format!(
                "stopped on {address}; up to a page of keys may be gone besides: {error}"
            ));
        }
    }
}

/// What was not done, on standard error, a line for each gap.
pub(crate) fn gaps(report: &Report, output: &mut Output) {
    let Outcome::Partial { gaps } = &report.outcome else {
        return;
    };
    for gap in gaps {
        let reason = match &gap.reason {
            cache_admin::GapReason::Failed(error) => with_causes(error),
            cache_admin::GapReason::Unproved(error) => {
                format!("keys on their way there may be left: {}", with_causes(error))
            }
            reason => reason.to_string(),
        };
        let mut place = gap
            .slots
            .as_ref()
            .map_or_else(|| "all keys".to_owned(), |slots| format!("slots {slots}"));
        if let Some(primary) = &gap.primary {
            place.push_str(&format!(" on {primary}"));
        }
        output.warning(&format!("not done: {place}: {reason}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_primary_of_a_complete_run_has_failed() {
        assert_eq!(result(true, false, true), "replaced");
        assert_eq!(result(false, false, true), "failed");
        assert_eq!(
            (result(true, false, false), result(false, true, true)),
            ("ok", "stopped")
        );
    }
}
