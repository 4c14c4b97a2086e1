//! Steering a job: stop it, let it rest, let it go on.

use std::sync::Arc;

use super::entry::{Entry, Wanted};
use super::request::Claim;
use super::store::Then;
use super::{
    AuditAction, AuditRecord, ControlError, Job, JobId, JobState, Jobs, JobsError, Shared, Who, runner,
};

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
        if !entry.runs() {
            entry.end(|job| job.state = JobState::Cancelled);
            shared.store.write(&entry, Then::Remove).await?;
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
            shared.store.write(&entry, Then::Keep).await?;
        }
        shared
            .audit_afterwards(AuditRecord::new(who, AuditAction::JobPause).on_job(id))
            .await;
        Ok(job)
    }

    /// Lets a job go on that rests, or that was interrupted with its process. Again is fine.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotNow`] where it is over, or about to be; [`ControlError::Overlaps`] where another
    /// removal of its keys has begun meanwhile; where that cannot be written down.
    pub async fn resume(&self, id: JobId, who: &Who) -> Result<Job, ControlError> {
        let shared = &self.0;
        let turn = shared.turn.lock().await;
        if turn.closed {
            return Err(JobsError::Closed.into());
        }
        let entry = shared.known(id)?;
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
        shared
            .audit(AuditRecord::new(who, AuditAction::JobResume).on_job(id))
            .await?;
        if entry.runs() {
            entry.want(Wanted::Go);
            shared.store.write(&entry, Then::Keep).await?;
            return Ok(entry.job());
        }
        let checkpoint = shared.store.checkpoint(id).await?;
        let checkpoint = checkpoint.ok_or(ControlError::NotNow {
            job: id,
            state: job.state,
        })?;
        runner::begin(shared, &entry, checkpoint, true);
        Ok(entry.job())
    }
}

impl Shared {
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
