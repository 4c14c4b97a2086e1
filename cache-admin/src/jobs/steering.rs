//! Steering a job: stop it, let it rest, let it go on.

use std::sync::Arc;

use super::entry::{Entry, Wanted};
use super::request::Claim;
use super::runner::Begin;
use super::store::Then;
use super::{
    AuditAction, AuditRecord, ControlError, Job, JobId, JobState, Jobs, JobsError, Shared, Who, runner,
};
use crate::CacheIdentity;

impl Jobs {
    /// Stops a job for good. One that is at work ends within a moment, [`Job::stopping`] until then; again is
    /// fine.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotNow`] where it has ended otherwise. That the audit log cannot be written stops nobody
    /// from stopping.
    pub async fn cancel(&self, id: JobId, who: &Who) -> Result<Job, ControlError> {
        let shared = &self.0;
        let turn = shared.turn.lock().await;
        let entry = shared.known(id)?;
        let state = entry.want(Wanted::Stop);
        if state == JobState::Cancelled {
            return Ok(entry.job());
        }
        if state.is_ended() || (turn.closed && !entry.runs()) {
            return Err(shared.refused(AuditAction::JobCancel, id, who, state).await);
        }
        if entry.runs() {
            // A restart before it ends must not undo this.
            shared.keep_or_say(&entry, Then::Keep).await;
        } else {
            entry.end(|job| job.state = JobState::Cancelled);
            shared.keep_or_say(&entry, Then::Remove).await;
            entry.tell_end();
        }
        shared
            .audit_afterwards(AuditRecord::new(who, AuditAction::JobCancel).on_job(id))
            .await;
        Ok(entry.job())
    }

    /// Lets a job rest: it does nothing more, once what is under way is through. Its keys stay its own. Again is
    /// fine.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotNow`] where it is over, or about to be. That the audit log cannot be written stops
    /// nobody from pausing.
    pub async fn pause(&self, id: JobId, who: &Who) -> Result<Job, ControlError> {
        let shared = &self.0;
        let _turn = shared.turn.lock().await;
        let entry = shared.known(id)?;
        let before = entry.want(Wanted::Rest);
        let job = entry.job();
        if job.state != JobState::Paused || job.stopping {
            return Err(shared.refused(AuditAction::JobPause, id, who, job.state).await);
        }
        if before != JobState::Paused {
            shared.keep_or_say(&entry, Then::Keep).await;
        }
        shared
            .audit_afterwards(AuditRecord::new(who, AuditAction::JobPause).on_job(id))
            .await;
        Ok(entry.job())
    }

    /// Lets a job go on that rests, or that was interrupted with its process. Again is fine.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotNow`] where it is over, or about to be; [`ControlError::Overlaps`] where another
    /// removal of its keys has begun meanwhile; [`ControlError::OtherCache`] if the cache is not the one that it belongs
    /// to; where that cannot be written down.
    pub async fn resume(&self, id: JobId, who: &Who) -> Result<Job, ControlError> {
        self.go_on(id, who, false).await
    }

    /// The same, on the cache that is there now, whichever it is: an operator has made sure that the keys of the job are
    /// to go there, too. Needed after a single server without replicas was restarted. Every slot is visited again.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume), [`ControlError::OtherCache`] aside.
    pub async fn resume_on_this_cache(&self, id: JobId, who: &Who) -> Result<Job, ControlError> {
        self.go_on(id, who, true).await
    }

    async fn go_on(&self, id: JobId, who: &Who, accept: bool) -> Result<Job, ControlError> {
        let shared = &self.0;
        let entry = shared.known(id)?;
        // Before the turn: servers may take their time. A run in this process looks for itself.
        let here = if entry.runs() || entry.state().is_ended() {
            None
        } else {
            Some(shared.cache().await.map_err(ControlError::Cache)?)
        };
        let turn = shared.turn.lock().await;
        if turn.closed {
            return Err(JobsError::Closed.into());
        }
        let job = entry.job();
        if job.state.is_ended() || job.stopping {
            return Err(shared.refused(AuditAction::JobResume, id, who, job.state).await);
        }
        if matches!(job.state, JobState::Running | JobState::Queued) {
            return Ok(job);
        }
        if job.state == JobState::Interrupted
            && let Some(Claim { job, pattern }) = shared.claimed(entry.claims())
        {
            return Err(ControlError::Overlaps { job, pattern });
        }
        let record = AuditRecord::new(who, AuditAction::JobResume).on_job(id);
        if let Some(here) = &here {
            let record = record.clone().on("cache", here.to_string());
            match shared.is_other_cache(&entry, here) {
                None => shared.audit(record).await?,
                Some(reason) if accept => {
                    shared
                        .audit(record.because(&format!("accepted: {reason}")))
                        .await?;
                    entry.set_cache(here.clone());
                }
                Some(reason) => {
                    shared
                        .audit_afterwards(record.result("refused").because(&reason))
                        .await;
                    return Err(ControlError::OtherCache { job: id, reason });
                }
            }
        } else {
            shared.audit(record).await?;
        }
        if entry.runs() {
            entry.want(Wanted::Go);
            shared.keep_or_say(&entry, Then::Keep).await;
            return Ok(entry.job());
        }
        let checkpoint = shared.store.checkpoint(id).await?;
        let checkpoint = checkpoint.ok_or(ControlError::NotNow {
            job: id,
            state: job.state,
        })?;
        if here.is_none() {
            // It ended between two looks, and nobody has asked which cache this is.
            return Err(shared
                .refused(AuditAction::JobResume, id, who, entry.state())
                .await);
        }
        runner::begin(
            shared,
            &entry,
            checkpoint,
            Begin {
                resumed: true,
                accept,
            },
        );
        Ok(entry.job())
    }
}

impl Shared {
    /// Writes a job down; if that fails, the job [says](Job::unstored) that a restart undoes what it shows, and why.
    pub(super) async fn keep_or_say(&self, entry: &Arc<Entry>, then: Then) -> Option<JobsError> {
        let kept = self.store.write(entry, then).await;
        entry.set_unstored(kept.as_ref().err().map(ToString::to_string));
        if let Err(error) = &kept {
            tracing::error!(%error, job = %entry.id(), "the latest of a job is not in the store");
        }
        kept.err()
    }

    /// Why `here` is not, or cannot be proved to be, the cache that a job belongs to.
    fn is_other_cache(&self, entry: &Entry, here: &CacheIdentity) -> Option<String> {
        match entry.cache() {
            Some(cache) => cache.check(here).err().map(|error| error.to_string()),
            None => Some(format!(
                "the store does not say on which cache it began, and this is {here}"
            )),
        }
    }

    fn known(&self, id: JobId) -> Result<Arc<Entry>, ControlError> {
        self.entry(id).ok_or(ControlError::Unknown { job: id })
    }

    /// Writes down that somebody wanted what cannot be done.
    async fn refused(&self, action: AuditAction, job: JobId, who: &Who, state: JobState) -> ControlError {
        let error = ControlError::NotNow { job, state };
        let record = AuditRecord::new(who, action).on_job(job).result("refused");
        self.audit_afterwards(record.because(&error.to_string())).await;
        error
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cache_core::{CacheClient as _, MemoryCache, Pattern, Ttl};

    use super::*;
    use crate::jobs::{JobOptions, JobRequest, JobsConfig, Mode};
    use crate::{Engine, MemoryKeys};

    async fn opened(cache: &Arc<MemoryCache>, path: &std::path::Path) -> Jobs {
        let engine = Engine::new(MemoryKeys::new(Arc::clone(cache)));
        Jobs::open(engine, JobsConfig::default().with_store(path))
            .await
            .unwrap()
    }

    /// A removal that takes a while.
    async fn slow(jobs: &Jobs, pattern: &str) -> JobId {
        let options = JobOptions {
            rate: Some(1),
            page_size: 1,
            ..JobOptions::default()
        };
        let request = JobRequest::new(Pattern::new(pattern).unwrap(), Mode::Execute, Who::new("jo"));
        jobs.start(request.with_options(options)).await.unwrap().id
    }

    async fn filled() -> Arc<MemoryCache> {
        let cache = Arc::new(MemoryCache::default());
        for number in 0..100 {
            cache
                .set(&format!("a:{number}"), "".into(), Ttl::Forever)
                .await
                .unwrap();
            cache
                .set(&format!("b:{number}"), "".into(), Ttl::Forever)
                .await
                .unwrap();
        }
        cache
    }

    #[tokio::test]
    async fn what_the_store_does_not_have_is_said_to_be_missing_there() {
        let (cache, folder) = (filled().await, tempfile::tempdir().unwrap());
        let path = folder.path().join("jobs.redb");
        let jobs = opened(&cache, &path).await;
        let (paused, cancelled) = (slow(&jobs, "a:*").await, slow(&jobs, "b:*").await);
        let who = Who::new("jo");
        jobs.0.store.set_full(true);
        let job = jobs.pause(paused, &who).await.unwrap();
        assert_eq!(job.state, JobState::Paused, "it was done");
        assert!(job.unstored.is_some_and(|why| why.contains("no space left")));
        let job = jobs.cancel(cancelled, &who).await.unwrap();
        assert!(job.unstored.is_some(), "a restart undoes it");
        jobs.0.store.set_full(false);
        // Again is fine, and now it is kept.
        let job = jobs.resume(paused, &who).await.unwrap();
        assert_eq!(job.unstored, None);
        jobs.close().await;
    }

    #[tokio::test]
    async fn a_job_that_was_told_to_stop_stays_cancelled_after_a_crash() {
        let (cache, folder) = (filled().await, tempfile::tempdir().unwrap());
        let path = folder.path().join("jobs.redb");
        let jobs = opened(&cache, &path).await;
        let id = slow(&jobs, "a:*").await;
        // So that its end does not reach the store.
        let entry = jobs.0.entry(id).unwrap();
        entry.want(Wanted::Stop);
        jobs.0.keep_or_say(&entry, Then::Keep).await;
        jobs.0.store.set_full(true);
        jobs.wait(id).await;
        jobs.close().await;
        let jobs = opened(&cache, &path).await;
        assert_eq!(jobs.get(id).unwrap().state, JobState::Cancelled);
        assert!(jobs.resume(id, &Who::new("jo")).await.is_err());
    }
}
