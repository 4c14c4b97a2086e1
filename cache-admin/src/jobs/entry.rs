//! One job in memory: how it stands, its latest events, and the handle on its run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache_core::clock;
use tokio::sync::watch;

use super::book::{Book, Record};
use super::job::millis;
use super::request::Repeatable;
use super::{Happened, Job, JobEvent, JobId, JobState, Mode, Timestamp};
use crate::{CacheIdentity, Control, Event, escaped};

/// What is wanted of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Go,
    Rest,
    /// Somebody wants no more of it.
    Stop,
    /// The process ends.
    Leave,
}

/// One job.
#[derive(Debug)]
pub(super) struct Entry {
    id: JobId,
    /// Whether it outlives the process, where there is a store.
    durable: bool,
    /// What each key of a removal begins with.
    claims: Vec<Vec<u8>>,
    control: Control,
    wanted: watch::Sender<Wanted>,
    /// The number of the latest event.
    told: watch::Sender<u64>,
    book: Mutex<Book>,
}

impl Entry {
    pub(super) fn new(record: Record, claims: Vec<Vec<u8>>, events: usize) -> Self {
        let book = Book::new(record, events);
        Self {
            id: book.record.job.id,
            durable: book.record.job.mode == Mode::Execute,
            claims,
            control: Control::new(),
            wanted: watch::Sender::new(Wanted::Go),
            told: watch::Sender::new(book.kept.last()),
            book: Mutex::new(book),
        }
    }

    pub(super) const fn id(&self) -> JobId {
        self.id
    }

    /// Whether it outlives the process, where there is a store: only removals do.
    pub(super) const fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether this actor started it.
    pub(super) fn is_of(&self, actor: &str) -> bool {
        self.book().record.job.actor.name == actor
    }

    pub(super) const fn control(&self) -> &Control {
        &self.control
    }

    pub(super) fn claims(&self) -> &[Vec<u8>] {
        &self.claims
    }

    /// Hears of what is wanted.
    pub(super) fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    /// Hears of events.
    pub(super) fn told(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    pub(super) fn state(&self) -> JobState {
        self.book().record.job.state
    }

    /// Whether a run in this process works for it.
    pub(super) fn runs(&self) -> bool {
        self.book().runs
    }

    pub(super) fn repeatable(&self) -> Option<(String, Repeatable)> {
        let book = self.book();
        let repeatable = book.record.repeatable.clone()?;
        Some((book.record.job.actor.name.clone(), repeatable))
    }

    /// Whether it was confirmed by this.
    pub(super) fn has_spent(&self, mark: &str) -> bool {
        let book = self.book();
        book.record.spent.as_ref().is_some_and(|spent| spent.mark == mark)
    }

    /// Whether what it was confirmed by could still be shown again.
    pub(super) fn is_needed(&self, now: Timestamp) -> bool {
        let book = self.book();
        book.record.spent.as_ref().is_some_and(|spent| now < spent.until)
    }

    /// The cache that it belongs to; `None` if an older version wrote it.
    pub(super) fn cache(&self) -> Option<CacheIdentity> {
        self.book().record.cache.clone()
    }

    /// An operator says that it belongs to this cache from now on.
    pub(super) fn set_cache(&self, cache: CacheIdentity) {
        let mut book = self.book();
        book.record.job.cache = cache.to_string();
        book.record.cache = Some(cache);
    }

    /// The job as it stands.
    pub(super) fn job(&self) -> Job {
        self.book().job()
    }

    /// The job as it is kept.
    pub(super) fn on_paper(&self) -> Result<Vec<u8>, serde_json::Error> {
        let book = self.book();
        serde_json::to_vec(&Record {
            job: Job {
                unstored: None,
                ..book.job()
            },
            ..book.record.clone()
        })
    }

    /// The first event after number `after` that is kept, else whether further ones are to come.
    pub(super) fn event_after(&self, after: u64) -> Result<JobEvent, bool> {
        let book = self.book();
        match book.kept.after(after) {
            Some(event) => Ok(event.clone()),
            None => Err(book.runs),
        }
    }

    /// Changes the job under its lock, and tells.
    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.book();
        let done = change(&mut book);
        let last = book.kept.last();
        drop(book);
        self.told
            .send_if_modified(|told| std::mem::replace(told, last) != last);
        done
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in that the process which had it is gone; `stopping` is whether that was told to stop it.
    pub(super) fn take_up(&self, stopping: bool) {
        match self.state() {
            JobState::Queued | JobState::Running | JobState::Paused if stopping => {
                self.end(|job| job.state = JobState::Cancelled);
                self.tell_end();
            }
            JobState::Queued | JobState::Running => {
                self.end(|job| job.state = JobState::Interrupted);
                self.tell_end();
            }
            JobState::Paused => self.change(|book| {
                book.kept.push(Happened::Paused);
            }),
            _ => {}
        }
    }

    /// There is a run from now on.
    pub(super) fn queue(&self) {
        self.change(|book| {
            book.runs = true;
            book.record.end = None;
            book.record.job.state = JobState::Queued;
            book.kept.push(Happened::Queued);
        });
    }

    /// It is its turn; whether it is still wanted.
    pub(super) fn begin(&self, resumed: bool) -> bool {
        self.change(|book| {
            if *self.wanted.borrow() != Wanted::Go {
                return false;
            }
            self.control.resume();
            let job = &mut book.record.job;
            if job.state != JobState::Queued {
                return true;
            }
            job.state = JobState::Running;
            job.started.get_or_insert_with(Timestamp::now);
            if book.since.is_none() {
                book.since = Some(clock::now());
                book.kept.push(Happened::Started { resumed });
            }
            true
        })
    }

    /// Says what is wanted of a run in this process; the state before, which is not changed where it does not fit.
    pub(super) fn want(&self, wanted: Wanted) -> JobState {
        self.change(|book| {
            let before = book.record.job.state;
            let stopped = matches!(*self.wanted.borrow(), Wanted::Stop | Wanted::Leave);
            if !book.runs || stopped || !before.is_active() {
                return before;
            }
            match (wanted, before) {
                (Wanted::Rest, JobState::Queued | JobState::Running) => {
                    self.control.pause();
                    book.record.job.state = JobState::Paused;
                    book.kept.push(Happened::Paused);
                }
                (Wanted::Go, JobState::Paused) => {
                    // The run goes on once it is its turn.
                    book.record.job.state = JobState::Queued;
                    book.kept.push(Happened::Resumed);
                }
                (Wanted::Stop, _) => {
                    self.control.cancel();
                    book.record.job.stopping = true;
                    book.kept.push(Happened::Stopping);
                }
                (Wanted::Leave, _) => self.control.cancel(),
                _ => return before,
            }
            self.wanted.send_replace(wanted);
            before
        })
    }

    /// Takes in the end of the run, but does not tell of it yet.
    pub(super) fn end(&self, end: impl FnOnce(&mut Job)) {
        let mut book = self.book();
        book.elapsed_before = millis(book.elapsed());
        book.since = None;
        let job = &mut book.record.job;
        job.stopping = false;
        end(job);
        book.elapsed_before = book.record.job.progress.elapsed_ms.max(book.elapsed_before);
        if book.record.job.state.is_ended() {
            book.record.job.ended = Some(Timestamp::now());
        }
        let sequence = book.kept.last() + 1;
        book.record.end = Some(JobEvent {
            sequence,
            at: Timestamp::now(),
            what: book.ended(),
        });
    }

    /// Tells that the run has ended.
    pub(super) fn tell_end(&self) {
        self.change(|book| {
            book.runs = false;
            let what = book.ended();
            book.kept.push(what);
        });
    }

    /// Something is to be known besides.
    pub(super) fn add_error(&self, text: &str) {
        let mut book = self.book();
        let error = &mut book.record.job.error;
        *error = Some(match error.take() {
            Some(error) => format!("{error}; {text}"),
            None => text.to_owned(),
        });
    }

    /// Whether a restart would undo something, and why.
    pub(super) fn set_unstored(&self, why: Option<String>) {
        self.book().record.job.unstored = why;
    }

    /// Takes in what the run tells.
    pub(super) fn observe(&self, event: &Event) {
        self.change(|book| book.observe(event));
    }

    /// Puts keys into the sample, as text.
    pub(super) fn put_sample(&self, keys: &[bytes::Bytes], prefix: &str) {
        let mut sample: Vec<String> = keys
            .iter()
            .map(|key| escaped(key.strip_prefix(prefix.as_bytes()).unwrap_or(key)))
            .collect();
        sample.sort();
        self.book().record.job.sample = sample;
    }
}

/// Lets a run tell its events to the job.
pub(super) fn observer(entry: &Arc<Entry>) -> impl crate::Observer + use<> {
    let entry = Arc::clone(entry);
    move |event: &Event| entry.observe(event)
}
