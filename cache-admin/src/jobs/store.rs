//! The file in which jobs outlive the process.
//!
//! It is a redb database of three tables, form 1:
//!
//! | table | key | value |
//! |---|---|---|
//! | `about` | `form` | the number of the form |
//! | `jobs` | the job's name | the job and what is needed besides, as JSON ([`Record`]) |
//! | `checkpoints` | the job's name | of a job that has not ended: its [`Checkpoint`], as JSON |
//!
//! Every write is one transaction that waits for the disk. A later form has another number, and a process that
//! does not know it changes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, DatabaseError, ReadableTable as _, StorageError, TableDefinition, WriteTransaction};

use super::book::Record;
use super::entry::Entry;
use super::{JobId, JobsError};
use crate::engine::Checkpoint;

const FORM: u32 = 1;

const ABOUT: TableDefinition<'_, &str, u32> = TableDefinition::new("about");
const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");
const CHECKPOINTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("checkpoints");

/// The file, where there is one; everything is fine where there is none.
#[derive(Clone, Debug)]
pub(super) struct Store(Option<Arc<File>>);

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Nothing once it was closed.
    database: RwLock<Option<Database>>,
    /// For tests: the disk is full.
    #[cfg(test)]
    full: std::sync::atomic::AtomicBool,
}

/// A job as it was found.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) record: Record,
    pub(super) checkpoint: Option<Checkpoint>,
}

/// What becomes of the checkpoint when a job is written.
#[derive(Debug)]
pub(super) enum Then {
    Keep,
    Save(Box<Checkpoint>),
    Remove,
}

impl Store {
    /// No file.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Opens the file at `path`, or makes one, and reads all that is in it.
    pub(super) async fn open(path: PathBuf) -> Result<(Self, Vec<Saved>), JobsError> {
        let shown = path.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let database = open(&path)?;
            let saved = read(&database).map_err(|problem| problem.of(&path))?;
            let file = File {
                path,
                database: RwLock::new(Some(database)),
                #[cfg(test)]
                full: std::sync::atomic::AtomicBool::default(),
            };
            Ok((Self(Some(Arc::new(file))), saved))
        });
        opened.await.unwrap_or_else(|panic| {
            // The database asserts what its file holds.
            Err(JobsError::Corrupt {
                path: shown,
                detail: panic.to_string(),
            })
        })
    }

    /// Writes a job, unless it is a count, as it stands when its turn comes, and what becomes of its checkpoint; on the disk when this
    /// returns.
    pub(super) async fn write(&self, entry: &Arc<Entry>, then: Then) -> Result<(), JobsError> {
        if !entry.is_durable() {
            return Ok(());
        }
        let entry = Arc::clone(entry);
        self.change(move |change| {
            let id = entry.id().to_string();
            let mut jobs = change.open_table(JOBS)?;
            // Read in here, so that of two who write the later one has the later state.
            jobs.insert(&*id, &*entry.on_paper()?)?;
            let mut checkpoints = change.open_table(CHECKPOINTS)?;
            match then {
                Then::Keep => {}
                Then::Save(checkpoint) => {
                    checkpoints.insert(&*id, &*serde_json::to_vec(&checkpoint)?)?;
                }
                Then::Remove => {
                    checkpoints.remove(&*id)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Forgets jobs.
    pub(super) async fn forget(&self, ids: Vec<JobId>) -> Result<(), JobsError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.change(move |change| {
            let mut jobs = change.open_table(JOBS)?;
            let mut checkpoints = change.open_table(CHECKPOINTS)?;
            for id in ids {
                let id = id.to_string();
                jobs.remove(&*id)?;
                checkpoints.remove(&*id)?;
            }
            Ok(())
        })
        .await
    }

    /// What was saved last of a job that has not ended.
    pub(super) async fn checkpoint(&self, id: JobId) -> Result<Option<Checkpoint>, JobsError> {
        self.blocking(move |database| {
            let read = database.begin_read()?;
            let table = read.open_table(CHECKPOINTS)?;
            match table.get(&*id.to_string())? {
                Some(text) => Ok(Some(serde_json::from_slice(text.value())?)),
                None => Ok(None),
            }
        })
        .await
        .map(Option::flatten)
    }

    /// Lets writes fail, or succeed again.
    #[cfg(test)]
    pub(super) fn set_full(&self, full: bool) {
        if let Some(file) = &self.0 {
            file.full.store(full, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Lets go of the file.
    pub(super) async fn close(&self) {
        let Some(file) = self.0.clone() else { return };
        let closed = tokio::task::spawn_blocking(move || {
            drop(
                file.database
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
        });
        // A panic in there leaves a file that the next one who opens it has to mend.
        let _ = closed.await;
    }

    async fn change(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), Problem> + Send + 'static,
    ) -> Result<(), JobsError> {
        #[cfg(test)]
        if let Some(file) = &self.0
            && file.full.load(std::sync::atomic::Ordering::Relaxed)
        {
            return Err(Problem("no space left on device".to_owned()).at(&file.path));
        }
        let changed = self.blocking(move |database| {
            let change = database.begin_write()?;
            work(&change)?;
            change.commit()?;
            Ok(())
        });
        changed.await.map(Option::unwrap_or_default)
    }

    /// `None` where there is no file.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Option<T>, JobsError> {
        let Some(file) = self.0.clone() else {
            return Ok(None);
        };
        let path = file.path.clone();
        let done = tokio::task::spawn_blocking(move || {
            let database = file.database.read().unwrap_or_else(PoisonError::into_inner);
            let database = database.as_ref().ok_or(JobsError::Closed)?;
            work(database).map_err(|problem| problem.at(&file.path))
        });
        match done.await {
            Ok(done) => done.map(Some),
            Err(panic) => Err(JobsError::Store {
                path,
                detail: panic.to_string(),
            }),
        }
    }
}

fn open(path: &Path) -> Result<Database, JobsError> {
    // Patterns tell names of keys: the file is its owner's alone from the start.
    crate::private_file::make(path).map_err(|error| JobsError::Store {
        path: path.to_owned(),
        detail: error.to_string(),
    })?;
    let database = Database::create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => JobsError::Locked {
            path: path.to_owned(),
        },
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() != std::io::ErrorKind::InvalidData =>
        {
            JobsError::Store {
                path: path.to_owned(),
                detail: error.to_string(),
            }
        }
        error => JobsError::Corrupt {
            path: path.to_owned(),
            detail: error.to_string(),
        },
    })?;
    let found = form(&database).map_err(|problem| problem.of(path))?;
    match found {
        Some(FORM) => Ok(database),
        Some(found) => Err(JobsError::NewerForm {
            path: path.to_owned(),
            found,
            known: FORM,
        }),
        None => {
            begin(&database).map_err(|problem| problem.of(path))?;
            Ok(database)
        }
    }
}

/// The form of what is in there; `None` where nothing is.
fn form(database: &Database) -> Result<Option<u32>, Problem> {
    let read = database.begin_read()?;
    if read.list_tables()?.next().is_none() {
        return Ok(None);
    }
    let about = read.open_table(ABOUT)?;
    match about.get("form")? {
        Some(form) => Ok(Some(form.value())),
        None => Err(Problem("it is the database of another program".to_owned())),
    }
}

fn begin(database: &Database) -> Result<(), Problem> {
    let change = database.begin_write()?;
    {
        change.open_table(ABOUT)?.insert("form", FORM)?;
        change.open_table(JOBS)?;
        change.open_table(CHECKPOINTS)?;
    }
    change.commit()?;
    Ok(())
}

fn read(database: &Database) -> Result<Vec<Saved>, Problem> {
    let read = database.begin_read()?;
    let (jobs, checkpoints) = (read.open_table(JOBS)?, read.open_table(CHECKPOINTS)?);
    let mut saved = Vec::new();
    for row in jobs.iter()? {
        let (id, text) = row?;
        let record = serde_json::from_slice(text.value())
            .map_err(|error| Problem(format!("job {}: {error}", id.value())))?;
        let checkpoint = match checkpoints.get(id.value())? {
            Some(text) => Some(
                serde_json::from_slice(text.value())
                    .map_err(|error| Problem(format!("the checkpoint of job {}: {error}", id.value())))?,
            ),
            None => None,
        };
        saved.push(Saved { record, checkpoint });
    }
    Ok(saved)
}

/// What the database, or what is in it, says.
#[derive(Debug)]
struct Problem(String);

impl Problem {
    /// Found when the file was opened.
    fn of(self, path: &Path) -> JobsError {
        JobsError::Corrupt {
            path: path.to_owned(),
            detail: self.0,
        }
    }

    /// Found at work: the disk, mostly.
    fn at(self, path: &Path) -> JobsError {
        JobsError::Store {
            path: path.to_owned(),
            detail: self.0,
        }
    }
}

impl<E: std::error::Error> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
