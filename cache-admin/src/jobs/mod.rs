//! Runs of the engine as jobs: each has a name, tells what it does, can be steered by others than the one who
//! started it, and is kept in a [`store`](JobsConfig::with_store), so that it outlives the process.
//!
//! [`Jobs`] is where to begin. [`Audit`] writes down who did what; it is used for more than jobs.
//!
//! Not in here: how a run works (the [`Engine`]), who may start one, HTTP.

mod audit;
mod book;
mod config;
mod entry;
mod error;
mod event;
mod events;
mod filter;
mod history;
mod id;
mod job;
mod request;
mod runner;
mod starting;
mod steering;
mod store;
mod timestamp;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use audit::{Audit, AuditAction, AuditRecord, AuditSync};
pub use config::JobsConfig;
pub use error::{ControlError, JobsError, StartError};
pub use event::{Happened, JobEvent};
pub use events::JobEvents;
pub use filter::{Bounds, JobFilter};
pub use id::{JobId, JobIdError};
pub use job::{Job, JobGap, JobPrimary, JobProgress, JobState};
pub use request::{JobOptions, JobRequest, Mode, Who};
pub use timestamp::Timestamp;

use self::entry::{Entry, Wanted};
use self::history::{Past, surplus};
use self::store::Store;
use crate::Engine;
use crate::fair::Fair;

/// Runs of an [`Engine`] as jobs.
///
/// # Promises
///
/// - Of two removals whose keys may be the same, one is under way at a time: of each pair of their patterns the
///   text before the first wildcard is compared, and where one begins the other the later one is refused.
/// - With a [store](JobsConfig::with_store) a removal outlives its process; a count does not. One that was at work is then
///   [`Interrupted`](JobState::Interrupted), can be resumed, and its counts add up: what may have been removed
///   without having been counted is in [`Job::uncounted`].
/// - With an [audit log](JobsConfig::with_audit), no job is started or resumed that cannot be written down.
/// - Memory and disk are bounded: by the [history](JobsConfig::with_history), the
///   [events](JobsConfig::with_events) of each job, and what one job is.
/// - Actors share fairly: one of them has not all places to run, waits with not more than so many jobs, and pushes the
///   jobs of others out of the history only where these are more. Counts take no place and no history of a removal.
///
/// Clones are one and the same. Dropping them stops no job; [`close`](Jobs::close) does.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use cache_admin::jobs::{JobRequest, JobState, Jobs, JobsConfig, Mode, Who};
/// use cache_admin::{Engine, MemoryKeys};
/// use cache_core::{CacheClient, MemoryCache, Pattern, Ttl};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let cache = Arc::new(MemoryCache::default());
/// cache.set("billing:1", "paid".into(), Ttl::Forever).await?;
///
/// let jobs = Jobs::open(Engine::new(MemoryKeys::new(cache)), JobsConfig::default()).await?;
/// let request = JobRequest::new(Pattern::new("billing:*")?, Mode::Execute, Who::new("jo"));
/// let job = jobs.start(request).await?;
/// let job = jobs.wait(job.id).await.expect("it is in the history");
/// assert_eq!((job.state, job.progress.removed), (JobState::Complete, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Jobs(Arc<Shared>);

struct Shared {
    engine: Engine,
    config: JobsConfig,
    store: Store,
    entries: Mutex<BTreeMap<JobId, Arc<Entry>>>,
    /// Who decides whether a job may begin.
    turn: tokio::sync::Mutex<Turn>,
    /// Who may be at work: removals, and what only counts.
    removals: Fair,
    counts: Fair,
    /// How many runs there are.
    runs: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Turn {
    closed: bool,
}

impl Jobs {
    /// Takes up what is in the store, and waits for more.
    ///
    /// # Errors
    ///
    /// Where the store cannot be opened: [`Locked`](JobsError::Locked) while another process has it open,
    /// [`NewerForm`](JobsError::NewerForm) and [`Corrupt`](JobsError::Corrupt) where it cannot be read, which
    /// changes nothing in it.
    pub async fn open(engine: Engine, config: JobsConfig) -> Result<Self, JobsError> {
        let (store, saved) = match config.store.clone() {
            Some(path) => Store::open(path).await?,
            None => (Store::none(), Vec::new()),
        };
        let jobs = Self(Arc::new(Shared {
            engine,
            store,
            entries: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            removals: Fair::new(config.running, config.running.saturating_sub(1)),
            counts: Fair::new(config.counting, config.counting.saturating_sub(1)),
            runs: watch::Sender::new(0),
            config,
        }));
        jobs.take_up(saved).await?;
        Ok(jobs)
    }

    /// The job of that name; `None` where there is none, or no longer.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<Job> {
        self.0.entry(id).map(|entry| entry.job())
    }

    /// At most `limit` jobs, the newest first: those in one of `states`, where any are named, and started before
    /// job `before`, where one is named.
    #[must_use]
    pub fn list(&self, states: &[JobState], before: Option<JobId>, limit: usize) -> Vec<Job> {
        let entries: Vec<Arc<Entry>> = {
            let entries = self.0.entries();
            let older = entries
                .iter()
                .rev()
                .filter(|(id, entry)| {
                    before.is_none_or(|before| **id < before)
                        && (states.is_empty() || states.contains(&entry.state()))
                })
                .map(|(_, entry)| Arc::clone(entry));
            older.take(limit).collect()
        };
        entries.iter().map(|entry| entry.job()).collect()
    }

    /// What happens to a job from now on, after what is kept of what happened after event number `after`; 0 is
    /// from the start. It ends when the job does, or its process. `None` where there is no such job.
    #[must_use]
    pub fn events(&self, id: JobId, after: u64) -> Option<JobEvents> {
        self.0.entry(id).map(|entry| JobEvents::new(entry, after))
    }

    /// Waits until the job has ended, also where it only was interrupted. `None` where there is no such job.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&self, id: JobId) -> Option<Job> {
        let entry = self.0.entry(id)?;
        let mut told = entry.told();
        while entry.runs() {
            // The entry, which tells, is ours.
            let _ = told.changed().await;
        }
        Some(entry.job())
    }

    /// The audit log, where there is one.
    #[must_use]
    pub fn audit(&self) -> Option<&Audit> {
        self.0.config.audit.as_ref()
    }

    /// Ends all runs and lets go of the store. Those that were at work are interrupted, with all they did in
    /// the counts. No job can be started or steered afterwards; again is fine.
    pub async fn close(&self) {
        self.0.turn.lock().await.closed = true;
        let entries: Vec<Arc<Entry>> = self.0.entries().values().cloned().collect();
        for entry in entries {
            entry.want(Wanted::Leave);
        }
        // The sender is ours.
        let _ = self.0.runs.subscribe().wait_for(|runs| *runs == 0).await;
        self.0.store.close().await;
    }
}

impl Shared {
    fn entry(&self, id: JobId) -> Option<Arc<Entry>> {
        self.entries().get(&id).cloned()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what was done, where there is a log.
    async fn audit(&self, record: AuditRecord) -> Result<(), JobsError> {
        match &self.config.audit {
            Some(audit) => audit.record(record).await,
            None => Ok(()),
        }
    }

    /// As [`audit`](Self::audit), of what is done already or must not wait for it.
    async fn audit_afterwards(&self, record: AuditRecord) {
        if let Err(error) = self.audit(record).await {
            tracing::error!(%error, "an action is missing in the audit log");
        }
    }

    /// Forgets what ended long ago, and the oldest of what is too much.
    async fn forget(&self) {
        let forgotten = {
            let (mut entries, now) = (self.entries(), Timestamp::now());
            let ended = entries
                .iter()
                .rev()
                .filter(|(_, entry)| !entry.runs() && !entry.is_needed(now));
            let ended = ended.filter_map(|(id, entry)| {
                let job = entry.job();
                job.state.is_ended().then(|| Past::of(*id, job))
            });
            let forgotten = surplus(ended.collect(), &self.config, now);
            for id in &forgotten {
                entries.remove(id);
            }
            forgotten
        };
        if let Err(error) = self.store.forget(forgotten).await {
            tracing::warn!(%error, "jobs of the past stay in the store");
        }
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs")
            .field("config", &self.0.config)
            .field("jobs", &self.0.entries().len())
            .finish_non_exhaustive()
    }
}
