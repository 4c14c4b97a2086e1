//! `cachectl jobs`: what runs and what ran, of a service (`--server`) or in a file (`--store`).

use std::path::PathBuf;
use std::sync::Arc;

use cache_admin::jobs::{Audit, AuditSync, Job, JobId, JobState, Jobs as Kept, JobsConfig, JobsError};
use cache_admin::{Engine, MemoryKeys};
use cache_core::{CacheClient as _, MemoryCache};
use clap::{Args, Subcommand};

use super::{Ended, connect, engine};
use crate::escape::plain;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::job;
use crate::output::Output;
use crate::remote::Client;
use crate::source::Source;
use crate::stop;
use crate::table::{Side, Table};

#[derive(Args, Debug)]
pub(crate) struct Jobs {
    /// The jobs in FILE, which no service has open
    #[arg(long, global = true, value_name = "FILE")]
    store: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The newest first
    List {
        /// Only those in this state, such as running or interrupted
        #[arg(long, value_parser = state)]
        state: Option<JobState>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// All that is known of one
    Show { job: JobId },
    /// Stop one for good
    Cancel { job: JobId },
    /// Let one rest
    Pause { job: JobId },
    /// Let one go on that rests or was interrupted; with --store here, until it ends
    Resume {
        job: JobId,
        /// On the cache that is there now, although the job began on another one, or that cannot be proved
        #[arg(long)]
        accept_cache: bool,
    },
    /// Watch one until it ends; Ctrl-C leaves it alone
    Watch {
        job: JobId,
        /// With --json: only events after the one of this number
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
    },
}

fn state(text: &str) -> Result<JobState, String> {
    JobState::of(text).ok_or_else(|| {
        let names: Vec<&str> = JobState::ALL.iter().map(|state| state.name()).collect();
        format!("must be one of {}", names.join(", "))
    })
}

pub(crate) async fn run_remote(client: Client, arguments: Jobs, output: &mut Output) -> Ended {
    if arguments.store.is_some() {
        return Err(Failure::Usage(
            "--store and --server exclude each other".to_owned(),
        ));
    }
    run(&Source::Remote(&client), &arguments.action, output).await
}

pub(super) async fn run_local(arguments: Jobs, output: &mut Output) -> Ended {
    let Some(store) = &arguments.store else {
        return Err(Failure::Usage(
            "which jobs? --server URL names a service, --store FILE a file that none has open".to_owned(),
        ));
    };
    if !store.is_file() {
        return Err(Failure::Usage(format!(
            "--store {}: there is no such file",
            store.display()
        )));
    }
    let mut config = JobsConfig::default().with_store(store);
    if let Some(path) = crate::audit::path() {
        config = config.with_audit(
            Audit::open(path, AuditSync::Each)
                .await
                .map_err(|error| not_kept(&error))?,
        );
    }
    if let Action::Resume { job, accept_cache } = arguments.action {
        return resume_here(job, accept_cache, config, output).await;
    }
    // Nothing is removed: no cache is needed.
    let nothing = Engine::new(MemoryKeys::new(Arc::new(MemoryCache::default())));
    let jobs = Kept::open(nothing, config)
        .await
        .map_err(|error| not_kept(&error))?;
    let ended = run(&Source::Local(&jobs), &arguments.action, output).await;
    jobs.close().await;
    ended
}

/// Goes on with a job in this process. Ctrl-C interrupts it.
async fn resume_here(id: JobId, accept_cache: bool, config: JobsConfig, output: &mut Output) -> Ended {
    let stack = connect(output).await?;
    let jobs = Kept::open(engine(&stack)?, config.with_key_prefix(stack.key_prefix()))
        .await
        .map_err(|error| not_kept(&error))?;
    let source = Source::Local(&jobs);
    let ended = async {
        let job = source.resume(id, accept_cache).await?;
        tokio::select! {
            job = job::followed(&source, job, output) => job,
            () = stop::requested() => {
                jobs.close().await;
                source.get(id).await
            }
        }
    }
    .await;
    jobs.close().await;
    // The job's own end is what counts.
    let _ = stack.client.close().await;
    let job = ended?;
    job::show(&job, output)?;
    Ok(match job.state {
        JobState::Interrupted => Exit::Cancelled,
        _ => job::exit(&job),
    })
}

async fn run(source: &Source<'_>, action: &Action, output: &mut Output) -> Ended {
    let job = match action {
        Action::List { state, limit } => return list(source, *state, *limit, output).await,
        Action::Watch { job, after } => return watch(source, *job, *after, output).await,
        Action::Show { job } => source.get(*job).await?,
        Action::Cancel { job } => source.cancel(*job).await?,
        Action::Pause { job } => source.pause(*job).await?,
        Action::Resume { job, accept_cache } => source.resume(*job, *accept_cache).await?,
    };
    if matches!(action, Action::Show { .. }) {
        if !output.is_json() {
            about(&job, output)?;
        }
        job::show(&job, output)?;
    } else {
        let text = if job.stopping {
            "about to stop"
        } else {
            job.state.name()
        };
        output.answer(&format!("job {} is {text}", job.id), || &job)?;
    }
    if let Some(why) = &job.unstored {
        output.warning(&format!("a restart of the service undoes it: {}", plain(why)));
        return Ok(Exit::Partial);
    }
    Ok(Exit::Ok)
}

async fn list(source: &Source<'_>, state: Option<JobState>, limit: usize, output: &mut Output) -> Ended {
    let jobs = source.list(state, limit).await?;
    if output.is_json() {
        for job in &jobs {
            output.json(job)?;
        }
        return Ok(Exit::Ok);
    }
    if jobs.is_empty() {
        output.note("no jobs");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        ("JOB", Side::Left),
        ("STATE", Side::Left),
        ("WHAT", Side::Left),
        ("MATCHED", Side::Right),
        ("REMOVED", Side::Right),
        ("WHO", Side::Left),
        ("SINCE", Side::Left),
        ("PATTERNS", Side::Left),
    ]);
    for job in &jobs {
        table.row(vec![
            job.id.to_string(),
            job.state.name().to_owned(),
            job.mode.name().to_owned(),
            human::number(job.progress.matched),
            human::number(job.progress.removed),
            plain(&job.actor.name),
            job.created.to_string(),
            plain(&job.patterns.join(" ")),
        ]);
    }
    for line in table.lines(output.colours()) {
        output.line(&line)?;
    }
    Ok(Exit::Ok)
}

fn about(job: &Job, output: &mut Output) -> Result<(), Failure> {
    let from = job
        .actor
        .from
        .as_ref()
        .map(|from| format!(" from {}", plain(from)));
    let who = format!("{}{}", plain(&job.actor.name), from.unwrap_or_default());
    let covered = format!(
        "{} of {}",
        human::number(job.progress.slots_covered.into()),
        human::number(job.progress.slots.into())
    );
    let state = if job.stopping {
        "about to stop"
    } else {
        job.state.name()
    };
    let lines = [
        ("state", Some(state.to_owned())),
        ("patterns", Some(plain(&job.patterns.join("  ")))),
        ("cache", (!job.cache.is_empty()).then(|| plain(&job.cache))),
        ("mode", Some(job.mode.name().to_owned())),
        ("who", Some(who)),
        ("created", Some(job.created.to_string())),
        ("started", job.started.map(|time| time.to_string())),
        ("ended", job.ended.map(|time| time.to_string())),
        ("slots", (job.progress.slots > 1).then_some(covered)),
        (
            "left",
            job.progress
                .remaining_ms
                .map(|left| format!("about {}", human::time(std::time::Duration::from_millis(left)))),
        ),
    ];
    for (name, text) in lines {
        if let Some(text) = text {
            let name = output.colours().dim(&format!("{name:<8}"));
            output.line(&format!("{name}  {text}"))?;
        }
    }
    output.line("")?;
    Ok(())
}

async fn watch(source: &Source<'_>, id: JobId, after: u64, output: &mut Output) -> Ended {
    let job = source.get(id).await?;
    let watching = async {
        if !output.is_json() {
            return job::followed(source, job, output).await;
        }
        let mut events = source.events(id, after)?;
        while let Some(event) = events.next().await? {
            output.json(&event)?;
            output.flush()?;
        }
        source.get(id).await
    };
    let job = tokio::select! {
        job = watching => job?,
        () = stop::requested() => return Ok(Exit::Cancelled),
    };
    if !output.is_json() {
        job::show(&job, output)?;
    }
    Ok(job::exit(&job))
}

fn not_kept(error: &JobsError) -> Failure {
    let (exit, kind) = match error {
        JobsError::Locked { .. } => (Exit::Refused, "locked"),
        _ => (Exit::Failed, "not-kept"),
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    Failure::Service {
        exit,
        kind: kind.to_owned(),
        message: format!("{error}{}", cause.unwrap_or_default()),
    }
}
