//! Where jobs are kept, for how long, and how many run at once.

use std::path::PathBuf;
use std::time::Duration;

use super::Audit;

/// Where jobs are kept, for how long, and how many run at once.
#[derive(Clone, Debug)]
pub struct JobsConfig {
    pub(super) store: Option<PathBuf>,
    pub(super) audit: Option<Audit>,
    pub(super) key_prefix: String,
    pub(super) history: usize,
    pub(super) history_age: Duration,
    pub(super) events: usize,
    pub(super) running: usize,
    pub(super) counting: usize,
    pub(super) each: (usize, usize),
    pub(super) resume_at_open: bool,
    pub(super) save_every: (Duration, u64),
}

impl JobsConfig {
    /// Keeps jobs in the file at `path`, whose folder exists; it is made where there is none. One process at a
    /// time has it open. Default: in memory, where they end with the process.
    #[must_use]
    pub fn with_store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self
    }

    /// Writes down who did what to which job. No job is started or resumed that cannot be written down.
    /// Default: nowhere.
    #[must_use]
    pub fn with_audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// What stands before every key and is in no pattern (`CACHE_KEY_PREFIX`). Default: nothing.
    #[must_use]
    pub fn with_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// How many removals that have ended are kept, and for how long; of counts it is 100 at most. Where there are more, the
    /// oldest of the actor who has the most are forgotten. Jobs that have not ended are kept whatever their number and
    /// age. Default: 1,000, for 30 days.
    #[must_use]
    pub const fn with_history(mut self, jobs: usize, age: Duration) -> Self {
        self.history = jobs;
        self.history_age = age;
        self
    }

    /// How many events of each job are kept for those who come later, at least 1. Default: 500.
    #[must_use]
    pub const fn with_events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// How many removals are at work at once, at least 1; others are queued. One that is paused does not count. One actor
    /// has all but one of the places at most. Default: 4.
    #[must_use]
    pub const fn with_running(mut self, jobs: usize) -> Self {
        self.running = jobs;
        self
    }

    /// How many counts and dry runs are at work at once, at least 1, besides the removals; others are queued. One actor
    /// has all but one of the places at most. Default: 2.
    #[must_use]
    pub const fn with_counting(mut self, jobs: usize) -> Self {
        self.counting = jobs;
        self
    }

    /// How many jobs of each actor there may be that are queued, at work or paused: removals, and counts with dry runs.
    /// Default: 100 and 10.
    #[must_use]
    pub const fn with_jobs_of_each(mut self, removals: usize, counts: usize) -> Self {
        self.each = (removals, counts);
        self
    }

    /// Goes on at once with the jobs that a former process has left in the middle. Those that were paused stay
    /// so. Default: no; they are shown as interrupted.
    #[must_use]
    pub const fn with_resume_at_open(mut self, resume: bool) -> Self {
        self.resume_at_open = resume;
        self
    }

    /// How often a removal is saved: after so long, and before more than so many keys are removed that the last
    /// save does not know of, at least 1. Each save waits for the disk. Default: every second and 10,000 keys.
    #[must_use]
    pub fn with_save_every(mut self, every: Duration, keys: u64) -> Self {
        self.save_every = (every, keys.max(1));
        self
    }
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            store: None,
            audit: None,
            key_prefix: String::new(),
            history: 1_000,
            history_age: Duration::from_secs(30 * 86_400),
            events: 500,
            running: 4,
            counting: 2,
            each: (100, 10),
            resume_at_open: false,
            save_every: (Duration::from_secs(1), 10_000),
        }
    }
}
