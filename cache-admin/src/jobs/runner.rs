//! The run of one job: waits for its place, works, rests on demand, and says how it ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use cache_core::CacheError;
use futures::FutureExt as _;
use tokio::sync::watch;

use super::entry::{self, Entry, Wanted};
use super::store::{Store, Then};
use super::{AuditAction, AuditRecord, JobState, Mode, Shared};
use crate::engine::{Checkpoint, Checkpoints};
use crate::{Counted, Outcome, with_causes};

/// How a run begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    /// Whether another process has done a part of it.
    pub(super) resumed: bool,
    /// Whether it goes on whichever cache this is.
    pub(super) accept: bool,
}

/// Begins the run of a job whose entry is in the list, from `checkpoint` on.
pub(super) fn begin(shared: &Arc<Shared>, entry: &Arc<Entry>, checkpoint: Checkpoint, how: Begin) {
    entry.queue();
    let guard = Counter::new(Arc::clone(shared));
    let entry = Arc::clone(entry);
    tokio::spawn(async move {
        let ended = Box::pin(run(&guard.0, &entry, checkpoint, how)).await;
        end(&guard.0, &entry, ended).await;
    });
}

/// One more run, as long as this lives.
struct Counter(Arc<Shared>);

impl Counter {
    fn new(shared: Arc<Shared>) -> Self {
        shared.runs.send_modify(|runs| *runs += 1);
        Self(shared)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.runs.send_modify(|runs| *runs = runs.saturating_sub(1));
    }
}

/// What a run brought, or why it brought nothing.
type Ended = Result<Counted, String>;

async fn run(shared: &Arc<Shared>, entry: &Arc<Entry>, checkpoint: Checkpoint, how: Begin) -> Ended {
    let mut wanted = entry.wanted();
    let work = AssertUnwindSafe(work(shared, entry, checkpoint, how.accept)).catch_unwind();
    let mut work = Box::pin(work);
    let mut place = None;
    let mut begun = false;
    let ended = loop {
        let now = *wanted.borrow_and_update();
        match now {
            Wanted::Go => {
                if place.is_none() {
                    let places = if entry.is_durable() {
                        &shared.removals
                    } else {
                        &shared.counts
                    };
                    let actor = entry.job().actor.name;
                    let free = places.take(&actor);
                    tokio::select! {
                        free = free => place = free,
                        () = changed(&mut wanted) => continue,
                        ended = &mut work, if begun => break ended,
                    }
                }
                // Also where it has kept its place: a rest that is over before it is heard of is none.
                if entry.begin(how.resumed) {
                    begun = true;
                    keep(shared, entry).await;
                }
            }
            Wanted::Rest => place = None,
            // It says itself that it did nothing.
            Wanted::Stop | Wanted::Leave => begun = true,
        }
        tokio::select! {
            ended = &mut work, if begun => break ended,
            () = changed(&mut wanted) => {}
        }
    };
    match ended {
        Ok(Ok(counted)) => Ok(counted),
        Ok(Err(error)) => Err(with_causes(&error)),
        Err(_) => Err("the run panicked".to_owned()),
    }
}

async fn changed(wanted: &mut watch::Receiver<Wanted>) {
    // The entry, which wants, is ours.
    let _ = wanted.changed().await;
}

async fn work(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    checkpoint: Checkpoint,
    accept: bool,
) -> Result<Counted, CacheError> {
    let job = entry.job();
    let (every, keys) = shared.config.save_every;
    let saving = Saving {
        store: shared.store.clone(),
        entry: Arc::clone(entry),
    };
    let options = job
        .options
        .engine()
        .with_accepted_cache(accept)
        .with_control(entry.control().clone())
        .with_observer(entry::observer(entry))
        .with_checkpoints(saving)
        .with_save_every(every, keys);
    let engine = &shared.engine;
    match job.mode {
        Mode::Execute => Ok(Counted {
            report: engine.resume(&checkpoint, &options).await,
            sample: Vec::new(),
        }),
        Mode::Count => Ok(engine.count(checkpoint.selection()?, 0, &options).await),
        Mode::DryRun => {
            let selection = checkpoint.selection()?;
            Ok(engine.count(selection, job.options.sample, &options).await)
        }
    }
}

/// Writes the job down as it stands. Where that fails, what was written before is still true of what was done.
async fn keep(shared: &Shared, entry: &Arc<Entry>) {
    shared.keep_or_say(entry, Then::Keep).await;
}

async fn end(shared: &Shared, entry: &Arc<Entry>, ended: Ended) {
    let leaves = *entry.wanted().borrow() == Wanted::Leave;
    if let Ok(counted) = &ended {
        entry.put_sample(&counted.sample, &shared.config.key_prefix);
    }
    entry.end(|job| match &ended {
        Ok(counted) => {
            job.take_in(&counted.report);
            job.state = match &counted.report.outcome {
                Outcome::Complete => JobState::Complete,
                Outcome::Partial { .. } => JobState::Partial,
                Outcome::Cancelled if leaves => JobState::Interrupted,
                Outcome::Cancelled => JobState::Cancelled,
                Outcome::Failed { .. } => JobState::Failed,
            };
        }
        Err(error) => {
            job.state = JobState::Failed;
            job.error = Some(error.clone());
        }
    });
    let state = entry.state();
    let then = if state.is_ended() {
        Then::Remove
    } else {
        Then::Keep
    };
    if let Some(error) = shared.keep_or_say(entry, then).await {
        entry.add_error(&format!("its end is not in the store: {error}"));
    }
    let job = entry.job();
    let mut record = AuditRecord::new(&job.actor, AuditAction::JobFinish)
        .on_job(job.id)
        .on("cache", &job.cache)
        .on("mode", job.mode.name())
        .on_patterns(&job.patterns)
        .number("matched", job.progress.matched)
        .number("removed", job.progress.removed)
        .result(state.name());
    if let Some(error) = &job.error {
        record = record.because(error);
    }
    shared.audit_afterwards(record).await;
    entry.tell_end();
    shared.forget().await;
}

/// Saves a removal in the store.
struct Saving {
    store: Store,
    entry: Arc<Entry>,
}

#[async_trait]
impl Checkpoints for Saving {
    async fn save(&self, checkpoint: &Checkpoint) -> Result<(), CacheError> {
        let saved = self
            .store
            .write(&self.entry, Then::Save(Box::new(checkpoint.clone())))
            .await;
        saved.map_err(|error| CacheError::InvalidInput {
            argument: "job store",
            reason: error.to_string().into(),
        })
    }
}
