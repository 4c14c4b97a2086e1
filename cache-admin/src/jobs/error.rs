//! Why jobs cannot be kept, started or steered.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use cache_core::CacheError;

use super::{JobId, JobState};

/// Why jobs, or what is written down about them, cannot be kept.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobsError {
    /// Another process has the store open.
    #[error("the job store {} is in use by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The store was written by a later version. It was left as it is.
    #[error("the job store {} has form {found}; this version reads form {known}", path.display())]
    NewerForm {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// The file is no job store, or damaged. It was left for somebody to look at.
    #[error("the job store {} cannot be read: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The file cannot be opened, read or written.
    #[error("the job store {}: {detail}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What the store says.
        detail: String,
    },
    /// The audit log cannot be opened or written.
    #[error("the audit log {} cannot be written", path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// [`Jobs::close`](super::Jobs::close) was called.
    #[error("the jobs are closed")]
    Closed,
}

/// Why a job was not started.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A removal whose keys may be the same is under way.
    #[error("a removal of {pattern} is under way: job {job}")]
    Overlaps {
        /// Its name.
        job: JobId,
        /// Its pattern, as text.
        pattern: String,
    },
    /// The actor has as many jobs queued, at work or paused as it may have.
    #[error("{actor} has {most} jobs that have not ended, and no more are taken on")]
    TooMany {
        /// Whose they are.
        actor: String,
        /// How many there may be.
        most: usize,
    },
    /// The idempotency key stands for another request.
    #[error("the idempotency key was used for another request: job {job}")]
    KeyReused {
        /// The job of that request.
        job: JobId,
    },
    /// What it was confirmed by has confirmed another job already.
    #[error("it was used for job {job}")]
    Confirmed {
        /// That job.
        job: JobId,
    },
    /// It was confirmed for another cache than the one that is there now.
    #[error("nothing was started: it was confirmed for {expected}, and this is {here}")]
    OtherCache {
        /// The cache that it was confirmed for, in words.
        expected: String,
        /// The cache that is there.
        here: String,
    },
    /// The servers do not say which cache they are, or do not answer.
    #[error("nothing was started: {0}")]
    Cache(#[source] CacheError),
    /// The request cannot be fulfilled by anybody.
    #[error(transparent)]
    Invalid(CacheError),
    /// It cannot be kept, or not be written into the audit log: nothing was started.
    #[error("nothing was started: {0}")]
    Kept(#[source] JobsError),
}

/// Why a job was not steered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such job, or no longer.
    #[error("there is no job {job}")]
    Unknown {
        /// The name.
        job: JobId,
    },
    /// It is in a state in which that cannot be done.
    #[error("job {job} is {}", state.name())]
    NotNow {
        /// The job.
        job: JobId,
        /// Its state.
        state: JobState,
    },
    /// It cannot go on: a removal whose keys may be the same is under way.
    #[error("a removal of {pattern} is under way: job {job}")]
    Overlaps {
        /// The other one's name.
        job: JobId,
        /// The other one's pattern, as text.
        pattern: String,
    },
    /// It belongs to another cache than the one that is there now, or neither can be proved. To go on all the same, an
    /// operator [accepts](super::Jobs::resume_on_this_cache) the cache.
    #[error("job {job} stays as it is: {reason}")]
    OtherCache {
        /// The job.
        job: JobId,
        /// Both caches, in words.
        reason: String,
    },
    /// The servers do not answer, or contradict each other.
    #[error("nothing was changed: {0}")]
    Cache(#[source] CacheError),
    /// It cannot be kept, or not be written into the audit log.
    #[error("nothing was changed: {0}")]
    Kept(#[source] JobsError),
}

impl From<JobsError> for StartError {
    fn from(error: JobsError) -> Self {
        Self::Kept(error)
    }
}

impl From<JobsError> for ControlError {
    fn from(error: JobsError) -> Self {
        Self::Kept(error)
    }
}
