//! A job as it is shown: watched with bars, its counts as a table, how it ended, its exit code.

use std::io;
use std::time::Duration;

use cache_admin::jobs::{Job, JobPrimary, JobState, Mode};

use crate::escape::plain;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::progress::Progress;
use crate::source::Source;
use crate::stop;
use crate::summary;
use crate::table::{Side, Table};

/// The exit code of a job.
pub(crate) const fn exit(job: &Job) -> Exit {
    match job.state {
        JobState::Partial => Exit::Partial,
        JobState::Cancelled => Exit::Cancelled,
        JobState::Failed => Exit::Failed,
        // Its process is gone, and it may be taken up again.
        JobState::Interrupted => Exit::Unavailable,
        _ => Exit::Ok,
    }
}

/// Watches a job to its end, with bars where somebody looks. Ctrl-C cancels it; a second one leaves at once.
pub(crate) async fn watched(source: &Source<'_>, job: Job, output: &Output) -> Result<Job, Failure> {
    let id = job.id;
    let mut followed = Box::pin(followed(source, job, output));
    tokio::select! {
        job = &mut followed => job,
        () = stop::requested() => {
            source.cancel(id).await?;
            tokio::select! {
                job = followed => job,
                // Whoever asks twice does not want to wait for a report.
                () = stop::requested() => std::process::exit(i32::from(Exit::Cancelled as u8)),
            }
        }
    }
}

/// The same, without Ctrl-C.
pub(crate) async fn followed(source: &Source<'_>, job: Job, output: &Output) -> Result<Job, Failure> {
    if job.state.is_ended() {
        return Ok(job);
    }
    let progress = Progress::for_output(output);
    let followed = follow(source, &job, progress.as_ref()).await;
    if let Some(progress) = progress {
        progress.finish().await;
    }
    followed?;
    source.get(job.id).await
}

async fn follow(source: &Source<'_>, job: &Job, progress: Option<&Progress>) -> Result<(), Failure> {
    let mut events = source.events(job.id, 0)?;
    while let Some(event) = events.next().await? {
        if let Some(progress) = progress {
            progress.take_in(&event.what);
        }
    }
    Ok(())
}

/// What it did.
pub(crate) fn show(job: &Job, output: &mut Output) -> io::Result<()> {
    if output.is_json() {
        return output.json(job);
    }
    table(job, output)?;
    let removes = job.mode == Mode::Execute;
    if !job.sample.is_empty() {
        let some = human::number(u64::try_from(job.sample.len()).unwrap_or(u64::MAX));
        output.line(&format!("{some} of them, at random:"))?;
        for key in &job.sample {
            output.line(&format!("  {}", plain(key)))?;
        }
        output.line("")?;
    }
    let keys = human::keys(if removes {
        job.progress.removed
    } else {
        job.progress.matched
    });
    let did = match (job.mode, job.state.is_ended()) {
        (Mode::Execute, true) => "removed",
        (Mode::Execute, false) => "removed so far",
        (Mode::Count, _) => "matched",
        (Mode::DryRun, _) => "would be removed",
    };
    let failed = job.primaries.iter().filter(|primary| primary.error.is_some());
    let primaries = match failed.count() {
        0 => human::primaries(job.primaries.len()),
        failed if job.state == JobState::Complete => human::primaries(job.primaries.len() - failed),
        failed => format!(
            "{} of {}",
            job.primaries.len() - failed,
            human::primaries(job.primaries.len())
        ),
    };
    let time = human::time(Duration::from_millis(job.progress.elapsed_ms));
    let name = job.state.name();
    let name = match job.state {
        JobState::Complete => output.colours().green(name),
        _ => output.colours().yellow(name),
    };
    output.line(&format!(
        "{name}: {keys} {did} on {primaries} in {time}; job {}",
        job.id
    ))?;
    output.flush()?;
    warn(job, output);
    Ok(())
}

/// What is to be known besides.
fn warn(job: &Job, output: &mut Output) {
    if job.uncounted > 0 {
        output.warning(&format!(
            "an earlier process was killed; up to {} may be gone besides",
            human::keys(job.uncounted)
        ));
    }
    if let Some(error) = &job.error {
        output.warning(&plain(error));
    }
    for gap in &job.gaps {
        let slots = match &gap.slots {
            Some(slots) => format!("slots {}", ranges(slots)),
            None => "all keys".to_owned(),
        };
        let of = gap
            .primary
            .as_ref()
            .map(|primary| format!(" of {}", plain(primary)));
        let reason = plain(&gap.reason);
        output.warning(&format!("not done: {slots}{}: {reason}", of.unwrap_or_default()));
    }
}

fn ranges(slots: &[[u16; 2]]) -> String {
    let ranges = slots.iter().map(|[first, last]| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    ranges.collect::<Vec<_>>().join(", ")
}

fn table(job: &Job, output: &mut Output) -> io::Result<()> {
    if job.primaries.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        ("PRIMARY", Side::Left),
        ("KEYS BEFORE", Side::Right),
        ("MATCHED", Side::Right),
        ("REMOVED", Side::Right),
        ("KEYS AFTER", Side::Right),
        ("TIME", Side::Right),
        ("RESULT", Side::Left),
    ]);
    let known = |keys: Option<u64>| keys.map_or_else(|| "?".to_owned(), human::number);
    for primary in &job.primaries {
        table.row(vec![
            plain(&primary.address),
            known(primary.keys_before),
            human::number(primary.matched),
            human::number(primary.removed),
            known(primary.keys_after),
            human::time(Duration::from_millis(primary.elapsed_ms)),
            result(job.state, primary).to_owned(),
        ]);
    }
    for line in table.lines(output.colours()) {
        output.line(&line)?;
    }
    output.line("")
}

fn result(state: JobState, primary: &JobPrimary) -> &'static str {
    let is_over = primary.stopped || primary.error.is_some() || primary.done;
    if is_over {
        summary::result(
            state == JobState::Complete,
            primary.stopped,
            primary.error.is_some(),
        )
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_told_as_ranges() {
        assert_eq!(ranges(&[[0, 5], [7, 7]]), "0-5, 7");
    }
}
