//! How a job comes to be: asked for, or found in the store.

use std::sync::Arc;

use cache_core::CacheError;

use super::book::Record;
use super::entry::Entry;
use super::request::{Claim, Spent, overlap};
use super::runner::Begin;
use super::store::{Saved, Then};
use super::{
    AuditAction, AuditRecord, Job, JobId, JobRequest, JobState, Jobs, JobsError, Mode, Shared, StartError,
    Timestamp, runner,
};
use crate::{CacheIdentity, Selection, escaped};

impl Jobs {
    /// Starts a job, or finds the one that was started by the same request with the same idempotency key by the
    /// same actor.
    ///
    /// # Errors
    ///
    /// [`StartError::Overlaps`] for a removal of keys of which another one is under way;
    /// [`StartError::KeyReused`] where the idempotency key stands for another request;
    /// [`StartError::Confirmed`] where what confirmed it has confirmed another job already; where the request
    /// cannot be kept or written down. Nothing was started then.
    ///
    /// # Cancel safety
    ///
    /// The job may be started all the same.
    pub async fn start(&self, mut request: JobRequest) -> Result<Job, StartError> {
        request.options.sample = request.options.sample.min(super::JobOptions::MAX_SAMPLE);
        let shared = Arc::clone(&self.0);
        // By itself, so that nothing is half begun where the caller goes away.
        let started = tokio::spawn(async move { start(&shared, request).await });
        started.await.unwrap_or_else(|error| {
            if error.is_panic() {
                std::panic::resume_unwind(error.into_panic());
            }
            Err(JobsError::Closed.into())
        })
    }

    /// Takes in what a former process has left.
    pub(super) async fn take_up(&self, saved: Vec<Saved>) -> Result<(), JobsError> {
        let shared = &self.0;
        let mut left = Vec::new();
        for Saved {
            mut record,
            checkpoint,
        } in saved
        {
            let state = record.job.state;
            if !state.is_ended() && record.job.mode != Mode::Execute {
                // Of an older version: a count is begun anew by whoever wants to know.
                shared.store.forget(vec![record.job.id]).await?;
                continue;
            }
            let was_stopping = record.job.stopping && !state.is_ended();
            if !state.is_ended() {
                record.process += 1;
            }
            let claims = match &checkpoint {
                Some(checkpoint) => {
                    record.job.recover(checkpoint);
                    let selection = checkpoint.selection().map_err(|error| JobsError::Corrupt {
                        path: shared.config.store.clone().unwrap_or_default(),
                        detail: format!("job {}: {error}", record.job.id),
                    })?;
                    claims(&selection, record.job.mode)
                }
                None => Vec::new(),
            };
            let entry = Arc::new(Entry::new(record, claims, shared.config.events));
            entry.take_up(was_stopping);
            shared.entries().insert(entry.id(), Arc::clone(&entry));
            if !state.is_ended() {
                let then = if entry.state().is_ended() {
                    Then::Remove
                } else {
                    Then::Keep
                };
                shared.store.write(&entry, then).await?;
            }
            if entry.state() == JobState::Interrupted {
                left.push(entry);
            }
        }
        shared.forget().await;
        if shared.config.resume_at_open {
            for entry in left {
                let (id, actor) = (entry.id(), entry.job().actor);
                if let Err(error) = self.resume(id, &actor).await {
                    tracing::error!(%error, job = %id, "a job that was interrupted does not go on");
                }
            }
        }
        Ok(())
    }
}

async fn start(shared: &Arc<Shared>, mut request: JobRequest) -> Result<Job, StartError> {
    // Before the turn: servers may take their time.
    let here = shared.cache().await;
    let turn = shared.turn.lock().await;
    if turn.closed {
        return Err(JobsError::Closed.into());
    }
    shared.forget().await;
    let repeatable = request.repeatable();
    if let Some(asked) = &repeatable {
        let entries: Vec<Arc<Entry>> = shared.entries().values().cloned().collect();
        // A job of another cache is another job. Without an answer the key alone decides.
        let is_here = |entry: &Arc<Entry>| match (&here, entry.cache()) {
            (Ok(here), Some(cache)) => cache.may_be(here),
            _ => true,
        };
        for entry in entries.into_iter().filter(is_here) {
            match entry.repeatable() {
                Some((actor, known)) if actor == request.actor.name && known.key == asked.key => {
                    return if known == *asked {
                        Ok(entry.job())
                    } else {
                        Err(StartError::KeyReused { job: entry.id() })
                    };
                }
                _ => {}
            }
        }
    }
    let here = here.map_err(StartError::Cache)?;
    if let Some(expected) = &request.cache
        && !expected.may_be(&here)
    {
        return Err(StartError::OtherCache {
            expected: expected.to_string(),
            here: here.to_string(),
        });
    }
    let prefix = &shared.config.key_prefix;
    let selection = request.selection.within(prefix).map_err(StartError::Invalid)?;
    let claims = claims(&selection, request.mode);
    let now = Timestamp::now();
    let last = shared.entries().last_key_value().map(|(id, _)| *id);
    let id = JobId::next(now, last);
    let record = AuditRecord::new(&request.actor, AuditAction::JobStart)
        .on_job(id)
        .on("cache", here.to_string())
        .on("mode", request.mode.name());
    if let Some(error) = shared.stands_against(&request, &claims) {
        let patterns: Vec<String> = request
            .selection
            .patterns()
            .iter()
            .map(|own| escaped(own.as_bytes()))
            .collect();
        let record = record
            .on_patterns(&patterns)
            .result("refused")
            .because(&error.to_string());
        shared.audit_afterwards(record).await;
        return Err(error);
    }
    let spent = request.confirmation.take().map(|(mark, life)| Spent {
        mark,
        until: Timestamp::of(now.since_epoch().saturating_add(life)),
    });
    let checkpoint = request.beginning(&selection).on(here.clone().with_prefix(""));
    let asked = (&request.selection, request.mode, request.options, request.actor);
    let mut job = Job::new(id, asked, now);
    job.cache = here.to_string();
    let unproved = !here.is_known();
    let patterns = job.patterns.clone();
    let entry = Arc::new(Entry::new(
        Record {
            job,
            repeatable,
            spent,
            cache: Some(here),
            process: 0,
            end: None,
        },
        claims,
        shared.config.events,
    ));
    shared.audit(record.on_patterns(&patterns)).await?;
    let saved = shared
        .store
        .write(&entry, Then::Save(Box::new(checkpoint.clone())))
        .await;
    if let Err(error) = saved {
        let record = AuditRecord::new(&entry.job().actor, AuditAction::JobFinish).on_job(id);
        let record = record.result("failed").because(&error.to_string());
        shared.audit_afterwards(record).await;
        return Err(error.into());
    }
    shared.entries().insert(id, Arc::clone(&entry));
    // Servers that do not say who they are cannot be held to it.
    runner::begin(
        shared,
        &entry,
        checkpoint,
        Begin {
            resumed: false,
            accept: unproved,
        },
    );
    Ok(entry.job())
}

impl Shared {
    /// The cache that is there now, with what stands before every key.
    pub(super) async fn cache(&self) -> Result<CacheIdentity, CacheError> {
        let cache = self.engine.identity().await?;
        Ok(cache.with_prefix(&*self.config.key_prefix))
    }

    /// Why another job lets this one not begin.
    fn stands_against(&self, request: &JobRequest, claims: &[Vec<u8>]) -> Option<StartError> {
        let removes = request.mode == Mode::Execute;
        let (removals, counts) = self.config.each;
        let most = if removes { removals } else { counts };
        let of_actor = |entry: &&Arc<Entry>| {
            entry.is_durable() == removes && entry.state().is_active() && entry.is_of(&request.actor.name)
        };
        if self.entries().values().filter(of_actor).count() >= most {
            let actor = request.actor.name.clone();
            return Some(StartError::TooMany { actor, most });
        }
        if let Some((mark, _)) = &request.confirmation {
            let entries = self.entries();
            let spent = entries.values().find(|entry| entry.has_spent(mark));
            if let Some(entry) = spent {
                return Some(StartError::Confirmed { job: entry.id() });
            }
        }
        let Claim { job, pattern } = self.claimed(claims)?;
        Some(StartError::Overlaps { job, pattern })
    }

    /// The job that holds keys which may be among those of `claims`.
    pub(super) fn claimed(&self, claims: &[Vec<u8>]) -> Option<Claim> {
        let entries = self.entries();
        entries.values().find_map(|entry| {
            if !entry.state().is_active() {
                return None;
            }
            let held = entry
                .claims()
                .iter()
                .position(|held| claims.iter().any(|claim| overlap(claim, held)))?;
            Some(Claim {
                job: entry.id(),
                pattern: entry.job().patterns.get(held).cloned().unwrap_or_default(),
            })
        })
    }
}

/// What the keys of a removal begin with, pattern by pattern.
fn claims(selection: &Selection, mode: Mode) -> Vec<Vec<u8>> {
    if mode != Mode::Execute {
        return Vec::new();
    }
    let patterns = selection.patterns().iter();
    patterns
        .map(|pattern| pattern.literal_prefix().to_vec())
        .collect()
}
