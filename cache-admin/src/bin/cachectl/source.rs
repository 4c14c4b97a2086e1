//! Where jobs are: in a store of this machine, or with a service. Both are asked in the same way.

use cache_admin::jobs::{ControlError, Job, JobEvent, JobEvents, JobId, JobState, Jobs as Kept, Who};
use serde::Deserialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::remote::{Client, Events};

/// Where jobs are.
pub(crate) enum Source<'a> {
    Local(&'a Kept),
    Remote(&'a Client),
}

/// Listens to one job.
pub(crate) enum Listener<'a> {
    Local(JobEvents),
    Remote(Box<Events<'a>>),
}

/// A page of the service.
#[derive(Deserialize)]
struct Page {
    jobs: Vec<Job>,
    cursor: Option<String>,
}

impl Source<'_> {
    pub(crate) async fn get(&self, id: JobId) -> Result<Job, Failure> {
        match self {
            Self::Local(jobs) => jobs
                .get(id)
                .ok_or_else(|| refused(&ControlError::Unknown { job: id })),
            Self::Remote(client) => client.get(&format!("/cache/jobs/{id}")).await,
        }
    }

    pub(crate) async fn cancel(&self, id: JobId) -> Result<Job, Failure> {
        match self {
            Self::Local(jobs) => jobs.cancel(id, &who()).await.map_err(|error| refused(&error)),
            Self::Remote(client) => client.post(&format!("/cache/jobs/{id}/cancel")).await,
        }
    }

    pub(crate) async fn pause(&self, id: JobId) -> Result<Job, Failure> {
        match self {
            Self::Local(jobs) => jobs.pause(id, &who()).await.map_err(|error| refused(&error)),
            Self::Remote(client) => client.post(&format!("/cache/jobs/{id}/pause")).await,
        }
    }

    /// With `accept_cache`, on whichever cache is there.
    pub(crate) async fn resume(&self, id: JobId, accept_cache: bool) -> Result<Job, Failure> {
        match self {
            Self::Local(jobs) => {
                let resumed = if accept_cache {
                    jobs.resume_on_this_cache(id, &who()).await
                } else {
                    jobs.resume(id, &who()).await
                };
                resumed.map_err(|error| refused(&error))
            }
            Self::Remote(client) => {
                let query = if accept_cache { "?accept_cache=true" } else { "" };
                client.post(&format!("/cache/jobs/{id}/resume{query}")).await
            }
        }
    }

    pub(crate) async fn list(&self, state: Option<JobState>, limit: usize) -> Result<Vec<Job>, Failure> {
        let client = match self {
            Self::Local(jobs) => {
                let states: Vec<JobState> = state.into_iter().collect();
                return Ok(jobs.list(&states, None, limit));
            }
            Self::Remote(client) => client,
        };
        let mut found = Vec::new();
        let mut cursor = None;
        while found.len() < limit {
            let mut path = format!("/cache/jobs?limit={}", (limit - found.len()).min(200));
            if let Some(state) = state {
                path.push_str(&format!("&state={}", state.name()));
            }
            if let Some(cursor) = &cursor {
                path.push_str(&format!("&cursor={cursor}"));
            }
            let page: Page = client.get(&path).await?;
            found.extend(page.jobs);
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    pub(crate) fn events(&self, id: JobId, after: u64) -> Result<Listener<'_>, Failure> {
        match self {
            Self::Local(jobs) => {
                let events = jobs.events(id, after);
                let events = events.ok_or_else(|| refused(&ControlError::Unknown { job: id }))?;
                Ok(Listener::Local(events))
            }
            Self::Remote(client) => Ok(Listener::Remote(Box::new(Events::new(client, id, after)))),
        }
    }
}

impl Listener<'_> {
    pub(crate) async fn next(&mut self) -> Result<Option<JobEvent>, Failure> {
        match self {
            Self::Local(events) => Ok(events.next().await),
            Self::Remote(events) => events.next().await,
        }
    }
}

fn who() -> Who {
    Who::new("cachectl").with_from("this machine")
}

fn refused(error: &ControlError) -> Failure {
    let (exit, kind) = match error {
        ControlError::Unknown { .. } => (Exit::False, "no-such-job"),
        ControlError::NotNow { .. } => (Exit::Refused, "job-state"),
        ControlError::Overlaps { .. } => (Exit::Refused, "overlapping-job"),
        ControlError::OtherCache { .. } => (Exit::Refused, "other-cache"),
        ControlError::Cache(error) => return Failure::from(error.clone()),
        _ => (Exit::Failed, "not-kept"),
    };
    Failure::Service {
        exit,
        kind: kind.to_owned(),
        message: error.to_string(),
    }
}
