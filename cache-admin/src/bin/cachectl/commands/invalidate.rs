//! `cachectl invalidate PATTERN...`.

use std::io;

use cache_admin::jobs::{AuditAction, AuditRecord};
use cache_admin::{
    Checkpoint, CheckpointFile, Control, Counted, Engine, Options, Outcome, Report, Selection,
};
use cache_core::Pattern;
use serde_json::Value;

use super::{Ended, cache_for_audit, estimate, shown};
use crate::audit;
use crate::cli::Invalidate;
use crate::confirm::{self, question};
use crate::escape;
use crate::exit::Exit;
use crate::failure::{Failure, with_causes};
use crate::human;
use crate::output::Output;
use crate::progress::Progress;
use crate::stop;
use crate::summary;

pub(super) async fn run(engine: &Engine, prefix: &str, arguments: &Invalidate, output: &mut Output) -> Ended {
    let asked = arguments.filters.of(&arguments.patterns)?;
    let selection = asked.within(prefix)?;
    if let Some(draws) = arguments.estimate {
        let options = arguments.run.options();
        return estimate::run(engine, &selection, draws, options, output).await;
    }
    if arguments.dry_run {
        return dry_run(engine, prefix, &selection, arguments, output).await;
    }
    if let Some(question) = question(&asked, arguments, output)? {
        let counted = count(engine, &selection, arguments, output).await?;
        question.answered(counted, &asked, output)?;
    }
    let mut options = arguments.run.options().with_verify(!arguments.no_verify);
    if let Some(keys) = arguments.most_keys() {
        options = options.with_max_keys(keys);
    }
    let file = arguments.resume.clone().map(CheckpointFile::new);
    let begun = match &file {
        Some(file) => begun(engine, file, &selection, arguments.accept_cache).await?,
        None => None,
    };
    if let Some(file) = &file {
        options = options
            .with_checkpoints(file.clone())
            .with_accepted_cache(arguments.accept_cache);
    }
    let record = audit_record(engine, &asked).await;
    audit::begun(&record).await?;
    let report = watched(options, output, async |options| match &begun {
        Some(checkpoint) => engine.resume(checkpoint, &options).await,
        None => engine.invalidate(&selection, &options).await,
    })
    .await;
    audit::ended(record_of(record, &report), output).await;
    if let Outcome::Failed { error } = &report.outcome {
        return Err(Failure::from(error.clone()));
    }
    if let (Some(file), Outcome::Complete) = (&file, &report.outcome) {
        file.remove().await?;
    }
    unless_unread(show(&report, output))?;
    Ok(summary::exit(&report))
}

/// What the audit file says of a removal: the patterns as they were typed.
async fn audit_record(engine: &Engine, asked: &Selection) -> AuditRecord {
    let patterns = asked.patterns().iter().map(Pattern::as_bytes);
    let record = audit::record(AuditAction::PatternRemove).on_each("patterns", patterns);
    match cache_for_audit(engine).await {
        Some(cache) => record.on("cache", cache),
        None => record,
    }
}

/// How the removal ended.
fn record_of(record: AuditRecord, report: &Report) -> AuditRecord {
    let total = report.total();
    let record = record
        .number("matched", total.matched)
        .number("removed", total.removed);
    match &report.outcome {
        Outcome::Complete => record.result("complete"),
        Outcome::Partial { .. } => record.result("partial"),
        Outcome::Cancelled => record.result("cancelled"),
        Outcome::Failed { error } => record.result("failed").because(&with_causes(error)),
        _ => record.result("unknown"),
    }
}

/// Counts what would be removed, with bars where somebody watches.
async fn count(
    engine: &Engine,
    selection: &Selection,
    arguments: &Invalidate,
    output: &mut Output,
) -> Result<confirm::Counted, Failure> {
    let counting = async |options: Options| engine.count(selection, 0, &options).await;
    let report = watched(arguments.run.options(), output, counting).await.report;
    match &report.outcome {
        Outcome::Failed { error } => Err(Failure::from(error.clone())),
        Outcome::Cancelled => Err(confirm::stopped()),
        outcome => Ok(confirm::Counted {
            matched: report.total().matched,
            is_complete: matches!(outcome, Outcome::Complete),
        }),
    }
}

/// What another process has left in `file` of a removal of `selection`.
async fn begun(
    engine: &Engine,
    file: &CheckpointFile,
    selection: &Selection,
    accept_cache: bool,
) -> Result<Option<Checkpoint>, Failure> {
    let Some(checkpoint) = file.load().await? else {
        return Ok(None);
    };
    if checkpoint.selection()? != *selection {
        return Err(Failure::Refused(
            "the file of --resume is of another pattern or of other filters; nothing was removed".to_owned(),
        ));
    }
    let here = engine.identity().await?;
    match checkpoint.check_cache(&here) {
        Err(other) if !accept_cache => Err(Failure::Refused(format!(
            "the file of --resume is of another cache; nothing was removed; --accept-cache goes on all the same: {other}"
        ))),
        _ => Ok(Some(checkpoint)),
    }
}

fn show(report: &Report, output: &mut Output) -> io::Result<()> {
    if output.is_json() {
        output.json(&summary::json(report))
    } else {
        summary::table(report, true, output)?;
        let done = format!(
            "{} removed on {} in {}",
            human::keys(report.total().removed),
            worked_on(report),
            human::time(report.elapsed)
        );
        ended(report, &done, output)?;
        say_what_trackers_hear(report.total().removed, output);
        Ok(())
    }
}

/// That nobody reads the report any more changes nothing about what was done: the exit code tells it.
fn unless_unread(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

async fn dry_run(
    engine: &Engine,
    prefix: &str,
    selection: &Selection,
    arguments: &Invalidate,
    output: &mut Output,
) -> Ended {
    let options = arguments.run.options();
    let count = async |options: Options| engine.count(selection, arguments.sample, &options).await;
    let Counted {
        report, mut sample, ..
    } = watched(options, output, count).await;
    if let Outcome::Failed { error } = &report.outcome {
        return Err(Failure::from(error.clone()));
    }
    sample.sort();
    if output.is_json() {
        let mut value = summary::json(&report);
        value["dry_run"] = true.into();
        value["sample"] = sample
            .iter()
            .map(|key| Value::Object(escape::object("key", shown(key, prefix))))
            .collect();
        output.json(&value)?;
        return Ok(summary::exit(&report));
    }
    summary::table(&report, false, output)?;
    let matched = report.total().matched;
    if !sample.is_empty() {
        let some = human::number(u64::try_from(sample.len()).unwrap_or(u64::MAX));
        output.line(&format!("{some} of them, at random:"))?;
        for key in &sample {
            output.line(&format!("  {}", escape::escaped(shown(key, prefix))))?;
        }
        output.line("")?;
    }
    let primaries = worked_on(&report);
    ended(
        &report,
        &format!("{} would be removed on {primaries}", human::keys(matched)),
        output,
    )?;
    say_what_trackers_hear(matched, output);
    if report.slots_moved > 0 {
        output.warning("slots changed their primary meanwhile; their keys may be counted twice");
    }
    Ok(summary::exit(&report))
}

/// From so many keys on it is worth saying what else there is.
const MANY: u64 = 100_000;

/// What a large removal costs those that track their keys, and what does not.
pub(super) fn say_what_trackers_hear(keys: u64, output: &mut Output) {
    if keys >= MANY {
        output.note(
            "clients that track hear of every key that goes; generation bump makes a namespace stale at once, and the removal can follow at leisure",
        );
    }
}

/// `3 primaries`, or `2 of 3 primaries` where one failed.
fn worked_on(report: &Report) -> String {
    let all = human::primaries(report.primaries.len());
    match report
        .primaries
        .iter()
        .filter(|primary| primary.error.is_none())
        .count()
    {
        done if done == report.primaries.len() => all,
        // One that was replaced in a failover left nothing undone.
        done if matches!(report.outcome, Outcome::Complete) => human::primaries(done),
        done => format!("{done} of {all}"),
    }
}

/// The last line: how it ended.
fn ended(report: &Report, done: &str, output: &mut Output) -> io::Result<()> {
    let colours = output.colours();
    let name = report.outcome.name();
    let name = match &report.outcome {
        Outcome::Complete => colours.green(name),
        _ => colours.yellow(name),
    };
    output.line(&format!("{name}: {done}"))?;
    unless_unread(output.flush())?;
    summary::stopped(report, output);
    if report.uncounted > 0 {
        output.warning(&format!(
            "an earlier process was killed; up to {} may be gone besides",
            human::keys(report.uncounted)
        ));
    }
    summary::gaps(report, output);
    Ok(())
}

/// Runs `work` so that Ctrl-C stops it with a report, with bars where somebody watches.
pub(super) async fn watched<R>(options: Options, output: &Output, work: impl AsyncFnOnce(Options) -> R) -> R {
    let cancel = Control::new();
    let mut options = options.with_control(cancel.clone());
    let progress = Progress::for_output(output);
    if let Some(progress) = &progress {
        options = options.with_observer(progress.observer());
    }
    let mut run = Box::pin(work(options));
    let result = tokio::select! {
        result = &mut run => result,
        () = stop::requested() => {
            cancel.cancel();
            if let Some(progress) = &progress {
                progress.stopping();
            }
            tokio::select! {
                result = run => result,
                // Whoever asks twice does not want to wait for a report.
                () = stop::requested() => std::process::exit(i32::from(Exit::Cancelled as u8)),
            }
        }
    };
    if let Some(progress) = progress {
        progress.finish().await;
    }
    result
}
